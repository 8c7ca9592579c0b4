import RLDGraph

/// The two residual blocks of He et al. 2015 (figure 5), up to the sum: the caller rectifies it. The shortcut is a strided 1x1
/// convolution where the shape changes, and the identity elsewhere.
enum ResidualBlock {
    case basic
    case bottleneck

    /// Output channels per channel of width.
    var expansion: Int { self == .basic ? 1 : 4 }
}

extension NetworkBuilder {
    /// - Parameters:
    ///   - width: channels inside the block. - shortcut: what the published model calls the shortcut's modules.
    mutating func residualBlock(
        _ block: ResidualBlock, _ x: Value, _ width: Int, stride: Int, name: String, shortcut: String
    ) -> Value {
        var y = x
        let outputs = width * block.expansion
        switch block {
        case .basic:
            y = convolutionNormRelu(y, width, kernel: 3, stride: stride, convolution: "\(name).conv1", norm: "\(name).bn1")
            y = convolution(y, outputs, kernel: 3, name: "\(name).conv2")
            y = batchNorm(y, name: "\(name).bn2")
        case .bottleneck:
            y = convolutionNormRelu(y, width, kernel: 1, convolution: "\(name).conv1", norm: "\(name).bn1")
            y = convolutionNormRelu(y, width, kernel: 3, stride: stride, convolution: "\(name).conv2", norm: "\(name).bn2")
            y = convolution(y, outputs, kernel: 1, name: "\(name).conv3")
            y = batchNorm(y, name: "\(name).bn3")
        }
        guard stride != 1 || x.shape[0] != outputs else { return add(y, x) }
        let strided = convolution(x, outputs, kernel: 1, stride: stride, padding: 0, name: "\(name).\(shortcut).0")
        return add(y, batchNorm(strided, name: "\(name).\(shortcut).1"))
    }

    /// Convolution without bias, batch norm, ReLU.
    mutating func convolutionNormRelu(
        _ x: Value, _ outputs: Int, kernel: Int, stride: Int = 1, groups: Int = 1, convolution name: String, norm: String
    ) -> Value {
        let y = convolution(x, outputs, kernel: kernel, stride: stride, groups: groups, name: name)
        return relu(batchNorm(y, name: norm))
    }

    /// A stage's last value before and after its activation, under the published names.
    mutating func stageFeatures(_ stage: Int, before: Value, after: Value) {
        feature("preact_feats/\(stage)", before)
        feature("feats/\(stage)", after)
    }
}
