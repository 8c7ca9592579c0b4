import OpenCLRuntime
import RLDGraph
import RLDMethods

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
    /// Which tap won each window of a max pooling: written in the forward pass of a training step, read in the backward one.
    private(set) var poolWinners: [Network.NodeID: PlanBuilder.Value] = [:]

    init(
        network: Network, batch: Int, mode: NetworkPlan.Mode, engine: DeviceEngine, store: ParameterStore, pass: BackwardPass?,
        storage: TeacherStorage = .float32
    ) {
        self.network = network
        self.batch = batch
        self.mode = mode
        self.engine = engine
        self.store = store
        self.pass = pass
        builder = PlanBuilder(guardElements: engine.guardElements)
        values = network.nodes.enumerated().map { id, node in
            // What comes in and goes out is float32; vectors too, which CLBlast multiplies.
            let isHalf = storage == .half && id != 0 && id != network.output && node.shape.count == 3
            return builder.value(batch * node.size, isHalf ? .float16 : .float32)
        }
        for (id, node) in network.nodes.enumerated() {
            switch node.operation {
            case .batchNorm(let b): batchNormStatistics[id] = builder.value(2 * b.channels)
            case .maxPool where pass != nil: poolWinners[id] = builder.value(batch * node.size)
            default: continue
            }
        }
        guard let pass else { return }
        gradients = network.nodes.map { builder.value(batch * $0.size) }
        for step in pass.steps {
            for (index, write) in step.inputGradients.enumerated() where write == .share {
                gradients[network.nodes[step.node].inputs[index]] = gradients[step.node]
            }
        }
    }

    func value(_ node: Network.NodeID) -> PlanBuilder.Value { values[node] }
    func gradient(_ node: Network.NodeID) -> PlanBuilder.Value { gradients[node] }

    mutating func lower(keeping: Set<Network.NodeID>) throws(DeviceError) {
        for node in keeping.union([0, network.output]) { builder.pin(values[node]) }
        for id in network.nodes.indices where id > 0 {
            builder.begin(id)
            try lowerForward(id)
        }
        builder.endPhase()
        guard let pass else { return }
        builder.pin(gradients[network.output])
        if pass.nodesWithGradient.contains(0) { builder.pin(gradients[0]) }
        for step in pass.steps {
            builder.begin(step.node)
            try lowerBackward(step)
        }
        builder.endPhase()
    }

    private mutating func lowerForward(_ id: Network.NodeID) throws(DeviceError) {
        let node = network.nodes[id]
        switch node.operation {
        case .input: return
        case .convolution(let c) where c.groups > 1: try lowerGroupedConvolution(id, c)
        case .convolution(let c):
            try lowerConvolution(id, c)
            if c.epilogue.relu6 { lowerUpperBound(id) }
        case .batchNorm(let b): try lowerBatchNorm(id, b)
        case .linear(let l): try lowerLinear(id, l)
        case .relu: lowerRectifier(id, "relu")
        case .relu6: lowerRectifier(id, "relu6")
        case .add: lowerAdd(id)
        case .maxPool(let window): lowerMaxPool(id, window)
        case .averagePool(let window): lowerAveragePool(id, window)
        case .adaptiveAveragePool: lowerAveragePool(id, nil)
        case .globalAveragePool: lowerGlobalAveragePool(id)
        case .flatten: lowerFlatten(id)
        case .concat: lowerConcat(id)
        case .slice(let first): lowerSlice(id, first: first)
        case .channelShuffle(let groups): lowerChannelShuffle(id, groups: groups)
        }
    }

    private mutating func lowerBackward(_ step: BackwardPass.Step) throws(DeviceError) {
        switch network.nodes[step.node].operation {
        case .input: return
        case .convolution(let c) where c.groups > 1: try lowerGroupedConvolutionBackward(step, c)
        case .convolution(let c): try lowerConvolutionBackward(step, c)
        case .batchNorm(let b): lowerBatchNormBackward(step, b)
        case .linear(let l): try lowerLinearBackward(step, l)
        case .relu: lowerRectifierBackward(step, "relu")
        case .relu6: lowerRectifierBackward(step, "relu6")
        case .add: lowerAddBackward(step)
        case .maxPool(let window): lowerMaxPoolBackward(step, window)
        case .averagePool(let window): lowerAveragePoolBackward(step, window)
        case .adaptiveAveragePool: lowerAveragePoolBackward(step, nil)
        case .globalAveragePool: lowerGlobalAveragePoolBackward(step)
        case .flatten: lowerFlattenBackward(step)
        case .concat: lowerConcatBackward(step)
        case .slice(let first): lowerSliceBackward(step, first: first)
        case .channelShuffle(let groups): lowerChannelShuffleBackward(step, groups: groups)
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

    /// nil where nothing is to be written.
    func target(_ step: BackwardPass.Step, input index: Int) -> GradientTarget? {
        guard index < step.inputGradients.count, let write = step.inputGradients[index], write != .share else { return nil }
        return GradientTarget(
            value: gradients[network.nodes[step.node].inputs[index]], mode: write == .accumulate ? 2 : 1)
    }
}
