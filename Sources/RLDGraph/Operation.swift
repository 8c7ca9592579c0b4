/// What a node of a network computes. Shapes are per sample, NCHW without the N; layout on a device is lowering's business.
public enum Operation: Sendable, Equatable {
    /// The images (or features) that go in.
    case input
    case convolution(Convolution)
    case batchNorm(BatchNorm)
    /// y = x W^T + b, W [outputs, inputs].
    case linear(Linear)
    /// max(x, 0), gradient 0 at 0 (PyTorch).
    case relu
    /// Elementwise sum of two inputs of one shape.
    case add
    /// Mean over each channel's plane: [C, H, W] -> [C].
    case globalAveragePool
    /// [C, H, W] -> [C * H * W], in C, H, W order.
    case flatten
}

/// 2-D cross-correlation (torch.nn.Conv2d), weight [out, in / groups, kernel, kernel].
public struct Convolution: Sendable, Equatable {
    public var inputChannels: Int
    public var outputChannels: Int
    public var kernel: Int
    public var stride: Int
    public var padding: Int
    public var bias: Bool
    /// What a fusing pass has folded into the convolution's last step.
    public var epilogue = Epilogue()

    public func outputExtent(_ extent: Int) -> Int { (extent + 2 * padding - kernel) / stride + 1 }
    /// Products per output element.
    public var fanIn: Int { inputChannels * kernel * kernel }
}

/// torch.nn.BatchNorm2d: normalises with the biased batch variance when training, with running statistics otherwise.
/// running = (1 - momentum) * running + momentum * batch statistic, the variance unbiased.
public struct BatchNorm: Sendable, Equatable {
    public var channels: Int
    public var epsilon: Double = 1e-5
    public var momentum: Double = 0.1
    public var epilogue = Epilogue()
}

/// What follows an operation in the same pass over its output: first the residual is added (it is the node's second
/// input), then the rectifier is applied.
public struct Epilogue: Sendable, Equatable {
    public var residual = false
    public var relu = false
    public init(residual: Bool = false, relu: Bool = false) {
        self.residual = residual
        self.relu = relu
    }
}

public struct Linear: Sendable, Equatable {
    public var inputs: Int
    public var outputs: Int
    public var bias: Bool
}

/// One tensor of a network's state, by its PyTorch state-dict name.
public struct StateTensor: Sendable, Equatable {
    public enum Kind: String, Sendable {
        /// Trained by the optimiser.
        case parameter
        /// Running statistics.
        case buffer
        /// num_batches_tracked: int64, carried for PyTorch, used by nothing.
        case counter
    }
    /// How a fresh parameter is drawn.
    public enum Initializer: Sendable, Equatable {
        case constant(Double)
        /// torch.nn.init.kaiming_normal_(mode="fan_out", nonlinearity="relu"): deviation sqrt(2 / fanOut).
        case kaimingNormal(fanOut: Int)
        /// torch.nn.Linear's default, U(-1 / sqrt(fanIn), 1 / sqrt(fanIn)), for weight and bias alike.
        case uniform(fanIn: Int)
    }

    public let name: String
    public let shape: [Int]
    public let kind: Kind
    public let initializer: Initializer

    public var count: Int { shape.reduce(1, *) }
}

extension Operation {
    /// The state tensors of a node with this operation, in PyTorch's order.
    func stateTensors(named name: String) -> [StateTensor] {
        switch self {
        case .convolution(let c):
            let weight = StateTensor(
                name: "\(name).weight", shape: [c.outputChannels, c.inputChannels, c.kernel, c.kernel], kind: .parameter,
                initializer: .kaimingNormal(fanOut: c.outputChannels * c.kernel * c.kernel))
            let bias = StateTensor(
                name: "\(name).bias", shape: [c.outputChannels], kind: .parameter, initializer: .uniform(fanIn: c.fanIn))
            return c.bias ? [weight, bias] : [weight]
        case .batchNorm(let b):
            return [
                StateTensor(name: "\(name).weight", shape: [b.channels], kind: .parameter, initializer: .constant(1)),
                StateTensor(name: "\(name).bias", shape: [b.channels], kind: .parameter, initializer: .constant(0)),
                StateTensor(name: "\(name).running_mean", shape: [b.channels], kind: .buffer, initializer: .constant(0)),
                StateTensor(name: "\(name).running_var", shape: [b.channels], kind: .buffer, initializer: .constant(1)),
                StateTensor(name: "\(name).num_batches_tracked", shape: [], kind: .counter, initializer: .constant(0)),
            ]
        case .linear(let l):
            let weight = StateTensor(
                name: "\(name).weight", shape: [l.outputs, l.inputs], kind: .parameter,
                initializer: .uniform(fanIn: l.inputs))
            let bias = StateTensor(
                name: "\(name).bias", shape: [l.outputs], kind: .parameter, initializer: .uniform(fanIn: l.inputs))
            return l.bias ? [weight, bias] : [weight]
        case .input, .relu, .add, .globalAveragePool, .flatten: return []
        }
    }

    /// A short name for traces, counts and messages.
    public var label: String {
        switch self {
        case .input: "input"
        case .convolution(let c): "convolution\(c.kernel)x\(c.kernel)" + (c.stride > 1 ? "/\(c.stride)" : "")
        case .batchNorm: "batch_norm"
        case .linear: "linear"
        case .relu: "relu"
        case .add: "add"
        case .globalAveragePool: "global_average_pool"
        case .flatten: "flatten"
        }
    }
}
