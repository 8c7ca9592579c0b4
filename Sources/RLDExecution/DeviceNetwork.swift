import OpenCLRuntime
import RLDGraph

/// A network on a device: its weights, and its plans, one per batch size and mode.
package final class DeviceNetwork {
    package enum Role: Sendable {
        /// Trained: additions and rectifiers fused into batch norms.
        case student
        /// Frozen: batch norm folded, everything fused into convolutions.
        case teacher
    }

    /// The network as it was given.
    package let original: Network
    /// What runs.
    package let network: Network
    package let store: ParameterStore
    private let engine: DeviceEngine
    private let role: Role
    private struct PlanKey: Hashable {
        let batch: Int
        let training: Bool
        let input: ObjectIdentifier?
    }
    private var plans: [PlanKey: NetworkPlan] = [:]
    private struct InspectionKey: Hashable {
        let batch: Int
        let features: [String]
    }
    private var inspections: [InspectionKey: NetworkPlan] = [:]

    /// - Parameter inputGradient: plans will also be asked for d loss / d input.
    /// - Throws: `InputError` naming the tensors of the state that do not fit, `DeviceError` if the device fails.
    package init(_ original: Network, state: NetworkState, role: Role, engine: DeviceEngine, inputGradient: Bool = false) throws {
        try state.validate(for: original, source: "state")
        self.original = original
        self.engine = engine
        self.role = role
        let folded = role == .teacher ? original.foldingBatchNorm(state: state) : (network: original, state: state)
        network = folded.network.fusingEpilogues(for: role == .teacher ? .inference : .training)
        var needsInputGradient: Set<Network.NodeID> = []
        if role == .student {
            for step in network.backwardPass(includingInput: inputGradient).steps where step.inputGradients.first != .some(nil) {
                needsInputGradient.insert(step.node)
            }
        }
        store = try ParameterStore(
            network, engine: engine, trainable: role == .student, needsInputGradient: needsInputGradient)
        try store.load(folded.state)
    }

    /// Replaces the weights; gradients and velocity start again from 0. Plans stay.
    package func load(_ state: NetworkState) throws {
        try state.validate(for: original, source: "state")
        try store.load(role == .teacher ? original.foldingBatchNorm(state: state).state : state)
    }

    /// The plan for a batch size and mode, made at the first request.
    /// - Parameter input: where the batch's images lie; nil lets the plan have its own place.
    package func plan(batch: Int, mode: NetworkPlan.Mode, input: DeviceSlice? = nil) throws -> NetworkPlan {
        let key = PlanKey(batch: batch, training: mode == .training, input: input.map { ObjectIdentifier($0.buffer) })
        if let plan = plans[key] { return plan }
        let plan = try NetworkPlan(network, store: store, batch: batch, mode: mode, input: input)
        plans[key] = plan
        return plan
    }

    /// A plan in evaluation mode whose named features stay readable: fusing leaves them alone. Students only, whose weights are
    /// as they were given.
    /// - Throws: `InputError` for a name that the network does not have.
    package func inspectionPlan(batch: Int, features names: [String]) throws -> NetworkPlan {
        guard role == .student else { throw InputError("features", "of a folded network are not kept") }
        let key = InspectionKey(batch: batch, features: names.sorted())
        if let plan = inspections[key] { return plan }
        let kept = Set(try original.features(named: names).values)
        let network = original.fusingEpilogues(for: .training, keeping: kept)
        let plan = try NetworkPlan(
            network, store: store, batch: batch, mode: .inference, keeping: Set(try network.features(named: names).values))
        inspections[key] = plan
        return plan
    }
}
