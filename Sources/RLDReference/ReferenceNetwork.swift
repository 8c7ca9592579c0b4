import RLDGraph
import RLDMethods

/// Interprets a network on the host in Double: forward and backward, one node at a time. `ReferenceUpdater` moves its parameters.
public final class ReferenceNetwork {
    public let network: Network
    /// What operands of convolutions and linear layers are rounded to; float32 leaves them as they are.
    public let precision: Precision
    /// Parameters and running statistics, by state-dict name.
    public private(set) var state: NetworkState
    /// d loss / d parameter after `backward`, by state-dict name.
    public internal(set) var gradients: [String: [Double]] = [:]

    let pass: BackwardPass
    var batch = 0
    var training = false
    var values: [[Double]] = []
    var valueGradients: [[Double]] = []
    var batchStatistics: [Network.NodeID: (mean: [Double], inverseDeviation: [Double])] = [:]
    /// Which input won each window of a max pooling.
    var winners: [Network.NodeID: [Int]] = [:]

    /// What the optimiser remembers.
    let updater = ReferenceUpdater()

    /// Replaces one tensor of the state.
    package func replace(_ name: String, with tensor: Tensor) { state[name] = tensor }

    /// Takes gradients from elsewhere, as if `backward` had given them.
    package func take(gradients: [String: [Double]]) { self.gradients = gradients }

    /// - Parameters:
    ///   - inputGradient: also compute d loss / d input.
    ///   - precision: of the operands of convolutions and linear layers.
    /// - Throws: `InputError` naming every tensor that does not fit.
    public init(_ network: Network, state: NetworkState, inputGradient: Bool = false, precision: Precision = .float32)
        throws(InputError)
    {
        try state.validate(for: network, source: "state")
        self.network = network
        self.precision = precision
        self.state = state
        pass = network.backwardPass(includingInput: inputGradient)
    }

    /// A node's value after `forward`: [batch] + the node's shape, row-major; empty before.
    public func value(of node: Network.NodeID) -> [Double] { values.indices.contains(node) ? values[node] : [] }

    /// d loss / d (a node's value) after `backward`; empty before, and if nobody needed it.
    public func gradient(of node: Network.NodeID) -> [Double] {
        valueGradients.indices.contains(node) ? valueGradients[node] : []
    }

    // MARK: Forward

    /// Runs the network.
    /// - Parameters:
    ///   - images: [batch] + the input's shape, row-major.
    ///   - training: batch statistics, and running statistics are updated; otherwise running statistics are used.
    ///   - replacing: sees each node's value as soon as it is computed; what it returns goes on instead. Tests let the reference
    ///     follow a device past a rectifier whose sign rounding has turned.
    /// - Returns: the output, [batch] + its shape.
    @discardableResult
    public func forward(
        _ images: [Double], batch: Int, training: Bool,
        replacing: (Network.NodeID, [Double]) throws -> [Double] = { $1 }
    ) throws -> [Double] {
        let expected = batch * network.nodes[0].size
        guard images.count == expected else {
            throw InputError(
                "images", "\(images.count) values, expected \(expected) for a batch of \(batch) x \(network.inputShape)")
        }
        self.batch = batch
        self.training = training
        values = Array(repeating: [], count: network.nodes.count)
        values[0] = images
        for (id, node) in network.nodes.enumerated() where id > 0 { values[id] = try replacing(id, evaluate(id, node)) }
        return values[network.output]
    }

    private func evaluate(_ id: Network.NodeID, _ node: Network.Node) -> [Double] {
        let x = values[node.inputs[0]]
        let input = Extent(network.nodes[node.inputs[0]].shape)
        let output = Extent(node.shape)
        switch node.operation {
        case .input, .flatten: return x
        case .convolution(let c):
            let y = ReferenceConvolution.forward(
                operands(x, node), weight: operands(tensor(node, "weight"), node), bias: c.bias ? tensor(node, "bias") : nil, c,
                batch: batch, input: input, output: output)
            return epilogue(y, c.epilogue, node)
        case .batchNorm(let b): return epilogue(batchNorm(id, node, b, x, extent: output), b.epilogue, node)
        case .linear(let l):
            return ReferenceOperations.linear(
                operands(x, node), weight: operands(tensor(node, "weight"), node), bias: l.bias ? tensor(node, "bias") : nil, l,
                batch: batch)
        case .relu: return x.map { max($0, 0) }
        case .relu6: return x.map { min(max($0, 0), 6) }
        case .add: return zip(x, values[node.inputs[1]]).map { $0 + $1 }
        case .maxPool(let p):
            let pooled = ReferencePooling.maximum(x, p, planes: batch * input.channels, input: input, output: output)
            winners[id] = pooled.winners
            return pooled.y
        case .averagePool(let p):
            return ReferencePooling.average(x, p, planes: batch * input.channels, input: input, output: output)
        case .adaptiveAveragePool:
            return ReferencePooling.adaptiveAverage(x, planes: batch * input.channels, input: input, output: output)
        case .concat: return concat(node, output)
        case .slice(let first):
            return ReferenceChannels.copy(
                x, batch: batch, plane: output.plane, sourceChannels: input.channels, firstSource: first, count: output.channels,
                targetChannels: output.channels, firstTarget: 0)
        case .channelShuffle(let groups): return ReferenceChannels.shuffle(x, groups: groups, batch: batch, extent: output)
        case .globalAveragePool:
            var y = [Double](repeating: 0, count: batch * input.channels)
            for row in y.indices {
                for i in row * input.plane..<(row + 1) * input.plane { y[row] += x[i] }
                y[row] /= Double(input.plane)
            }
            return y
        }
    }

    /// Values as the node's products take them.
    func operands(_ values: [Double], _ node: Network.Node) -> [Double] {
        if case .convolution(let c) = node.operation, c.groups > 1 { values } else { precision.operands(values) }
    }

    private func epilogue(_ y: [Double], _ epilogue: Epilogue, _ node: Network.Node) -> [Double] {
        var y = y
        if epilogue.residual {
            let residual = values[node.inputs[1]]
            for i in y.indices { y[i] += residual[i] }
        }
        guard epilogue.relu else { return y }
        return epilogue.relu6 ? y.map { min(max($0, 0), 6) } : y.map { max($0, 0) }
    }

    private func concat(_ node: Network.Node, _ output: Extent) -> [Double] {
        var y = [Double](repeating: 0, count: batch * node.size)
        for (input, first) in zip(node.inputs, firstChannels(node)) {
            let channels = Extent(network.nodes[input].shape).channels
            y = ReferenceChannels.copy(
                values[input], batch: batch, plane: output.plane, sourceChannels: channels, firstSource: 0, count: channels,
                targetChannels: output.channels, firstTarget: first, onto: y)
        }
        return y
    }

    /// The channel of a concat's output at which each of its inputs begins.
    func firstChannels(_ node: Network.Node) -> [Int] {
        node.inputs.indices.map { index in
            node.inputs[..<index].reduce(0) { $0 + Extent(network.nodes[$1].shape).channels }
        }
    }

    private func batchNorm(
        _ id: Network.NodeID, _ node: Network.Node, _ b: BatchNorm, _ x: [Double], extent: Extent
    ) -> [Double] {
        var mean = tensor(node, "running_mean")
        var variance = tensor(node, "running_var")
        if training {
            let count = Double(batch * extent.plane)
            mean = ReferenceOperations.channelSums(x, batch: batch, extent: extent).map { $0 / count }
            var squares = [Double](repeating: 0, count: b.channels)
            ReferenceOperations.forEachElement(batch: batch, extent: extent) { channel, i in
                squares[channel] += (x[i] - mean[channel]) * (x[i] - mean[channel])
            }
            variance = squares.map { $0 / count }
            update(node, "running_mean", with: mean, momentum: b.momentum)
            // One value per channel has no unbiased variance: PyTorch refuses it, here the running one stays as it is.
            if count > 1 { update(node, "running_var", with: squares.map { $0 / (count - 1) }, momentum: b.momentum) }
            if var counter = state["\(node.name).num_batches_tracked"] {
                counter.values[0] += 1
                state["\(node.name).num_batches_tracked"] = counter
            }
        }
        let inverse = variance.map { 1 / ($0 + b.epsilon).squareRoot() }
        batchStatistics[id] = (mean, inverse)
        let gamma = tensor(node, "weight")
        let beta = tensor(node, "bias")
        var y = x
        ReferenceOperations.forEachElement(batch: batch, extent: extent) { channel, i in
            y[i] = (x[i] - mean[channel]) * inverse[channel] * gamma[channel] + beta[channel]
        }
        return y
    }

    private func update(_ node: Network.Node, _ suffix: String, with statistic: [Double], momentum: Double) {
        let name = "\(node.name).\(suffix)"
        guard var running = state[name] else { return }
        for i in running.values.indices { running.values[i] = (1 - momentum) * running.values[i] + momentum * statistic[i] }
        state[name] = running
    }

    func tensor(_ node: Network.Node, _ suffix: String) -> [Double] {
        state["\(node.name).\(suffix)"]?.values ?? []
    }
}
