extension Network {
    /// Folds every batch norm that follows a convolution into that convolution: for frozen networks in evaluation mode.
    ///
    /// weight' = weight * g, bias' = (bias - mean) * g + beta with g = gamma / sqrt(var + epsilon), per output channel.
    /// A batch norm elsewhere (pre-activation networks) stays. Computed in Double, then rounded to float32 by whoever stores it.
    /// - Parameters:
    ///   - state: valid for this network (`NetworkState.validate`).
    ///   - keeping: nodes whose values must stay visible (features that are asked for); other features may vanish.
    public func foldingBatchNorm(
        state: NetworkState, keeping: Set<NodeID> = []
    ) -> (network: Network, state: NetworkState) {
        var rewriter = Rewriter(self, keeping: keeping)
        var folded = NetworkState()
        let readers = readerCounts(keeping: keeping)

        for (id, node) in nodes.enumerated() {
            guard case .batchNorm(let norm) = node.operation, let source = node.inputs.first,
                case .convolution(var convolution) = nodes[source].operation, readers[source] == 1, !keeping.contains(source),
                convolution.epilogue == Epilogue(), norm.epilogue == Epilogue(),
                let weight = state["\(nodes[source].name).weight"], let gamma = state["\(node.name).weight"],
                let beta = state["\(node.name).bias"], let mean = state["\(node.name).running_mean"],
                let variance = state["\(node.name).running_var"]
            else { continue }
            let bias = state["\(nodes[source].name).bias"]?.values ?? Array(repeating: 0, count: norm.channels)
            let factor = (0..<norm.channels).map { gamma.values[$0] / (variance.values[$0] + norm.epsilon).squareRoot() }
            var scaled = weight
            let perChannel = weight.count / norm.channels
            for channel in 0..<norm.channels {
                for i in channel * perChannel..<(channel + 1) * perChannel { scaled.values[i] *= factor[channel] }
            }
            folded["\(nodes[source].name).weight"] = scaled
            folded["\(nodes[source].name).bias"] = Tensor(
                shape: [norm.channels],
                values: (0..<norm.channels).map { (bias[$0] - mean.values[$0]) * factor[$0] + beta.values[$0] })
            convolution.bias = true
            rewriter.replace(source, with: .convolution(convolution))
            rewriter.forward(id, to: source)
        }

        let network = rewriter.network()
        // Everything that was not folded keeps its tensors, in the new network's order.
        var ordered = NetworkState()
        for tensor in network.stateTensors { ordered[tensor.name] = folded[tensor.name] ?? state[tensor.name] }
        return (network, ordered)
    }
}

/// Rewrites a network: replaces operations, drops nodes whose readers go elsewhere, and renumbers what is left.
struct Rewriter {
    private let original: Network
    private var nodes: [Network.Node]
    private var target: [Network.NodeID]
    /// The original node whose value each node now holds.
    private var holds: [Network.NodeID]
    private let needed: [Bool]

    /// - Parameter keeping: nodes that stay although nothing reads them.
    init(_ network: Network, keeping: Set<Network.NodeID>) {
        original = network
        needed = network.needed(keeping: keeping)
        nodes = network.nodes
        target = Array(network.nodes.indices)
        holds = target
    }

    subscript(id: Network.NodeID) -> Network.Node { nodes[id] }

    /// Where readers of a node's value read it now.
    func resolve(_ id: Network.NodeID) -> Network.NodeID {
        var id = id
        while target[id] != id { id = target[id] }
        return id
    }

    mutating func replace(_ id: Network.NodeID, with operation: Operation, inputs: [Network.NodeID]? = nil) {
        nodes[id].operation = operation
        if let inputs { nodes[id].inputs = inputs }
    }

    /// Drops `id`: `other` computes its value, and its readers read `other` from now on.
    mutating func forward(_ id: Network.NodeID, to other: Network.NodeID) {
        target[id] = other
        holds[other] = id
    }

    func network() -> Network {
        var renumbered: [Network.NodeID: Network.NodeID] = [:]
        var kept: [Network.Node] = []
        for id in nodes.indices where target[id] == id && needed[id] {
            renumbered[id] = kept.count
            kept.append(nodes[id])
        }
        func place(_ id: Network.NodeID) -> Network.NodeID { renumbered[resolve(id)] ?? 0 }
        for index in kept.indices { kept[index].inputs = kept[index].inputs.map(place) }
        // A feature whose value was absorbed on the way to another, or that nothing needs, no longer exists.
        let features = original.features.filter { needed[$0.value] && holds[resolve($0.value)] == $0.value }
        return Network(
            id: original.id, nodes: kept, output: place(original.output), features: features.mapValues(place),
            initialization: original.initialization)
    }
}
