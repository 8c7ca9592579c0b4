import OpenCLRuntime
import RLDGraph

/// A network's weights on the device: flat buffers in state-dict order and OIHW, one each for parameters, gradients,
/// velocity and running statistics, and the packed copies that the convolutions of the cpu profile read.
package final class ParameterStore {
    package let network: Network
    let engine: DeviceEngine
    /// All parameters, flat.
    package let parameters: Buffer
    /// d loss / d parameters, flat, as the last backward wrote them; nil for a frozen network.
    package let gradients: Buffer?
    let velocity: Buffer?
    /// Running means and variances, flat.
    let running: Buffer
    let parameterCount: Int

    private var offsets: [String: Int] = [:]
    private let runningCount: Int
    private var packed: PackedWeights?
    private var update: Kernel?
    /// Steps that updated running statistics, added to num_batches_tracked when the state is read.
    private var batchesTracked: [String: Double] = [:]

    /// - Parameters:
    ///   - trainable: allocate gradients and velocity.
    ///   - needsInputGradient: convolutions whose input gradient will be computed (they get a second packed copy).
    package init(_ network: Network, engine: DeviceEngine, trainable: Bool, needsInputGradient: Set<Network.NodeID>) throws(DeviceError) {
        self.network = network
        self.engine = engine
        var parameterCount = 0
        var runningCount = 0
        for tensor in network.stateTensors {
            switch tensor.kind {
            case .parameter:
                offsets[tensor.name] = parameterCount
                parameterCount += tensor.count
            case .buffer:
                offsets[tensor.name] = runningCount
                runningCount += tensor.count
            case .counter: continue
            }
        }
        self.parameterCount = parameterCount
        self.runningCount = runningCount
        parameters = try engine.makeBuffer(parameterCount, label: "parameters")
        gradients = trainable ? try engine.makeBuffer(parameterCount, label: "gradients") : nil
        velocity = trainable ? try engine.makeBuffer(parameterCount, label: "velocity") : nil
        running = try engine.makeBuffer(runningCount, label: "running statistics")
        packed = try PackedWeights(
            network, parameters: parameters, engine: engine, needsInputGradient: needsInputGradient, offset: { offsets[$0] ?? 0 })
        if trainable { try prepareUpdate() }
    }

    // MARK: Addresses

    package func parameter(_ name: String, count: Int) -> DeviceSlice {
        DeviceSlice(parameters, offset: offsets[name] ?? 0, count: count)
    }

    package func gradient(_ name: String, count: Int) -> DeviceSlice {
        DeviceSlice(gradients ?? parameters, offset: offsets[name] ?? 0, count: count)
    }

    func runningOffset(_ name: String) -> Int { offsets[name] ?? 0 }

    /// The packed weights of a convolution for its forward pass or, transposed, for its input gradient.
    func packedWeights(_ node: String, transposed: Bool) -> DeviceSlice? { packed?.slice(node, transposed: transposed) }

    // MARK: State

    /// Writes a state that is valid for the network, resets gradients and velocity to 0.
    package func load(_ state: NetworkState) throws(DeviceError) {
        var flat = [Float](repeating: 0, count: parameterCount)
        var statistics = [Float](repeating: 0, count: runningCount)
        for tensor in network.stateTensors {
            guard let values = state[tensor.name]?.values else { continue }
            let offset = offsets[tensor.name] ?? 0
            switch tensor.kind {
            case .parameter: for i in values.indices { flat[offset + i] = Float(values[i]) }
            case .buffer: for i in values.indices { statistics[offset + i] = Float(values[i]) }
            case .counter: batchesTracked[tensor.name] = values[0]
            }
        }
        try engine.queue.write(flat, to: parameters)
        if runningCount > 0 { try engine.queue.write(statistics, to: running) }
        for buffer in [gradients, velocity].compactMap({ $0 }) {
            try engine.queue.write([Float](repeating: 0, count: parameterCount), to: buffer)
        }
        try packed?.update()
    }

    /// The state as it is after everything enqueued so far.
    package func state() throws(DeviceError) -> NetworkState {
        let flat = try engine.queue.read(Float.self, from: parameters, count: parameterCount)
        let statistics = runningCount > 0 ? try engine.queue.read(Float.self, from: running, count: runningCount) : []
        var state = NetworkState()
        for tensor in network.stateTensors {
            let offset = offsets[tensor.name] ?? 0
            let values: [Double] =
                switch tensor.kind {
                case .parameter: flat[offset..<offset + tensor.count].map(Double.init)
                case .buffer: statistics[offset..<offset + tensor.count].map(Double.init)
                case .counter: [batchesTracked[tensor.name] ?? 0]
                }
            state[tensor.name] = Tensor(shape: tensor.shape, values: values)
        }
        return state
    }

    /// Counts a training-mode forward pass.
    func countBatch() {
        for name in batchesTracked.keys { batchesTracked[name, default: 0] += 1 }
    }

    // MARK: Optimiser

    private func prepareUpdate() throws(DeviceError) {
        guard let gradients, let velocity else { return }
        let kernel = try engine.programs.kernel("sgd.cl", "sgd_update", defines: [("ITEM", "\(engine.elementsPerItem)")])
        try kernel.setArgument(0, UInt64(parameterCount))
        try kernel.setArgument(1, gradients)
        try kernel.setArgument(2, parameters)
        try kernel.setArgument(3, velocity)
        update = kernel
    }

    /// torch.optim.SGD on every parameter in one launch, then the packed copies.
    package func applySGD(learningRate: Double, momentum: Double, weightDecay: Double, nesterov: Bool) throws(DeviceError) {
        guard let update else { return }
        try update.setArgument(4, Float(learningRate))
        try update.setArgument(5, Float(momentum))
        try update.setArgument(6, Float(weightDecay))
        try update.setArgument(7, Int32(nesterov ? 1 : 0))
        try engine.queue.enqueue(update, global: [ceilDivide(parameterCount, engine.elementsPerItem)])
        try packed?.update()
    }
}
