import RLDGraph

extension Network {
    /// A wide residual network (Zagoruyko and Komodakis 2016): pre-activation blocks, a 3x3 stem of 16 channels, three stages of
    /// (depth - 4) / 6 blocks with 16, 32 and 64 times `factor` channels at strides 1, 2, 2.
    ///
    /// Features: `feats/0` the stem; `feats/1`...`3` each stage's output, a sum that nothing has rectified; `preact_feats/1`...`3`
    /// that sum after the batch norm that follows it (`preact_feats/0` is `feats/0`, as published); `pooled_feat`.
    /// Each batch norm runs once per step: the published code runs three of them again to expose these features.
    /// - Parameters:
    ///   - depth: 6n + 4, n >= 1. - factor: of the widths.
    ///   - input: per-sample shape [channels, height, width]; any extents, pooling is global.
    public static func wideResNet(_ id: String, depth: Int, factor: Int, classes: Int, input: [Int]) throws(InputError) -> Network
    {
        guard depth >= 10, (depth - 4) % 6 == 0, factor >= 1 else {
            throw InputError(
                "network \(id)", "depth \(depth), factor \(factor)", advice: "expected a depth of 6n + 4 and a factor from 1 on")
        }
        let scheme = Initialization(linearBias: .zero)
        return try Network(validating: id, input: input, initialization: scheme) { net, image in
            var x = net.convolution(image, 16, kernel: 3, name: "conv1")
            net.stageFeatures(0, before: x, after: x)
            for stage in 1...3 {
                let width = 8 * factor << stage
                for block in 0..<(depth - 4) / 6 {
                    let name = "block\(stage).layer.\(block)"
                    let norm = net.batchNorm(x, name: "\(name).bn1")
                    if stage > 1, block == 0 { net.stageFeatures(stage - 1, before: norm, after: x) }
                    x = net.preactivationBlock(
                        x, normalized: norm, width, stride: stage > 1 && block == 0 ? 2 : 1, name: name)
                }
            }
            let norm = net.batchNorm(x, name: "bn1")
            net.stageFeatures(3, before: norm, after: x)
            let pooled = net.globalAveragePool(net.relu(norm))
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "fc")
        }
    }
}

extension NetworkBuilder {
    /// ReLU, convolution, batch norm, ReLU, convolution, and the sum with `x`, or where the width changes with a 1x1
    /// convolution of the first ReLU.
    fileprivate mutating func preactivationBlock(
        _ x: Value, normalized: Value, _ width: Int, stride: Int, name: String
    ) -> Value {
        let active = relu(normalized)
        var y = convolution(active, width, kernel: 3, stride: stride, name: "\(name).conv1")
        y = relu(batchNorm(y, name: "\(name).bn2"))
        y = convolution(y, width, kernel: 3, name: "\(name).conv2")
        guard x.shape[0] != width else { return add(y, x) }
        return add(y, convolution(active, width, kernel: 1, stride: stride, padding: 0, name: "\(name).convShortcut"))
    }
}
