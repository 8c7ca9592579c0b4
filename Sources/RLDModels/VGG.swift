import RLDGraph

extension Network {
    /// A VGG network with batch norm for small images (Simonyan and Zisserman 2014): five blocks of 3x3 convolutions with bias,
    /// 2x2 max pooling after the first three (after the fourth too for images 64 high, as published), global average pooling, one
    /// linear layer.
    ///
    /// Features: `feats/0`...`4` each block's output; `preact_feats/1`...`4` before its last ReLU (`preact_feats/0` is `feats/0`,
    /// as published); `pooled_feat` the linear layer's input.
    /// - Parameters:
    ///   - blocks: convolutions per block.
    ///   - input: per-sample shape [channels, height, width], height and width at least 8.
    static func vgg(_ id: String, blocks: [Int], classes: Int, input: [Int]) throws(InputError) -> Network {
        let scheme = Initialization(convolutionBias: .zero, linear: .normal(deviation: 0.01), linearBias: .zero)
        return try Network(validating: id, input: input, initialization: scheme) { net, image in
            var x = image
            for (index, count) in blocks.enumerated() {
                if (1...3).contains(index) || (index == 4 && input.count > 1 && input[1] == 64) { x = net.maxPool(x, kernel: 2) }
                var norm = x
                for layer in 0..<count {
                    // The published modules are numbered convolution, batch norm, ReLU.
                    x = net.convolution(x, min(64 << index, 512), kernel: 3, bias: true, name: "block\(index).\(3 * layer)")
                    norm = net.batchNorm(x, name: "block\(index).\(3 * layer + 1)")
                    x = net.relu(norm)
                }
                net.stageFeatures(index, before: index == 0 ? x : norm, after: x)
            }
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "classifier")
        }
    }
}
