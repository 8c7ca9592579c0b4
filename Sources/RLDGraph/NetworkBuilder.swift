/// Builds a `Network` in the order of the paper's figure; each call appends a node and returns its value.
///
/// A call that cannot be (shapes that do not fit, a name used twice) is remembered, and whoever builds the network hears of the
/// first one.
public struct NetworkBuilder {
    /// A node's value, to hand to the next call.
    public struct Value: Sendable {
        let id: Network.NodeID
        /// Per-sample shape.
        public let shape: [Int]

        fileprivate var channels: Int { shape[0] }
    }

    private var nodes: [Network.Node]
    private var names: Set<String> = ["input"]
    private var features: [String: Network.NodeID] = [:]
    fileprivate private(set) var problem: InputError?
    private let id: String

    // Far above any use, and low enough that sizes, parameters and multiply-adds can be multiplied and added up in an Int.
    private static let mostValues = 1 << 40
    private static let mostMultiplyAdds = 1 << 50
    private static let mostWindow = 1 << 20

    fileprivate init(id: String, input shape: [Int]) {
        self.id = id
        nodes = [Network.Node(name: "input", operation: .input, inputs: [], shape: shape)]
        requireSizes("input", shape)
    }

    // MARK: Layers with weights

    /// torch.nn.Conv2d. `padding` defaults to "same" for odd kernels at stride 1; `groups` must divide both channel counts.
    /// - Parameter name: PyTorch's module path, parts with a dot between them.
    public mutating func convolution(
        _ x: Value, _ outputs: Int, kernel: Int, stride: Int = 1, padding: Int? = nil, groups: Int = 1, bias: Bool = false,
        name: String
    ) -> Value {
        require(name, isImage(x), "takes [channels, height, width], found \(x.shape)")
        require(name, outputs > 0, "\(outputs) output channels")
        require(
            name, groups >= 1 && x.channels % max(groups, 1) == 0 && outputs % max(groups, 1) == 0,
            "\(groups) groups do not divide \(x.channels) input and \(outputs) output channels")
        let padding = padding ?? kernel / 2
        requireWindow(name, kernel: kernel, stride: stride, padding: padding)
        guard problem == nil else { return Self.anyImage }
        let c = Convolution(
            inputChannels: x.channels, outputChannels: outputs, kernel: kernel, stride: stride, padding: padding, groups: groups,
            bias: bias)
        return append(.convolution(c), [x], [outputs, c.outputExtent(x.shape[1]), c.outputExtent(x.shape[2])], name)
    }

    /// A convolution with one filter per channel.
    public mutating func depthwiseConvolution(
        _ x: Value, kernel: Int, stride: Int = 1, padding: Int? = nil, bias: Bool = false, name: String
    ) -> Value {
        convolution(
            x, x.channels, kernel: kernel, stride: stride, padding: padding, groups: x.channels, bias: bias, name: name)
    }

    /// torch.nn.BatchNorm2d.
    public mutating func batchNorm(_ x: Value, name: String) -> Value {
        append(.batchNorm(BatchNorm(channels: x.channels)), [x], x.shape, name)
    }

    /// torch.nn.Linear, of a vector.
    public mutating func linear(_ x: Value, _ outputs: Int, bias: Bool = true, name: String) -> Value {
        require(name, x.shape.count == 1, "takes a vector, found \(x.shape): flatten or pool first")
        require(name, outputs > 0, "\(outputs) outputs")
        return append(.linear(Linear(inputs: x.shape[0], outputs: outputs, bias: bias)), [x], [outputs], name)
    }

    // MARK: Activations and sums

    public mutating func relu(_ x: Value) -> Value { append(.relu, [x], x.shape, nil) }

    /// min(max(x, 0), 6).
    public mutating func relu6(_ x: Value) -> Value { append(.relu6, [x], x.shape, nil) }

    /// The sum of two values of one shape.
    public mutating func add(_ a: Value, _ b: Value) -> Value {
        require("add", a.shape == b.shape, "shapes \(a.shape) and \(b.shape) differ")
        return append(.add, [a, b], a.shape, nil)
    }

    // MARK: Pooling

    /// torch.nn.MaxPool2d; `stride` defaults to the kernel.
    public mutating func maxPool(_ x: Value, kernel: Int, stride: Int? = nil, padding: Int = 0) -> Value {
        pool(x, Pooling(kernel: kernel, stride: stride ?? kernel, padding: padding), "max pool") { .maxPool($0) }
    }

    /// torch.nn.AvgPool2d with its defaults: padding counts as zeros; `stride` defaults to the kernel.
    public mutating func averagePool(_ x: Value, kernel: Int, stride: Int? = nil, padding: Int = 0) -> Value {
        pool(x, Pooling(kernel: kernel, stride: stride ?? kernel, padding: padding), "average pool") { .averagePool($0) }
    }

    /// torch.nn.AdaptiveAvgPool2d.
    public mutating func adaptiveAveragePool(_ x: Value, height: Int, width: Int) -> Value {
        require("adaptive average pool", isImage(x), "takes [channels, height, width], found \(x.shape)")
        return append(.adaptiveAveragePool, [x], [x.channels, height, width], nil)
    }

    /// The mean of each channel, as a vector.
    public mutating func globalAveragePool(_ x: Value) -> Value { append(.globalAveragePool, [x], [x.channels], nil) }

    private mutating func pool(_ x: Value, _ p: Pooling, _ what: String, _ operation: (Pooling) -> Network.Operation) -> Value {
        require(what, isImage(x), "takes [channels, height, width], found \(x.shape)")
        requireWindow(what, kernel: p.kernel, stride: p.stride, padding: p.padding)
        guard problem == nil else { return Self.anyImage }
        require(what, 2 * p.padding <= p.kernel, "padding \(p.padding) is more than half of kernel \(p.kernel)")
        return append(operation(p), [x], [x.channels, p.outputExtent(x.shape[1]), p.outputExtent(x.shape[2])], nil)
    }

    // MARK: Channels and shapes

    /// [C, H, W] -> [C * H * W].
    public mutating func flatten(_ x: Value) -> Value { append(.flatten, [x], [x.shape.reduce(1, *)], nil) }

    /// torch.cat along the channels.
    public mutating func concat(_ values: [Value]) -> Value {
        let first = values.first ?? Value(id: 0, shape: [0])
        require(
            "concat", values.count >= 1 && values.allSatisfy { $0.shape.dropFirst() == first.shape.dropFirst() },
            "extents of \(values.map(\.shape)) differ")
        return append(.concat, values, [values.reduce(0) { $0 + $1.channels }] + first.shape.dropFirst(), nil)
    }

    /// Some of the channels.
    public mutating func slice(_ x: Value, channels: Range<Int>) -> Value {
        require(
            "slice", channels.lowerBound >= 0 && channels.upperBound <= x.channels,
            "channels \(channels) are not within \(x.channels)")
        return append(.slice(firstChannel: channels.lowerBound), [x], [channels.count] + x.shape.dropFirst(), nil)
    }

    /// The channels before and from `channel` on.
    public mutating func split(_ x: Value, at channel: Int) -> (Value, Value) {
        let channel = min(max(channel, 0), x.channels)
        return (slice(x, channels: 0..<channel), slice(x, channels: channel..<x.channels))
    }

    /// ShuffleNet's channel shuffle: [g, C / g] transposed.
    public mutating func channelShuffle(_ x: Value, groups: Int) -> Value {
        require(
            "channel shuffle", groups >= 1 && x.channels % max(groups, 1) == 0,
            "\(groups) groups do not divide \(x.channels) channels")
        return append(.channelShuffle(groups: groups), [x], x.shape, nil)
    }

    /// Makes an intermediate value addressable by name.
    public mutating func feature(_ name: String, _ x: Value) {
        requireOwn("feature '\(name)'", x)
        require("feature '\(name)'", features.updateValue(x.id, forKey: name) == nil, "two values have this name")
    }

    // MARK: -

    /// Stands for the value of a call that could not be.
    private static let anyImage = Value(id: 0, shape: [1, 1, 1])

    private func isImage(_ x: Value) -> Bool { x.shape.count == 3 }

    private mutating func requireWindow(_ what: String, kernel: Int, stride: Int, padding: Int) {
        let most = Self.mostWindow
        require(
            what, (1...most).contains(kernel) && (1...most).contains(stride) && (0...most).contains(padding),
            "kernel \(kernel), stride \(stride), padding \(padding) cannot be")
    }

    fileprivate mutating func requireOwn(_ what: String, _ x: Value) {
        require(what, nodes.indices.contains(x.id) && nodes[x.id].shape == x.shape, "takes a value of another network")
    }

    /// - Parameter weight: of the node's layer, outputs first.
    private mutating func requireSizes(_ what: String, _ shape: [Int], weight: [Int] = []) {
        require(what, shape.allSatisfy { $0 > 0 }, "shape \(shape) is empty, the input is too small")
        require(what, Self.product(shape, isAtMost: Self.mostValues), "shape \(shape) has more than \(Self.mostValues) values")
        require(
            what, Self.product(weight, isAtMost: Self.mostValues), "its weight \(weight) has more than \(Self.mostValues) values")
        require(
            what, Self.product(shape + weight.dropFirst(), isAtMost: Self.mostMultiplyAdds),
            "more multiply-adds than \(Self.mostMultiplyAdds) per sample")
    }

    private static func product(_ factors: [Int], isAtMost limit: Int) -> Bool {
        var product = 1
        for factor in factors {
            let (value, overflow) = product.multipliedReportingOverflow(by: factor)
            guard !overflow, value <= limit else { return false }
            product = value
        }
        return true
    }

    private mutating func require(_ what: String, _ good: Bool, _ found: @autoclosure () -> String) {
        if !good, problem == nil { problem = InputError("network \(id)", "\(what): \(found())") }
    }

    private mutating func append(_ operation: Network.Operation, _ inputs: [Value], _ shape: [Int], _ name: String?) -> Value {
        let label = name ?? operation.label
        for input in inputs { requireOwn(label, input) }
        requireSizes(label, shape, weight: operation.weightShape)
        // State-dict names are taken apart at their dots.
        require(
            label, name.map { !$0.split(separator: ".", omittingEmptySubsequences: false).contains("") } ?? true,
            "name '\(label)' has an empty part")
        let name = name ?? "\(operation.label)_\(nodes.count)"
        require(label, names.insert(name).inserted, "two nodes have this name")
        // What follows a mistake is built on a shape that can be, so that the first mistake is the one that is reported.
        let shape = problem == nil ? shape : shape.map { _ in 1 }
        nodes.append(Network.Node(name: name, operation: operation, inputs: inputs.map(\.id), shape: shape))
        return Value(id: nodes.count - 1, shape: shape)
    }

    fileprivate func network(output: Value, initialization: Initialization) -> Network {
        Network(id: id, nodes: nodes, output: output.id, features: features, initialization: initialization)
    }
}

extension Network {
    /// Builds a network: `build` receives the builder and the input, and returns the output.
    /// - Parameters:
    ///   - input: per-sample shape, [channels, height, width] or [features].
    ///   - initialization: how fresh weights are drawn.
    /// - Throws: `InputError` that names the first call that cannot be: shapes that do not fit, an input too small, sizes beyond
    ///   any memory, a name used twice.
    public init(
        validating id: String, input: [Int], initialization: Initialization = Initialization(),
        _ build: (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value
    ) throws(InputError) {
        guard !input.isEmpty, input.allSatisfy({ $0 > 0 }) else {
            throw InputError("network \(id)", "input shape \(input) has no elements")
        }
        guard [1, 3].contains(input.count) else {
            throw InputError("network \(id)", "input shape \(input), expected [channels, height, width] or [features]")
        }
        var builder = NetworkBuilder(id: id, input: input)
        // Before `build`, which may multiply the extents.
        if let problem = builder.problem { throw problem }
        let output = build(&builder, NetworkBuilder.Value(id: 0, shape: input))
        builder.requireOwn("output", output)
        if let problem = builder.problem { throw problem }
        self = builder.network(output: output, initialization: initialization)
    }

    /// The same for a network that is known to be right.
    /// - Precondition: `init(validating:)` would not throw.
    package init(
        _ id: String, input: [Int], initialization: Initialization = Initialization(),
        _ build: (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value
    ) {
        do { try self.init(validating: id, input: input, initialization: initialization, build) } catch {
            preconditionFailure(error.description)
        }
    }
}
