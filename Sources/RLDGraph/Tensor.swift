/// A block of numbers on the host, row-major.
/// Values are `Double` so that the reference loses nothing; every float32 and every int64 up to 2^53 fits exactly.
public struct Tensor: Sendable, Equatable {
    /// Extents, outermost first; empty for a scalar.
    public let shape: [Int]
    /// As many values as the shape has, row-major.
    public package(set) var values: [Double]

    /// - Throws: `InputError` where the shape has a negative extent or another number of values.
    public init(validating shape: [Int], values: [Double]) throws(InputError) {
        guard elementCount(of: shape) == values.count else {
            throw InputError("tensor of shape \(shape)", "\(values.count) values")
        }
        self.init(shape: shape, values: values)
    }

    /// The same for values that are known to fill the shape.
    /// - Precondition: `init(validating:)` would not throw.
    package init(shape: [Int], values: [Double]) {
        precondition(values.count == shape.reduce(1, *), "\(values.count) values for shape \(shape)")
        self.shape = shape
        self.values = values
    }

    package init(shape: [Int], repeating value: Double) {
        self.init(shape: shape, values: Array(repeating: value, count: shape.reduce(1, *)))
    }

    public var count: Int { values.count }
}

/// The state dict of a network: its tensors by PyTorch state-dict name, in state-dict order.
public struct NetworkState: Sendable, Equatable {
    public private(set) var names: [String] = []
    private var tensors: [String: Tensor] = [:]

    public init() {}

    public subscript(name: String) -> Tensor? {
        get { tensors[name] }
        set {
            if let newValue {
                if tensors.updateValue(newValue, forKey: name) == nil { names.append(name) }
            } else if tensors.removeValue(forKey: name) != nil {
                names.removeAll { $0 == name }
            }
        }
    }

    public var count: Int { names.count }

    /// Throws an error that names every missing, unexpected and mis-shaped tensor, at once.
    /// - Parameter source: the file or object that the state came from, for the message.
    public func validate(for network: Network, source: String) throws(InputError) {
        let wanted = network.stateTensors
        let wantedNames = Set(wanted.map(\.name))
        var problems: [String] = []
        for tensor in wanted {
            guard let found = tensors[tensor.name] else {
                // PyTorch writes the counter, other tools do not, and nothing here depends on it.
                if tensor.kind != .counter { problems.append("missing \(tensor.name) \(tensor.shape)") }
                continue
            }
            if found.shape != tensor.shape {
                problems.append("\(tensor.name): expected shape \(tensor.shape), found \(found.shape)")
            }
        }
        for name in names where !wantedNames.contains(name) { problems.append("unexpected \(name)") }
        guard problems.isEmpty else {
            throw InputError(
                source, "does not fit network \(network.id): \(problems.joined(separator: "; "))",
                advice: "check the model id and the number of classes")
        }
    }
}
