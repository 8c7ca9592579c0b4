/// 2-D cross-correlation (torch.nn.Conv2d), weight [out, in / groups, kernel, kernel].
public struct Convolution: Sendable, Equatable {
    public var inputChannels: Int
    public var outputChannels: Int
    public var kernel: Int
    public var stride: Int
    public var padding: Int
    /// Blocks of channels that see each other only; divides both channel counts.
    public var groups = 1
    public var bias: Bool
    /// What a fusing pass has folded into the convolution's last step.
    public var epilogue = Epilogue()

    public func outputExtent(_ extent: Int) -> Int { windows(extent, kernel: kernel, stride: stride, padding: padding) }
    public var inputsPerGroup: Int { inputChannels / groups }
    public var outputsPerGroup: Int { outputChannels / groups }
    /// Products per output element.
    public var fanIn: Int { inputsPerGroup * kernel * kernel }
    /// One filter per channel.
    public var isDepthwise: Bool { groups > 1 && groups == inputChannels && groups == outputChannels }
}

/// Windows of `kernel` x `kernel` at distances of `stride`; those that would overhang on the right or below are left out.
public struct Pooling: Sendable, Equatable {
    public var kernel: Int
    public var stride: Int
    public var padding: Int

    public func outputExtent(_ extent: Int) -> Int { windows(extent, kernel: kernel, stride: stride, padding: padding) }
}

/// Windows along one axis; 0 where not even one fits.
private func windows(_ extent: Int, kernel: Int, stride: Int, padding: Int) -> Int {
    extent + 2 * padding < kernel ? 0 : (extent + 2 * padding - kernel) / stride + 1
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
    /// Whether the rectifier stops at 6 (ReLU6); only with `relu`, and only in inference.
    public var relu6 = false
    public init(residual: Bool = false, relu: Bool = false, relu6: Bool = false) {
        self.residual = residual
        self.relu = relu || relu6
        self.relu6 = relu6
    }
}

/// torch.nn.Linear of a vector: y = x W^T + b, W [outputs, inputs].
public struct Linear: Sendable, Equatable {
    public var inputs: Int
    public var outputs: Int
    public var bias: Bool

    /// The same as a 1x1 convolution of images of one pixel.
    package var convolution: Convolution {
        Convolution(inputChannels: inputs, outputChannels: outputs, kernel: 1, stride: 1, padding: 0, bias: bias)
    }
}
