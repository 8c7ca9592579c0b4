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
        /// Mean 0.
        case normal(deviation: Double)
        /// PyTorch's default for weights and biases of both kinds of layer, U(-1 / sqrt(fanIn), 1 / sqrt(fanIn)).
        case uniform(fanIn: Int)
    }

    public let name: String
    public let shape: [Int]
    public let kind: Kind
    public let initializer: Initializer

    public var count: Int { shape.reduce(1, *) }
}

/// How a family of networks draws its fresh weights. Batch norms always start as the identity.
public struct Initialization: Sendable, Equatable {
    public enum Rule: Sendable, Equatable {
        /// U(-1 / sqrt(fan in), 1 / sqrt(fan in)): what PyTorch does where a model says nothing.
        case standard
        /// N(0, 2 / fan out), fan out = outputs * kernel area (He et al. 2015).
        case kaimingNormal
        /// N(0, deviation^2).
        case normal(deviation: Double)
        case zero

        func initializer(fanIn: Int, fanOut: Int) -> StateTensor.Initializer {
            switch self {
            case .standard: .uniform(fanIn: fanIn)
            case .kaimingNormal: .kaimingNormal(fanOut: fanOut)
            case .normal(let deviation): .normal(deviation: deviation)
            case .zero: .constant(0)
            }
        }
    }

    public var convolution: Rule
    public var convolutionBias: Rule
    public var linear: Rule
    public var linearBias: Rule

    public init(
        convolution: Rule = .kaimingNormal, convolutionBias: Rule = .standard, linear: Rule = .standard,
        linearBias: Rule = .standard
    ) {
        self.convolution = convolution
        self.convolutionBias = convolutionBias
        self.linear = linear
        self.linearBias = linearBias
    }
}

extension Network.Operation {
    /// Of a convolution or a linear layer, outputs first; empty for others.
    var weightShape: [Int] {
        switch self {
        case .convolution(let c): [c.outputChannels, c.inputsPerGroup, c.kernel, c.kernel]
        case .linear(let l): [l.outputs, l.inputs]
        default: []
        }
    }

    /// The state tensors of a node with this operation, in PyTorch's order.
    func stateTensors(named name: String, initialization: Initialization) -> [StateTensor] {
        switch self {
        case .convolution(let c):
            let fanOut = c.outputChannels * c.kernel * c.kernel
            let weight = StateTensor(
                name: "\(name).weight", shape: weightShape, kind: .parameter,
                initializer: initialization.convolution.initializer(fanIn: c.fanIn, fanOut: fanOut))
            let bias = StateTensor(
                name: "\(name).bias", shape: [c.outputChannels], kind: .parameter,
                initializer: initialization.convolutionBias.initializer(fanIn: c.fanIn, fanOut: fanOut))
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
                name: "\(name).weight", shape: weightShape, kind: .parameter,
                initializer: initialization.linear.initializer(fanIn: l.inputs, fanOut: l.outputs))
            let bias = StateTensor(
                name: "\(name).bias", shape: [l.outputs], kind: .parameter,
                initializer: initialization.linearBias.initializer(fanIn: l.inputs, fanOut: l.outputs))
            return l.bias ? [weight, bias] : [weight]
        case .input, .relu, .relu6, .add, .maxPool, .averagePool, .adaptiveAveragePool, .globalAveragePool, .flatten, .concat,
            .slice, .channelShuffle:
            return []
        }
    }
}
