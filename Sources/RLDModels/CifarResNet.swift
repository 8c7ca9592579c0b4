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
    /// - Precondition: `depth` is 6n + 2 with n >= 1 and `widths` holds four numbers.
    public static func cifarResNet(_ id: String, depth: Int, widths: [Int], classes: Int, input: [Int]) -> Network {
        precondition(depth >= 8 && (depth - 2) % 6 == 0, "\(id): depth \(depth) is not 6n + 2")
        precondition(widths.count == 4, "\(id): \(widths.count) widths, not four")
        let blocks = (depth - 2) / 6
        return Network(id, input: input) { net, image in
            var x = net.relu(net.batchNorm(net.convolution(image, widths[0], kernel: 3, name: "conv1"), name: "bn1"))
            net.feature("feats/0", x)
            net.feature("preact_feats/0", x)
            for stage in 1...3 {
                for block in 0..<blocks {
                    let sum = net.basicBlock(
                        x, widths[stage], stride: stage > 1 && block == 0 ? 2 : 1, name: "layer\(stage).\(block)")
                    x = net.relu(sum)
                    guard block == blocks - 1 else { continue }
                    net.feature("preact_feats/\(stage)", sum)
                    net.feature("feats/\(stage)", x)
                }
            }
            let pooled = net.globalAveragePool(x)
            net.feature("pooled_feat", pooled)
            return net.linear(pooled, classes, name: "fc")
        }
    }
}

extension NetworkBuilder {
    /// Two 3x3 convolutions and the shortcut, up to the sum; the caller rectifies it. The shortcut is a strided 1x1 convolution
    /// where the shape changes.
    fileprivate mutating func basicBlock(_ x: Value, _ width: Int, stride: Int, name: String) -> Value {
        var y = convolution(x, width, kernel: 3, stride: stride, name: "\(name).conv1")
        y = relu(batchNorm(y, name: "\(name).bn1"))
        y = batchNorm(convolution(y, width, kernel: 3, name: "\(name).conv2"), name: "\(name).bn2")
        guard stride != 1 || x.shape[0] != width else { return add(y, x) }
        let shortcut = convolution(x, width, kernel: 1, stride: stride, name: "\(name).downsample.0")
        return add(y, batchNorm(shortcut, name: "\(name).downsample.1"))
    }
}
