import OpenCLRuntime
import RLDGraph

/// Turns the nodes of a network into the steps of a plan. One file per family of operations extends it.
struct Lowering {
    let network: Network
    let batch: Int
    let mode: NetworkPlan.Mode
    let engine: DeviceEngine
    let store: ParameterStore
    /// nil for inference.
    let pass: BackwardPass?
    let builder: PlanBuilder

    private var values: [PlanBuilder.Value] = []
    private var gradients: [PlanBuilder.Value] = []
    /// Mean and inverse deviation of each batch norm, written in the forward pass and read again in the backward one.
    private(set) var batchNormStatistics: [Network.NodeID: PlanBuilder.Value] = [:]

    init(
        network: Network, batch: Int, mode: NetworkPlan.Mode, engine: DeviceEngine, store: ParameterStore, pass: BackwardPass?
    ) {
        self.network = network
        self.batch = batch
        self.mode = mode
        self.engine = engine
        self.store = store
        self.pass = pass
        builder = PlanBuilder(guardElements: engine.guardElements)
        values = network.nodes.map { builder.value(batch * $0.size) }
        for (id, node) in network.nodes.enumerated() {
            if case .batchNorm(let b) = node.operation { batchNormStatistics[id] = builder.value(2 * b.channels) }
        }
        gradients = pass == nil ? [] : network.nodes.map { builder.value(batch * $0.size) }
    }

    func value(_ node: Network.NodeID) -> PlanBuilder.Value { values[node] }
    func gradient(_ node: Network.NodeID) -> PlanBuilder.Value { gradients[node] }

    mutating func lower(keeping: Set<Network.NodeID>) throws(DeviceError) {
        for node in keeping.union([0, network.output]) { builder.pin(values[node]) }
        for id in network.nodes.indices where id > 0 { try lowerForward(id) }
        builder.endPhase()
        guard let pass else { return }
        builder.pin(gradients[network.output])
        if pass.nodesWithGradient.contains(0) { builder.pin(gradients[0]) }
        for step in pass.steps { try lowerBackward(step) }
        builder.endPhase()
    }

    private mutating func lowerForward(_ id: Network.NodeID) throws(DeviceError) {
        let node = network.nodes[id]
        switch node.operation {
        case .input: return
        case .convolution(let c): try lowerConvolution(id, c)
        case .batchNorm(let b): try lowerBatchNorm(id, b)
        case .linear(let l): lowerLinear(id, l)
        case .relu: lowerReLU(id)
        case .add: lowerAdd(id)
        case .globalAveragePool: lowerGlobalAveragePool(id)
        case .flatten: lowerFlatten(id)
        }
    }

    private mutating func lowerBackward(_ step: BackwardPass.Step) throws(DeviceError) {
        switch network.nodes[step.node].operation {
        case .input: return
        case .convolution(let c): try lowerConvolutionBackward(step, c)
        case .batchNorm(let b): lowerBatchNormBackward(step, b)
        case .linear(let l): lowerLinearBackward(step, l)
        case .relu: lowerReLUBackward(step)
        case .add: lowerAddBackward(step)
        case .globalAveragePool: lowerGlobalAveragePoolBackward(step)
        case .flatten: lowerFlattenBackward(step)
        }
    }

    /// A node's value as rows of channels.
    func extent(_ node: Network.NodeID) -> Extent { Extent(network.nodes[node].shape) }

    /// An input's gradient as a step sees it: the value, and the mode in which the kernels write it. When it accumulates, the
    /// step reads it too.
    struct GradientTarget {
        let value: PlanBuilder.Value
        /// 1 writes, 2 adds: the kernels' convention.
        let mode: Int
        var accumulates: Bool { mode == 2 }
        /// For the step's list of reads.
        var reads: [PlanBuilder.Value] { accumulates ? [value] : [] }
    }

    func target(_ step: BackwardPass.Step, input index: Int) -> GradientTarget? {
        guard index < step.inputGradients.count, let write = step.inputGradients[index] else { return nil }
        return GradientTarget(
            value: gradients[network.nodes[step.node].inputs[index]], mode: write == .accumulate ? 2 : 1)
    }
}
