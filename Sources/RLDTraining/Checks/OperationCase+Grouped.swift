import RLDGraph

/// Grouped and depthwise convolutions, and ReLU6.
extension OperationCase {
    private struct Shape {
        var channels: Int
        var size: [Int]
        var outputs: Int
        var groups: Int
        var kernel = 3
        var stride = 1
        var padding = 1
        var batch = 2
        var bias = false
    }

    private static let shapes: [Shape] = [
        // Depthwise: a lone lane, whole vectors, a rest, odd windows.
        Shape(channels: 3, size: [7, 5], outputs: 3, groups: 3, batch: 3),
        Shape(channels: 32, size: [9, 9], outputs: 32, groups: 32, bias: true),
        Shape(channels: 58, size: [8, 7], outputs: 58, groups: 58, stride: 2, batch: 5),
        Shape(channels: 17, size: [6, 11], outputs: 17, groups: 17, kernel: 5, stride: 3, padding: 2),
        Shape(channels: 8, size: [5, 5], outputs: 8, groups: 8, kernel: 2, stride: 2, padding: 0),
        Shape(channels: 20, size: [2, 2], outputs: 20, groups: 20, stride: 2, batch: 65),
        Shape(channels: 5, size: [1, 1], outputs: 5, groups: 5),
        // Groups: 1x1 as in ShuffleNet, more or fewer outputs than inputs, several filters per channel.
        Shape(channels: 24, size: [5, 6], outputs: 54, groups: 3, kernel: 1, padding: 0, batch: 3),
        Shape(channels: 60, size: [4, 4], outputs: 240, groups: 3, kernel: 1, padding: 0),
        Shape(channels: 12, size: [9, 8], outputs: 8, groups: 4, stride: 2, bias: true),
        Shape(channels: 6, size: [7, 7], outputs: 42, groups: 2, kernel: 3, padding: 0),
        Shape(channels: 10, size: [6, 5], outputs: 20, groups: 10),
        Shape(channels: 6, size: [48, 33], outputs: 6, groups: 3, kernel: 3, stride: 16, padding: 0, batch: 1),
        Shape(channels: 34, size: [3, 3], outputs: 34, groups: 2, kernel: 3, stride: 2, batch: 7),
    ]

    static let grouped: [OperationCase] =
        shapes.map { s in
            OperationCase(
                "grouped convolution \(s.kernel)x\(s.kernel)/\(s.stride), \(s.groups) groups, \(s.batch)x\(s.channels)x\(s.size[0])x\(s.size[1]) to \(s.outputs)",
                input: [s.channels] + s.size, batch: s.batch
            ) {
                $0.convolution(
                    $1, s.outputs, kernel: s.kernel, stride: s.stride, padding: s.padding, groups: s.groups, bias: s.bias,
                    name: "c")
            }
        } + [
            OperationCase("relu6 and its gradient", input: [7, 9, 5], batch: 3) { net, x in
                // One value read twice: its gradient accumulates through the bounded rectifier too.
                let y = net.convolution(x, 13, kernel: 3, name: "c")
                return net.add(net.relu6(y), net.relu6(net.batchNorm(y, name: "bn")))
            },
            OperationCase("depthwise block, folded", input: [33, 6, 7], batch: 3, folded: true) { net, x in
                depthwiseBlock(&net, x, width: 33)
            },
            OperationCase("grouped block, folded", input: [12, 6, 7], batch: 3, folded: true) { net, x in
                let y = net.convolution(x, 12, kernel: 3, groups: 3, bias: true, name: "c")
                return net.relu6(net.add(net.batchNorm(y, name: "bn"), x))
            },
            OperationCase("depthwise convolutions, shared", input: [18, 5, 5], batch: 2) { net, x in
                net.add(
                    net.add(net.depthwiseConvolution(x, kernel: 3, name: "a"), net.depthwiseConvolution(x, kernel: 1, name: "b")),
                    net.convolution(x, 18, kernel: 1, groups: 9, name: "c"))
            },
        ]

    static let tinyGrouped: [OperationCase] = [
        OperationCase("tiny depthwise convolution", input: [3, 4, 5], batch: 2) {
            $0.depthwiseConvolution($1, kernel: 3, stride: 2, bias: true, name: "c")
        },
        OperationCase("tiny grouped convolution", input: [4, 3, 4], batch: 2) {
            $0.convolution($1, 6, kernel: 3, groups: 2, name: "c")
        },
        // What pixels behind the last one would read, times the stride, must not come back into the image.
        OperationCase("tiny grouped convolution, stride 16", input: [6, 19, 19], batch: 1) {
            $0.convolution($1, 6, kernel: 3, stride: 16, groups: 3, name: "c")
        },
        OperationCase("tiny relu6", input: [3, 3, 3], batch: 2) { net, x in
            net.relu6(net.convolution(net.convolution(x, 8, kernel: 3, name: "a"), 3, kernel: 3, name: "b"))
        },
        OperationCase("tiny depthwise block, folded", input: [4, 3, 3], batch: 2, folded: true) { net, x in
            depthwiseBlock(&net, x, width: 4)
        },
    ]

    /// MobileNetV2's block with ReLU6.
    private static func depthwiseBlock(
        _ net: inout NetworkBuilder, _ x: NetworkBuilder.Value, width: Int
    ) -> NetworkBuilder.Value {
        var y = net.convolution(x, 2 * width, kernel: 1, bias: true, name: "expand")
        y = net.relu6(net.batchNorm(y, name: "bn1"))
        y = net.depthwiseConvolution(y, kernel: 3, name: "depthwise")
        y = net.relu6(net.batchNorm(y, name: "bn2"))
        return net.add(x, net.batchNorm(net.convolution(y, width, kernel: 1, name: "project"), name: "bn3"))
    }
}
