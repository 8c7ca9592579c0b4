/// A network whose batch norms are folded into the convolutions that they follow: for frozen networks in evaluation mode.
///
/// weight' = weight * g, bias' = (bias - mean) * g + beta with g = gamma / sqrt(var + epsilon), per output channel.
/// A batch norm elsewhere (pre-activation networks) stays.
public struct BatchNormFolding: Sendable {
    public let network: Network
    /// The batch norm that each convolution absorbed, by the convolution's name.
    private let norms: [String: (name: String, norm: BatchNorm)]

    fileprivate init(_ original: Network, keeping: Set<Network.NodeID>) {
        var rewriter = Rewriter(original, keeping: keeping)
        var norms: [String: (name: String, norm: BatchNorm)] = [:]
        let readers = original.readerCounts(keeping: keeping)
        for (id, node) in original.nodes.enumerated() {
            guard case .batchNorm(let norm) = node.operation, let source = node.inputs.first,
                case .convolution(var convolution) = original.nodes[source].operation, readers[source] == 1,
                !keeping.contains(source), convolution.epilogue == Epilogue(), norm.epilogue == Epilogue()
            else { continue }
            norms[original.nodes[source].name] = (node.name, norm)
            convolution.bias = true
            rewriter.replace(source, with: .convolution(convolution))
            rewriter.forward(id, to: source)
        }
        network = rewriter.network()
        self.norms = norms
    }

    /// One tensor of the folded network, computed in Double, from a state that is valid for the original.
    public func tensor(_ name: String, of state: NetworkState) -> Tensor? {
        let parts = name.split(separator: ".")
        let node = parts.dropLast().joined(separator: ".")
        guard let (norm, settings) = norms[node], let gamma = state["\(norm).weight"], let beta = state["\(norm).bias"],
            let mean = state["\(norm).running_mean"], let variance = state["\(norm).running_var"]
        else { return state[name] }
        let factor = (0..<settings.channels).map { gamma.values[$0] / (variance.values[$0] + settings.epsilon).squareRoot() }
        guard parts.last == "weight" else {
            var bias = state[name]?.values ?? Array(repeating: 0, count: settings.channels)
            for channel in bias.indices {
                bias[channel] = (bias[channel] - mean.values[channel]) * factor[channel] + beta.values[channel]
            }
            return Tensor(shape: [settings.channels], values: bias)
        }
        guard var scaled = state[name] else { return nil }
        let perChannel = scaled.count / settings.channels
        for channel in 0..<settings.channels {
            for i in channel * perChannel..<(channel + 1) * perChannel { scaled.values[i] *= factor[channel] }
        }
        return scaled
    }
}

extension Network {
    /// Folds every batch norm that follows a convolution into that convolution.
    /// - Parameter keeping: nodes whose values must stay visible (features that are asked for); other features may vanish.
    public func foldingBatchNorm(keeping: Set<NodeID> = []) -> BatchNormFolding { BatchNormFolding(self, keeping: keeping) }

    /// The same with the whole folded state, in Double, in the new network's order.
    /// - Parameter state: valid for this network (`NetworkState.validate`).
    public func foldingBatchNorm(
        state: NetworkState, keeping: Set<NodeID> = []
    ) -> (network: Network, state: NetworkState) {
        let folding = foldingBatchNorm(keeping: keeping)
        var folded = NetworkState()
        for tensor in folding.network.stateTensors { folded[tensor.name] = folding.tensor(tensor.name, of: state) }
        return (folding.network, folded)
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

    mutating func replace(_ id: Network.NodeID, with operation: Network.Operation, inputs: [Network.NodeID]? = nil) {
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
