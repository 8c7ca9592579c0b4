import OpenCLRuntime
import RLDGraph
import RLDMethods

/// A network's weights on the device: flat buffers in state-dict order and OIHW, one each for parameters, gradients
/// and running statistics, and the packed copies that convolutions read. What a frozen network has a packed copy of on the cpu
/// profile is nowhere else.
package final class ParameterStore {
    package let network: Network
    let engine: DeviceEngine
    /// All parameters, flat.
    package let parameters: Buffer
    /// d loss / d parameters, flat, as the last backward wrote them; nil for a frozen network.
    package let gradients: Buffer?
    /// Running means and variances, flat.
    let running: Buffer
    let parameterCount: Int
    /// Of those, from the first on, the ones that an optimiser moves.
    let movingCount: Int

    private var offsets: [String: Int] = [:]
    private let runningCount: Int
    private var packed: PackedWeights?
    private let frozenStatistics: FrozenStatistics?
    /// Parameters of a frozen network that exist packed only, and where each lies until it is.
    private let packedOnly: Set<String>
    private let staging: Buffer?
    private var updater: ParameterUpdater?
    /// Steps that updated running statistics, added to num_batches_tracked when the state is read.
    private var batchesTracked: [String: Double] = [:]

    /// - Parameters:
    ///   - trainable: allocate gradients and make an optimiser.
    ///   - needsInputGradient: convolutions whose input gradient will be computed (they get a second packed copy).
    package init(_ network: Network, engine: DeviceEngine, trainable: Bool, needsInputGradient: Set<Network.NodeID>)
        throws(DeviceError)
    {
        self.network = network
        self.engine = engine
        let packedOnly = trainable ? [] : PackedWeights.names(network, engine: engine)
        var parameterCount = 0
        var runningCount = 0
        var stagingCount = 0
        var movingCount = 0
        let still = trainable ? network.parametersWithoutGradient : []
        let tensors = network.stateTensors
        for tensor in tensors.filter({ !still.contains($0.name) }) + tensors.filter({ still.contains($0.name) }) {
            switch tensor.kind {
            case .parameter where packedOnly.contains(tensor.name): stagingCount = max(stagingCount, tensor.count)
            case .parameter:
                offsets[tensor.name] = parameterCount
                parameterCount += tensor.count
                if !still.contains(tensor.name) { movingCount = parameterCount }
            case .buffer:
                offsets[tensor.name] = runningCount
                runningCount += tensor.count
            case .counter: continue
            }
        }
        self.parameterCount = parameterCount
        self.movingCount = movingCount
        self.runningCount = runningCount
        self.packedOnly = packedOnly
        parameters = try engine.makeBuffer(parameterCount, label: "parameters")
        gradients = trainable ? try engine.makeBuffer(parameterCount, label: "gradients") : nil
        running = try engine.makeBuffer(runningCount, label: "running statistics")
        staging = stagingCount > 0 ? try engine.makeBuffer(stagingCount, label: "weights to pack") : nil
        let places = offsets
        packed = try PackedWeights(
            network, parameters: staging ?? parameters, engine: engine, trainable: trainable,
            needsInputGradient: needsInputGradient, offset: { places[$0] ?? 0 })
        frozenStatistics =
            trainable ? nil : try FrozenStatistics(network, running: running, engine: engine, offset: { places[$0] ?? 0 })
        if let gradients {
            updater = ParameterUpdater(store: self, gradients: gradients, running: running, runningCount: runningCount)
        }
    }

    // MARK: Addresses

    package func parameter(_ name: String, count: Int) -> DeviceSlice {
        DeviceSlice(parameters, offset: offsets[name] ?? 0, count: count)
    }

    package func gradient(_ name: String, count: Int) -> DeviceSlice {
        DeviceSlice(gradients ?? parameters, offset: offsets[name] ?? 0, count: count)
    }

    /// d loss / d a parameter, as the last backward wrote it. Waits.
    package func readGradient(_ name: String, count: Int) throws(DeviceError) -> [Double] {
        try engine.read(gradient(name, count: count))
    }

    func runningOffset(_ name: String) -> Int { offsets[name] ?? 0 }

    /// The packed weights of a convolution for its forward pass or, transposed, for its input gradient.
    /// - Throws: `.shapeMismatch` where the store was made without that copy.
    func packedWeights(_ node: String, transposed: Bool) throws(DeviceError) -> PackedWeights.Place {
        guard let place = packed?.place(node, transposed: transposed) else {
            throw DeviceError(
                .shapeMismatch, "\(node): no weights were packed for \(transposed ? "an input gradient" : "a forward pass")")
        }
        return place
    }

    /// What a frozen batch norm multiplies by; nil where running statistics move.
    func frozenStatistics(_ node: String) -> DeviceSlice? { frozenStatistics?.place(node) }

    // MARK: State

    /// Writes a state that is valid for the network, resets gradients and what the optimiser remembers.
    package func load(_ state: NetworkState) throws(DeviceError) { try load { state[$0] } }

    /// The same tensor by tensor, so that no other copy of a large network is ever whole.
    /// - Parameter tensor: by name; what it does not have stays as it is.
    func load(_ tensor: (String) -> Tensor?) throws(DeviceError) {
        for entry in network.stateTensors {
            guard let values = tensor(entry.name)?.values else { continue }
            let offset = offsets[entry.name] ?? 0
            switch entry.kind {
            case .counter: batchesTracked[entry.name] = values[0]
            case .buffer: try write(values, to: running, at: offset)
            case .parameter:
                if let staging, packedOnly.contains(entry.name) {
                    try write(values, to: staging, at: 0)
                    try packed?.update(entry.name)
                } else {
                    try write(values, to: parameters, at: offset)
                }
            }
        }
        if let gradients { try engine.queue.fill(gradients, Float(0)) }
        try updater?.reset()
        try packed?.update()
        try frozenStatistics?.update(on: engine)
    }

    private func write(_ values: [Double], to buffer: Buffer, at offset: Int) throws(DeviceError) {
        try engine.queue.write(Float.self, count: values.count, to: buffer, at: offset) { range, target in
            for i in range { target[i - range.lowerBound] = Float(values[i]) }
        }
    }

    /// The state as it is after everything enqueued so far, without what exists packed only.
    package func state() throws(DeviceError) -> NetworkState {
        let flat = try engine.queue.read(Float.self, from: parameters, count: parameterCount)
        let statistics = runningCount > 0 ? try engine.queue.read(Float.self, from: running, count: runningCount) : []
        var state = NetworkState()
        for tensor in network.stateTensors where !packedOnly.contains(tensor.name) {
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

    /// What the optimiser remembers, as it is after everything enqueued so far: flat buffers as tensors of the network.
    package func optimizerSlots() throws(DeviceError) -> [String: NetworkState] {
        guard let updater else { return [:] }
        let flat = try updater.slotValues()
        var slots: [String: NetworkState] = [:]
        for (name, values) in flat where name != "running_average" {
            var slot = NetworkState()
            for tensor in network.stateTensors {
                let source =
                    tensor.kind == .parameter
                    ? values : tensor.kind == .buffer && name == "average" ? flat["running_average"] : nil
                guard let source else { continue }
                let offset = offsets[tensor.name] ?? 0
                slot[tensor.name] = Tensor(shape: tensor.shape, values: source[offset..<offset + tensor.count].map(Double.init))
            }
            slots[name] = slot
        }
        return slots
    }

    /// Puts back what `optimizerSlots` gave; what is absent starts from 0.
    func loadOptimizerSlots(_ slots: [String: NetworkState]) throws(DeviceError) {
        guard let updater else { return }
        var flat: [String: [Float]] = [:]
        for (name, slot) in slots {
            var values = [Float](repeating: 0, count: parameterCount)
            var statistics = [Float](repeating: 0, count: runningCount)
            for tensor in network.stateTensors {
                guard let source = slot[tensor.name]?.values, source.count == tensor.count else { continue }
                let offset = offsets[tensor.name] ?? 0
                for i in source.indices {
                    if tensor.kind == .parameter {
                        values[offset + i] = Float(source[i])
                    } else {
                        statistics[offset + i] = Float(source[i])
                    }
                }
            }
            flat[name] = values
            if name == "average", runningCount > 0 { flat["running_average"] = statistics }
        }
        try updater.restore(flat)
    }

    /// Counts a training-mode forward pass.
    func countBatch() {
        for name in batchesTracked.keys { batchesTracked[name, default: 0] += 1 }
    }

    // MARK: Optimiser

    /// Makes what an update rule needs.
    func prepareUpdates(_ rule: UpdateRule) throws(DeviceError) { try updater?.prepare(rule) }

    /// What a step does with its gradients, then the packed copies of moved parameters in another launch.
    package func apply(_ update: ParameterUpdate) throws(DeviceError) {
        if try updater?.apply(update) == true { try packed?.update() }
    }

    /// Exchanges parameters and running statistics with their moving average; again to undo it.
    func exchangeWithAverage() throws(DeviceError) {
        if try updater?.exchangeAverage() == true { try packed?.update() }
    }
}
