extension Network {
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
        /// min(max(x, 0), 6), gradient 0 at 0 and at 6 (PyTorch).
        case relu6
        /// Elementwise sum of two inputs of one shape.
        case add
        /// The largest value of each window; padding never wins, and the first of equals gets the gradient (PyTorch).
        case maxPool(Pooling)
        /// The mean of each window, padding counted as zeros (torch.nn.AvgPool2d's default, count_include_pad).
        case averagePool(Pooling)
        /// Means over height x width windows that cover the plane (torch.nn.AdaptiveAvgPool2d); the node's shape says how many.
        case adaptiveAveragePool
        /// Mean over each channel's plane: [C, H, W] -> [C].
        case globalAveragePool
        /// [C, H, W] -> [C * H * W], in C, H, W order.
        case flatten
        /// The channels of all inputs, one input after the other.
        case concat
        /// The channels from `firstChannel` on, as many as the node's shape says.
        case slice(firstChannel: Int)
        /// Channel i * (C / groups) + j moves to j * groups + i (ShuffleNet).
        case channelShuffle(groups: Int)
    }
}

extension Network.Operation {
    /// A short name for traces, counts and messages.
    public var label: String {
        switch self {
        case .input: "input"
        case .convolution(let c):
            (c.isDepthwise ? "depthwise" : c.groups > 1 ? "grouped" : "convolution") + "\(c.kernel)x\(c.kernel)"
                + (c.stride > 1 ? "/\(c.stride)" : "")
        case .batchNorm: "batch_norm"
        case .linear: "linear"
        case .relu: "relu"
        case .relu6: "relu6"
        case .add: "add"
        case .maxPool(let p): "max_pool\(p.kernel)x\(p.kernel)/\(p.stride)"
        case .averagePool(let p): "average_pool\(p.kernel)x\(p.kernel)/\(p.stride)"
        case .adaptiveAveragePool: "adaptive_average_pool"
        case .globalAveragePool: "global_average_pool"
        case .flatten: "flatten"
        case .concat: "concat"
        case .slice: "slice"
        case .channelShuffle: "channel_shuffle"
        }
    }

    /// What is folded into the operation's last step; nothing for most.
    public var epilogue: Epilogue {
        switch self {
        case .convolution(let c): c.epilogue
        case .batchNorm(let b): b.epilogue
        default: Epilogue()
        }
    }

    /// Whether the operation has trained parameters.
    var isTrained: Bool {
        switch self {
        case .convolution, .batchNorm, .linear: true
        default: false
        }
    }
}
