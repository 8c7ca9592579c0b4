import RLDGraph

extension Network {
    /// A residual network with four stages (He et al. 2015, table 1): ResNet-18, -34, -50 and -101.
    ///
    /// Features: `feats/0` the rectified stem (before its pooling); `feats/1`...`4` each stage's output, `preact_feats/1`...`4`
    /// before its ReLU (`preact_feats/0` is `feats/0`, as published); `pooled_feat` the linear layer's input.
    /// - Parameters:
    ///   - stem: what comes before the stages, and with it the family whose names the tensors have.
    ///   - blocks: blocks of each of the four stages.
    ///   - input: per-sample shape [channels, height, width]; any extents, pooling is global.
    static func resNet(
        _ id: String, stem: ResNetStem, block: ResidualBlock, blocks: [Int], classes: Int, input: [Int]
    ) throws(InputError) -> Network {
        try Network(validating: id, input: input) { net, image in
            let names = stem.names
            var x = net.convolutionNormRelu(
                image, 64, kernel: stem == .cifar ? 3 : 7, stride: stem == .cifar ? 1 : 2, convolution: "conv1", norm: "bn1")
            net.stageFeatures(0, before: x, after: x)
            if stem == .imageNet { x = net.maxPool(x, kernel: 3, stride: 2, padding: 1) }
            for (stage, count) in blocks.enumerated() {
                var sum = x
                for index in 0..<count {
                    sum = net.residualBlock(
                        block, x, 64 << stage, stride: stage > 0 && index == 0 ? 2 : 1, name: "layer\(stage + 1).\(index)",
                        shortcut: names.shortcut)
                    x = net.relu(sum)
                }
                net.stageFeatures(stage + 1, before: sum, after: x)
            }
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: names.head)
        }
    }
}

/// The two published families of four-stage residual networks.
enum ResNetStem {
    /// A 3x3 convolution, for 32x32 images.
    case cifar
    /// A 7x7 convolution at stride 2 and a 3x3 max pooling at stride 2, for 224x224 images.
    case imageNet

    /// What the published models call the shortcut's modules and the last layer.
    var names: (shortcut: String, head: String) { self == .cifar ? ("shortcut", "linear") : ("downsample", "fc") }
}
