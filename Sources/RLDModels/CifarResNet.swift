import RLDGraph

extension Network {
    /// A residual network of the CIFAR family with basic blocks (He et al. 2015, section 4.2; the paper's ResNet-N and
    /// ResNet-Nx4): a 3x3 stem, three stages of (depth - 2) / 6 blocks at strides 1, 2, 2, global average pooling, one linear
    /// layer.
    /// State-dict names and order are the published models'.
    ///
    /// Features: `feats/0` the rectified stem; `feats/1`...`feats/3` each stage's output;
    /// `preact_feats/1`...`3` each stage's last sum before its ReLU (`preact_feats/0` is `feats/0`, as published);
    /// `pooled_feat` the linear layer's input.
    /// - Parameters:
    ///   - depth: 6n + 2.
    ///   - widths: channels of the stem and of the three stages.
    ///   - classes: values per row of logits.
    ///   - input: per-sample shape [channels, height, width]; any extents, pooling is global.
    /// - Throws: `InputError` unless `depth` is 6n + 2 with n >= 1 and `widths` holds four numbers.
    public static func cifarResNet(_ id: String, depth: Int, widths: [Int], classes: Int, input: [Int]) throws(InputError)
        -> Network
    {
        guard depth >= 8, (depth - 2) % 6 == 0, widths.count == 4 else {
            throw InputError(
                "network \(id)", "depth \(depth) with \(widths.count) widths", advice: "expected 6n + 2 and four widths")
        }
        return try Network(validating: id, input: input) { net, image in
            var x = net.convolutionNormRelu(image, widths[0], kernel: 3, convolution: "conv1", norm: "bn1")
            net.stageFeatures(0, before: x, after: x)
            for stage in 1...3 {
                var sum = x
                for block in 0..<(depth - 2) / 6 {
                    sum = net.residualBlock(
                        .basic, x, widths[stage], stride: stage > 1 && block == 0 ? 2 : 1, name: "layer\(stage).\(block)",
                        shortcut: "downsample")
                    x = net.relu(sum)
                }
                net.stageFeatures(stage, before: sum, after: x)
            }
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "fc")
        }
    }
}
