import RLDGraph

extension Network {
    /// MobileNetV2 for small images at half width (Sandler et al. 2018, table 2; the published student `mobile_half`): a 3x3 stem
    /// at stride 2, seven stages of inverted residuals with expansion 6, a 1x1 convolution to 1280 channels, one linear layer.
    /// Its rectifiers are ReLU, not ReLU6.
    ///
    /// Features: `feats/0` the rectified stem; `feats/1`...`4` the outputs of stages 1, 2, 4 and 6 (not rectified);
    /// `pooled_feat` the linear layer's input.
    /// - Parameter input: per-sample shape [channels, height, width]; any extents, pooling is global.
    static func mobileNetV2(_ id: String, classes: Int, input: [Int]) throws(InputError) -> Network {
        let stages: [(expansion: Int, width: Int, blocks: Int, stride: Int)] = [
            (1, 8, 1, 1), (6, 12, 2, 1), (6, 16, 3, 2), (6, 32, 4, 2), (6, 48, 3, 1), (6, 80, 3, 2), (6, 160, 1, 1),
        ]
        let scheme = Initialization(convolutionBias: .zero, linear: .normal(deviation: 0.01), linearBias: .zero)
        return try Network(validating: id, input: input, initialization: scheme) { net, image in
            var x = net.convolutionNormRelu(image, 16, kernel: 3, stride: 2, convolution: "conv1.0", norm: "conv1.1")
            net.feature("feats/0", x)
            for (index, stage) in stages.enumerated() {
                for block in 0..<stage.blocks {
                    x = net.invertedResidual(
                        x, stage.width, expansion: stage.expansion, stride: block == 0 ? stage.stride : 1,
                        name: "blocks.\(index).\(block).conv")
                }
                if let feature = [1: 1, 2: 2, 4: 3, 6: 4][index] { net.feature("feats/\(feature)", x) }
            }
            x = net.convolutionNormRelu(x, 1280, kernel: 1, convolution: "conv2.0", norm: "conv2.1")
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "classifier.0")
        }
    }

    /// MobileNetV1 for ImageNet (Howard et al. 2017, table 1): a 3x3 stem at stride 2 and thirteen depthwise separable
    /// convolutions.
    ///
    /// Features: `feats/0`...`3` the outputs of `model.3`, `model.5`, `model.11` and `model.13`, `preact_feats/0`...`3` before their
    /// last ReLU; `pooled_feat` the linear layer's input.
    /// - Parameter input: per-sample shape [channels, height, width]; any extents, pooling is global.
    static func mobileNetV1(_ id: String, classes: Int, input: [Int]) throws(InputError) -> Network {
        let layers: [(width: Int, stride: Int)] =
            [(64, 1), (128, 2), (128, 1), (256, 2), (256, 1), (512, 2)] + Array(repeating: (512, 1), count: 5)
            + [(1024, 2), (1024, 1)]
        let scheme = Initialization(convolution: .standard)
        return try Network(validating: id, input: input, initialization: scheme) { net, image in
            var x = net.convolutionNormRelu(image, 32, kernel: 3, stride: 2, convolution: "model.0.0", norm: "model.0.1")
            for (index, layer) in layers.enumerated() {
                let name = "model.\(index + 1)"
                x = net.convolutionNormRelu(
                    x, x.shape[0], kernel: 3, stride: layer.stride, groups: x.shape[0], convolution: "\(name).0",
                    norm: "\(name).1")
                let norm = net.batchNorm(net.convolution(x, layer.width, kernel: 1, name: "\(name).3"), name: "\(name).4")
                x = net.relu(norm)
                if let stage = [3: 0, 5: 1, 11: 2, 13: 3][index + 1] { net.stageFeatures(stage, before: norm, after: x) }
            }
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "fc")
        }
    }
}

extension NetworkBuilder {
    /// 1x1 expansion, depthwise 3x3, 1x1 projection without activation; the sum with `x` where the shape stays.
    fileprivate mutating func invertedResidual(
        _ x: Value, _ outputs: Int, expansion: Int, stride: Int, name: String
    ) -> Value {
        let width = x.shape[0] * expansion
        var y = convolutionNormRelu(x, width, kernel: 1, convolution: "\(name).0", norm: "\(name).1")
        y = convolutionNormRelu(
            y, width, kernel: 3, stride: stride, groups: width, convolution: "\(name).3", norm: "\(name).4")
        y = batchNorm(convolution(y, outputs, kernel: 1, name: "\(name).6"), name: "\(name).7")
        return stride == 1 && x.shape[0] == outputs ? add(x, y) : y
    }
}
