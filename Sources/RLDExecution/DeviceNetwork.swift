import OpenCLRuntime
import RLDGraph
import RLDMethods

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
    private let storage: TeacherStorage
    private struct PlanKey: Hashable {
        let batch: Int
        let training: Bool
        let input: ObjectIdentifier?

        init(batch: Int, mode: NetworkPlan.Mode, input: DeviceSlice?) {
            self.batch = batch
            training = mode == .training
            self.input = input.map { ObjectIdentifier($0.buffer) }
        }
    }
    private var plans: [PlanKey: NetworkPlan] = [:]
    /// Plans that are announced but not made yet.
    private var drafts: [PlanKey: NetworkPlan.Draft] = [:]
    private let memory: PlanMemory
    /// The network before batch norms were folded into it; students keep theirs.
    private let folding: BatchNormFolding?
    private struct InspectionKey: Hashable {
        let batch: Int
        let features: [String]
    }
    private var inspections: [InspectionKey: NetworkPlan] = [:]

    /// - Parameters:
    ///   - memory: for the plans, shared with networks that never run at the same time; the network's own if nil.
    ///   - inputGradient: plans will also be asked for d loss / d input.
    ///   - storage: of a teacher's activations.
    /// - Throws: `InputError` naming the tensors of the state that do not fit, `DeviceError` if the device fails.
    package init(
        _ original: Network, state: NetworkState, role: Role, engine: DeviceEngine, memory: PlanMemory? = nil,
        inputGradient: Bool = false, storage: TeacherStorage = .float32
    ) throws {
        try state.validate(for: original, source: "state")
        self.original = original
        self.engine = engine
        self.role = role
        self.storage = role == .teacher ? storage : .float32
        self.memory = memory ?? PlanMemory(engine)
        folding = role == .teacher ? original.foldingBatchNorm() : nil
        network = (folding?.network ?? original).fusingEpilogues(for: role == .teacher ? .inference : .training)
        let pass = role == .student ? network.backwardPass(includingInput: inputGradient) : nil
        store = try ParameterStore(
            network, engine: engine, trainable: role == .student, needsInputGradient: pass?.nodesGivingInputGradient ?? [])
        try write(state)
    }

    /// Replaces the weights; gradients and velocity start again from 0. Plans stay.
    package func load(_ state: NetworkState) throws {
        try state.validate(for: original, source: "state")
        try write(state)
    }

    /// Tensor by tensor: a folded copy of a large network's state never exists as a whole.
    private func write(_ state: NetworkState) throws(DeviceError) {
        try store.load { name in folding.map { $0.tensor(name, of: state) } ?? state[name] }
    }

    /// Lays out the plan for a batch size and mode, so that the shared memory is made large enough for it from the start.
    func announce(batch: Int, mode: NetworkPlan.Mode, input: DeviceSlice? = nil) throws {
        let key = PlanKey(batch: batch, mode: mode, input: input)
        if plans[key] == nil { memory.announce(try draft(key, mode: mode, input: input).arenaCounts) }
    }

    private func draft(_ key: PlanKey, mode: NetworkPlan.Mode, input: DeviceSlice?) throws -> NetworkPlan.Draft {
        if let draft = drafts[key] { return draft }
        // A teacher's logits are read after the student has run in the same memory.
        let output =
            role == .teacher
            ? DeviceSlice(try engine.makeBuffer(key.batch * network.classes, label: "logits of \(network.id)")) : nil
        let draft = try NetworkPlan.Draft(
            network, store: store, batch: key.batch, mode: mode, input: input, output: output, storage: storage)
        drafts[key] = draft
        return draft
    }

    /// The plan for a batch size and mode, made at the first request.
    /// - Parameter input: where the batch's images lie; nil lets the plan have its own place.
    package func plan(batch: Int, mode: NetworkPlan.Mode, input: DeviceSlice? = nil) throws -> NetworkPlan {
        let key = PlanKey(batch: batch, mode: mode, input: input)
        if let plan = plans[key] { return plan }
        let plan = try NetworkPlan(draft(key, mode: mode, input: input), memory: memory)
        plans[key] = plan
        drafts[key] = nil
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
            network, store: store, batch: batch, mode: .inference, memory: memory,
            keeping: Set(try network.features(named: names).values))
        inspections[key] = plan
        return plan
    }
}
