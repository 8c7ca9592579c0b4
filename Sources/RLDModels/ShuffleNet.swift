import RLDGraph

extension Network {
    /// ShuffleNet for small images (Zhang et al. 2017) with three groups: a 1x1 stem, three stages of 4, 8 and 4 units to 240,
    /// 480 and 960 channels; the first unit of a stage halves the image and concatenates.
    ///
    /// Features: `feats/0` the rectified stem; `feats/1`...`3` each stage's output, `preact_feats/1`...`3` before its ReLU
    /// (`preact_feats/0` is `feats/0`, as published); `pooled_feat` the linear layer's input.
    /// - Parameter input: per-sample shape [channels, height, width]; any extents, pooling is global.
    static func shuffleNetV1(_ id: String, classes: Int, input: [Int]) throws(InputError) -> Network {
        let scheme = Initialization(convolution: .standard)
        return try Network(validating: id, input: input, initialization: scheme) { net, image in
            var x = net.convolutionNormRelu(image, 24, kernel: 1, convolution: "conv1", norm: "bn1")
            net.stageFeatures(0, before: x, after: x)
            for (index, stage) in [(width: 240, units: 4), (width: 480, units: 8), (width: 960, units: 4)].enumerated() {
                var before = x
                for unit in 0..<stage.units {
                    before = net.shuffleUnit(
                        x, stage.width, halve: unit == 0, firstGroups: index == 0 && unit == 0 ? 1 : 3, groups: 3,
                        name: "layer\(index + 1).\(unit)")
                    x = net.relu(before)
                }
                net.stageFeatures(index + 1, before: before, after: x)
            }
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "linear")
        }
    }

    /// ShuffleNetV2 1x for small images (Ma et al. 2018): a 1x1 stem, three stages of 4, 8 and 4 units with 116, 232 and 464
    /// channels, a 1x1 convolution to 1024 channels.
    ///
    /// Features: `feats/0` the rectified stem; `feats/1`...`3` each stage's output; `preact_feats/1`...`3` both branches of its last
    /// unit side by side, the right one before its ReLU, and not shuffled (as published); `pooled_feat` the linear layer's input.
    /// - Parameter input: per-sample shape [channels, height, width]; any extents, pooling is global.
    static func shuffleNetV2(_ id: String, classes: Int, input: [Int]) throws(InputError) -> Network {
        let scheme = Initialization(convolution: .standard)
        return try Network(validating: id, input: input, initialization: scheme) { net, image in
            var x = net.convolutionNormRelu(image, 24, kernel: 1, convolution: "conv1", norm: "bn1")
            net.stageFeatures(0, before: x, after: x)
            for (index, stage) in [(width: 116, units: 4), (width: 232, units: 8), (width: 464, units: 4)].enumerated() {
                let name = "layer\(index + 1)"
                x = net.halvingUnit(x, stage.width, name: "\(name).0")
                for unit in 1..<stage.units {
                    let (left, right) = net.split(x, at: stage.width / 2)
                    let before = net.rightBranch(right, name: "\(name).\(unit)")
                    x = net.channelShuffle(net.concat([left, net.relu(before)]), groups: 2)
                    if unit == stage.units - 1 {
                        net.stageFeatures(index + 1, before: net.concat([left, before]), after: x)
                    }
                }
            }
            x = net.convolutionNormRelu(x, 1024, kernel: 1, convolution: "conv2", norm: "bn2")
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "linear")
        }
    }
}

extension NetworkBuilder {
    /// ShuffleNetV1's unit up to its last ReLU: grouped 1x1, shuffle, depthwise 3x3, grouped 1x1; then the sum with `x`, or where
    /// the image is halved the concatenation with its 3x3 averages.
    fileprivate mutating func shuffleUnit(
        _ x: Value, _ width: Int, halve: Bool, firstGroups: Int, groups: Int, name: String
    ) -> Value {
        let outputs = halve ? width - x.shape[0] : width
        let middle = outputs / 4
        var y = convolutionNormRelu(
            x, middle, kernel: 1, groups: firstGroups, convolution: "\(name).conv1", norm: "\(name).bn1")
        if firstGroups > 1 { y = channelShuffle(y, groups: firstGroups) }
        y = convolutionNormRelu(
            y, middle, kernel: 3, stride: halve ? 2 : 1, groups: middle, convolution: "\(name).conv2", norm: "\(name).bn2")
        y = batchNorm(convolution(y, outputs, kernel: 1, groups: groups, name: "\(name).conv3"), name: "\(name).bn3")
        return halve ? concat([y, averagePool(x, kernel: 3, stride: 2, padding: 1)]) : add(y, x)
    }

    /// ShuffleNetV2's unit that halves the image: both branches see all channels.
    fileprivate mutating func halvingUnit(_ x: Value, _ width: Int, name: String) -> Value {
        let half = width / 2
        var left = depthwiseConvolution(x, kernel: 3, stride: 2, name: "\(name).conv1")
        left = convolutionNormRelu(
            batchNorm(left, name: "\(name).bn1"), half, kernel: 1, convolution: "\(name).conv2", norm: "\(name).bn2")
        var right = convolutionNormRelu(x, half, kernel: 1, convolution: "\(name).conv3", norm: "\(name).bn3")
        right = depthwiseConvolution(right, kernel: 3, stride: 2, name: "\(name).conv4")
        right = convolutionNormRelu(
            batchNorm(right, name: "\(name).bn4"), half, kernel: 1, convolution: "\(name).conv5", norm: "\(name).bn5")
        return channelShuffle(concat([left, right]), groups: 2)
    }

    /// The branch of ShuffleNetV2's other units that computes, before its last ReLU.
    fileprivate mutating func rightBranch(_ x: Value, name: String) -> Value {
        let width = x.shape[0]
        var y = convolutionNormRelu(x, width, kernel: 1, convolution: "\(name).conv1", norm: "\(name).bn1")
        y = batchNorm(depthwiseConvolution(y, kernel: 3, name: "\(name).conv2"), name: "\(name).bn2")
        return batchNorm(convolution(y, width, kernel: 1, name: "\(name).conv3"), name: "\(name).bn3")
    }
}
