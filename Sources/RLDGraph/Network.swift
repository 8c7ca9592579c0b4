import Dispatch

/// A network as a value: named nodes in topological order, static per-sample shapes, no weights.
public struct Network: Sendable, Equatable {
    /// Index of a node in `nodes`.
    public typealias NodeID = Int

    public struct Node: Sendable, Equatable {
        /// PyTorch module path for nodes with weights ("layer1.0.conv1"); unique in the network.
        public var name: String
        public var operation: Operation
        public var inputs: [NodeID]
        /// Per sample: [C, H, W] or [features].
        public var shape: [Int]

        public var size: Int { shape.reduce(1, *) }
    }

    /// Published model id ("resnet20").
    public var id: String
    /// In topological order; `nodes[0]` is the input.
    public var nodes: [Node]
    /// The node whose value the network returns.
    public var output: NodeID
    /// Named intermediate values ("feats/0", "pooled_feat") for inspection and feature distillation.
    public var features: [String: NodeID]
    /// How fresh weights are drawn.
    public var initialization = Initialization()

    /// Per-sample input shape, [C, H, W].
    public var inputShape: [Int] { nodes[0].shape }
    /// Classes, for a classifier.
    public var classes: Int { nodes[output].size }

    /// Every state tensor in state-dict order (the order in which the nodes were built).
    public var stateTensors: [StateTensor] {
        nodes.flatMap { $0.operation.stateTensors(named: $0.name, initialization: initialization) }
    }

    /// The tensors that the optimiser trains, in state-dict order.
    public var parameters: [StateTensor] { stateTensors.filter { $0.kind == .parameter } }

    /// Number of trained values.
    public var parameterCount: Int { parameters.reduce(0) { $0 + $1.count } }

    /// Multiply-adds of convolutions and linear layers for one sample, biases not counted.
    public var multiplyAdds: Int {
        nodes.reduce(0) { sum, node in
            switch node.operation {
            case .convolution(let c): sum + node.size * c.fanIn
            case .linear(let l): sum + l.inputs * l.outputs
            default: sum
            }
        }
    }

    public func node(named name: String) -> NodeID? { nodes.firstIndex { $0.name == name } }

    /// The nodes of named features.
    /// - Throws: `InputError` for a name that the network does not have, with the nearest one.
    public func features(named names: [String]) throws(InputError) -> [String: NodeID] {
        var found: [String: NodeID] = [:]
        for name in names {
            guard let node = features[name] else {
                throw InputError.unknown("feature of \(id)", name, known: features.keys.sorted())
            }
            found[name] = node
        }
        return found
    }

    /// The nodes that must be computed: what leads to the output, to kept values, and to anything that has parameters.
    func needed(keeping: Set<NodeID>) -> [Bool] {
        var needed = nodes.map(\.operation.isTrained)
        needed[0] = true
        for id in keeping.union([output]) { needed[id] = true }
        for id in nodes.indices.reversed() where needed[id] { for input in nodes[id].inputs { needed[input] = true } }
        return needed
    }

    /// How many needed nodes read each node's value; the output counts as read once more.
    func readerCounts(keeping: Set<NodeID>) -> [Int] {
        var counts = Array(repeating: 0, count: nodes.count)
        let needed = needed(keeping: keeping)
        for (id, node) in nodes.enumerated() where needed[id] { for input in node.inputs { counts[input] += 1 } }
        counts[output] += 1
        return counts
    }

    /// Fresh weights, a function of the seed alone: each tensor draws from a stream of its own, by its place in the state dict, so
    /// that a layer added at the end changes no other.
    public func initialState(seed: UInt64) -> NetworkState {
        var state = NetworkState()
        for (index, tensor) in stateTensors.enumerated() {
            func draw(_ value: @Sendable (UInt64) -> Double) -> [Double] { Self.float32Values(tensor.count, value) }
            let stream = UInt64(index) &+ 0x5EED_0000
            let values: [Double] =
                switch tensor.initializer {
                case .constant(let value): Array(repeating: value, count: tensor.count)
                case .kaimingNormal(let fanOut):
                    draw { (2 / Double(fanOut)).squareRoot() * CounterRandom.normal(seed: seed, stream: stream, counter: $0) }
                case .normal(let deviation):
                    draw { deviation * CounterRandom.normal(seed: seed, stream: stream, counter: $0) }
                case .uniform(let fanIn):
                    draw {
                        (2 * CounterRandom.uniform(seed: seed, stream: stream, counter: $0) - 1) / Double(fanIn).squareRoot()
                    }
                }
            state[tensor.name] = Tensor(shape: tensor.shape, values: values)
        }
        return state
    }

    /// Values by index, on all processors; rounded to float32, so that the reference and a device start from equal weights.
    private static func float32Values(_ count: Int, _ value: @Sendable (UInt64) -> Double) -> [Double] {
        let part = 1 << 14
        return Array(unsafeUninitializedCapacity: count) { buffer, initialized in
            // Every iteration writes a part of its own.
            nonisolated(unsafe) let values = buffer
            DispatchQueue.concurrentPerform(iterations: (count + part - 1) / part) { number in
                for i in number * part..<min((number + 1) * part, count) {
                    values.initializeElement(at: i, to: Double(Float(value(UInt64(i)))))
                }
            }
            initialized = count
        }
    }
}

extension Network: CustomStringConvertible {
    public var description: String {
        let lines = nodes.enumerated().map { index, node in
            "\(index)\t\(node.name)\t\(node.operation.label)\t\(node.inputs.map { nodes[$0].name }.joined(separator: ", "))\t\(node.shape)"
        }
        return "\(id): \(parameterCount) parameters, \(multiplyAdds) multiply-adds\n" + lines.joined(separator: "\n")
    }
}
