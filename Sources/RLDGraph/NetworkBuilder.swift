/// Builds a `Network` in the order of the paper's figure; each call appends a node and returns its value.
public struct NetworkBuilder {
    /// A node's value, to hand to the next call.
    public struct Value: Sendable {
        let id: Network.NodeID
        /// Per-sample shape.
        public let shape: [Int]
    }

    private var nodes: [Network.Node]
    private var features: [String: Network.NodeID] = [:]

    fileprivate init(input shape: [Int]) {
        nodes = [Network.Node(name: "input", operation: .input, inputs: [], shape: shape)]
    }

    /// torch.nn.Conv2d. `padding` defaults to "same" for odd kernels at stride 1.
    public mutating func convolution(
        _ x: Value, _ outputs: Int, kernel: Int, stride: Int = 1, padding: Int? = nil, bias: Bool = false, name: String
    ) -> Value {
        let c = Convolution(
            inputChannels: x.shape[0], outputChannels: outputs, kernel: kernel, stride: stride,
            padding: padding ?? kernel / 2, bias: bias)
        return append(.convolution(c), [x], [outputs, c.outputExtent(x.shape[1]), c.outputExtent(x.shape[2])], name)
    }

    /// torch.nn.BatchNorm2d.
    public mutating func batchNorm(_ x: Value, name: String) -> Value {
        append(.batchNorm(BatchNorm(channels: x.shape[0])), [x], x.shape, name)
    }

    /// torch.nn.Linear.
    public mutating func linear(_ x: Value, _ outputs: Int, bias: Bool = true, name: String) -> Value {
        append(.linear(Linear(inputs: x.shape[0], outputs: outputs, bias: bias)), [x], [outputs], name)
    }

    public mutating func relu(_ x: Value) -> Value { append(.relu, [x], x.shape, nil) }

    /// - Precondition: both shapes are equal.
    public mutating func add(_ a: Value, _ b: Value) -> Value {
        precondition(a.shape == b.shape, "add: shapes \(a.shape) and \(b.shape) differ")
        return append(.add, [a, b], a.shape, nil)
    }

    public mutating func globalAveragePool(_ x: Value) -> Value { append(.globalAveragePool, [x], [x.shape[0]], nil) }

    public mutating func flatten(_ x: Value) -> Value { append(.flatten, [x], [x.shape.reduce(1, *)], nil) }

    /// Makes an intermediate value addressable by name.
    public mutating func feature(_ name: String, _ x: Value) { features[name] = x.id }

    private mutating func append(_ operation: Operation, _ inputs: [Value], _ shape: [Int], _ name: String?) -> Value {
        precondition(shape.allSatisfy { $0 > 0 }, "\(name ?? operation.label): shape \(shape) is empty; the input is too small")
        let name = name ?? "\(operation.label)_\(nodes.count)"
        precondition(!nodes.contains { $0.name == name }, "two nodes are named \(name)")
        nodes.append(Network.Node(name: name, operation: operation, inputs: inputs.map(\.id), shape: shape))
        return Value(id: nodes.count - 1, shape: shape)
    }

    fileprivate func network(id: String, output: Value) -> Network {
        Network(id: id, nodes: nodes, output: output.id, features: features)
    }
}

extension Network {
    /// Builds a network: `build` receives the builder and the input, and returns the output.
    /// - Parameter input: per-sample shape, [channels, height, width].
    public init(
        _ id: String, input: [Int], _ build: (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value
    ) {
        var builder = NetworkBuilder(input: input)
        let output = build(&builder, NetworkBuilder.Value(id: 0, shape: input))
        self = builder.network(id: id, output: output)
    }
}
