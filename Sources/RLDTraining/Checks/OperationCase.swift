import RLDGraph

/// A small network that exercises one operation (or one fused form) at one awkward size: checked by `rld doctor` on the
/// user's device and by the tests in both kernel profiles.
package struct OperationCase: Sendable {
    package let name: String
    package let network: Network
    package let batch: Int
    /// As inference with batch norm folded and everything fused, instead of a training step.
    package let folded: Bool

    package init(
        _ name: String, input: [Int], batch: Int, folded: Bool = false,
        _ build: (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value
    ) {
        self.name = name
        self.batch = batch
        self.folded = folded
        network = Network(name, input: input, build)
    }

    /// Every operation at odd, prime and larger-than-a-tile sizes.
    package static let all: [OperationCase] =
        convolutions + halos + frozenConvolutions + norms + others + grouped + pooling + channels + tiny

    /// One of each kernel, small enough for a simulator.
    package static let tiny: [OperationCase] =
        tinyGrouped + tinyPooling + tinyChannels + [
            OperationCase("tiny convolution", input: [3, 4, 5], batch: 2) {
                $0.convolution($1, 5, kernel: 3, bias: true, name: "c")
            },
            OperationCase("tiny convolution, stride 2", input: [3, 5, 4], batch: 2) {
                $0.convolution($1, 4, kernel: 3, stride: 2, name: "c")
            },
            OperationCase("tiny 3x3 convolution, 16 channels", input: [16, 3, 5], batch: 1) {
                $0.convolution($1, 16, kernel: 3, bias: true, name: "c")
            },
            OperationCase("tiny 3x3 convolution, 16 channels, folded", input: [16, 3, 5], batch: 1, folded: true) {
                $0.relu($0.convolution($1, 16, kernel: 3, bias: true, name: "c"))
            },
            // So many sums that its weight gradient is computed some outputs at a time.
            OperationCase("tiny 3x3 convolution, 128 channels", input: [128, 3, 4], batch: 1) {
                $0.convolution($1, 128, kernel: 3, name: "c")
            },
            // So many channels that the gpu profile takes Winograd's algorithm, here and in the gradient of the one above.
            OperationCase("tiny 3x3 convolution, 128 channels, folded", input: [128, 2, 3], batch: 1, folded: true) {
                $0.relu($0.add($0.convolution($1, 128, kernel: 3, bias: true, name: "c"), $1))
            },
            OperationCase("tiny 1x1 convolution", input: [4, 3, 3], batch: 1) { $0.convolution($1, 3, kernel: 1, name: "c") },
            OperationCase("tiny residual block", input: [2, 4, 4], batch: 3) { net, x in
                residualBlock(&net, x, width: 4, stride: 2)
            },
            OperationCase("tiny residual block, folded", input: [2, 4, 4], batch: 3, folded: true) { net, x in
                residualBlock(&net, x, width: 4, stride: 2)
            },
            OperationCase("tiny elementwise", input: [3, 2, 2], batch: 2) { net, x in
                let y = net.relu(net.convolution(x, 3, kernel: 1, name: "c"))
                return net.flatten(net.add(net.relu(net.add(y, x)), y))
            },
            OperationCase("tiny linear", input: [3, 2, 2], batch: 3) { net, x in
                net.linear(net.globalAveragePool(x), 4, name: "fc")
            },
        ]

    private static let convolutions: [OperationCase] = {
        let shapes: [(channels: Int, size: [Int], outputs: Int, kernel: Int, stride: Int, padding: Int, batch: Int)] = [
            (1, [28, 28], 16, 3, 1, 1, 3), (3, [7, 9], 16, 3, 1, 1, 2), (16, [13, 13], 16, 3, 1, 1, 5),
            (16, [9, 10], 32, 3, 2, 1, 3), (17, [5, 7], 33, 3, 1, 1, 2), (32, [6, 6], 64, 1, 2, 0, 3),
            (31, [4, 4], 7, 1, 1, 0, 5), (5, [11, 3], 13, 3, 2, 0, 4), (64, [8, 8], 64, 3, 1, 1, 2),
            (2, [1, 1], 3, 3, 1, 1, 1), (6, [1, 2], 5, 3, 3, 1, 2), (4, [12, 12], 6, 5, 2, 2, 2), (8, [6, 5], 16, 3, 3, 1, 2),
            (40, [3, 3], 257, 3, 1, 1, 1),
            // Multiples of 16 channels: Winograd's algorithm on the cpu profile, from 128 on the gpu profile, borders of every width.
            (32, [7, 9], 48, 3, 1, 1, 3), (16, [6, 8], 32, 3, 1, 0, 2), (48, [5, 6], 16, 3, 1, 2, 2),
            (16, [3, 4], 16, 3, 1, 1, 33),
            (128, [16, 16], 96, 3, 1, 1, 1), (192, [6, 9], 128, 3, 1, 0, 2),
        ]
        return shapes.flatMap { s in
            [false, true].map { bias in
                OperationCase(
                    "convolution \(s.kernel)x\(s.kernel)/\(s.stride) pad \(s.padding), \(s.batch)x\(s.channels)x\(s.size[0])x\(s.size[1]) to \(s.outputs)\(bias ? ", bias" : "")",
                    input: [s.channels] + s.size, batch: s.batch
                ) {
                    $0.convolution(
                        $1, s.outputs, kernel: s.kernel, stride: s.stride, padding: s.padding, bias: bias, name: "c")
                }
            }
        }
    }()

    /// Winograd's algorithm in a frozen network, borders of every width.
    private static let frozenConvolutions: [OperationCase] =
        [
            (32, [7, 9], 48, 1, 3), (16, [6, 8], 32, 0, 2), (48, [5, 6], 16, 2, 2), (16, [3, 4], 16, 1, 33),
            (128, [16, 16], 96, 1, 1), (128, [9, 6], 192, 1, 2),
        ].map { channels, size, outputs, padding, batch in
            OperationCase(
                "frozen convolution 3x3/1 pad \(padding), \(batch)x\(channels)x\(size[0])x\(size[1]) to \(outputs)",
                input: [channels] + size, batch: batch, folded: true
            ) {
                let y = $0.convolution($1, outputs, kernel: 3, padding: padding, bias: true, name: "c")
                return $0.relu($0.batchNorm(y, name: "bn"))
            }
        }

    private static let norms: [OperationCase] =
        [(1, 5, 2), (16, 9, 7), (17, 4, 3), (64, 3, 33), (10, 1, 65)].flatMap { channels, size, batch in
            [
                OperationCase("batch norm \(batch)x\(channels)x\(size)x\(size)", input: [channels, size, size], batch: batch) {
                    $0.batchNorm($1, name: "bn")
                },
                OperationCase(
                    "batch norm + relu \(batch)x\(channels)x\(size)x\(size)", input: [channels, size, size], batch: batch
                ) {
                    let y = $0.batchNorm($1, name: "bn")
                    return $0.relu(y)
                },
                OperationCase(
                    "batch norm + add + relu \(batch)x\(channels)x\(size)x\(size)", input: [channels, size, size], batch: batch
                ) {
                    let y = $0.batchNorm($1, name: "bn")
                    return $0.relu($0.add(y, $1))
                },
            ]
        } + [
            // So many rows that a work-group adds up its chunk in more than one round, the last of them partly empty.
            OperationCase("batch norm + add + relu 2x20x151x127", input: [20, 151, 127], batch: 2) {
                $0.relu($0.add($0.batchNorm($1, name: "bn"), $1))
            }
        ]

    private static let others: [OperationCase] =
        [(3, 7, 2), (16, 5, 5), (33, 1, 65)].flatMap { channels, size, batch in
            [
                OperationCase(
                    "average pool + linear \(batch)x\(channels)x\(size)x\(size)", input: [channels, size, size], batch: batch
                ) {
                    let y = $0.globalAveragePool($1)
                    return $0.linear(y, 13, name: "fc")
                },
                OperationCase(
                    "flatten + linear \(batch)x\(channels)x\(size)x\(size)", input: [channels, size, size], batch: batch
                ) {
                    let y = $0.flatten($1)
                    return $0.linear(y, 5, bias: false, name: "fc")
                },
                OperationCase("relu, shared \(batch)x\(channels)x\(size)x\(size)", input: [channels, size, size], batch: batch) {
                    // One value read three times: the gradients of its readers accumulate.
                    let y = $0.relu($1)
                    let z = $0.add($0.relu($0.add(y, $1)), y)
                    return $0.add(z, y)
                },
            ]
        } + [
            // More values than a work-item of an elementwise kernel takes.
            OperationCase("relu, relu6, add 2x16x17x17", input: [16, 17, 17], batch: 2) {
                let y = $0.relu($1)
                return $0.add($0.relu6($0.add(y, $1)), $1)
            },
            OperationCase("residual blocks", input: [5, 9, 9], batch: 4) { net, x in
                let y = residualBlock(&net, x, width: 16, stride: 2, prefix: "a.")
                return residualBlock(&net, y, width: 16, stride: 1, prefix: "b.")
            },
            OperationCase("residual blocks, 3x3 of 32 channels", input: [32, 7, 8], batch: 3) { net, x in
                let y = residualBlock(&net, x, width: 32, stride: 1, prefix: "a.")
                return residualBlock(&net, y, width: 32, stride: 1, prefix: "b.")
            },
            OperationCase("residual blocks, 3x3 of 32 channels, folded", input: [32, 7, 8], batch: 3, folded: true) { net, x in
                let y = residualBlock(&net, x, width: 32, stride: 1, prefix: "a.")
                return residualBlock(&net, y, width: 32, stride: 1, prefix: "b.")
            },
            OperationCase("residual blocks, folded", input: [5, 9, 9], batch: 4, folded: true) { net, x in
                let y = residualBlock(&net, x, width: 16, stride: 2, prefix: "a.")
                return residualBlock(&net, y, width: 17, stride: 1, prefix: "b.")
            },
        ]

    private static func residualBlock(
        _ net: inout NetworkBuilder, _ x: NetworkBuilder.Value, width: Int, stride: Int, prefix: String = ""
    ) -> NetworkBuilder.Value {
        var y = net.convolution(x, width, kernel: 3, stride: stride, name: "\(prefix)conv1")
        y = net.relu(net.batchNorm(y, name: "\(prefix)bn1"))
        y = net.batchNorm(net.convolution(y, width, kernel: 3, name: "\(prefix)conv2"), name: "\(prefix)bn2")
        var shortcut = x
        if x.shape != y.shape {
            shortcut = net.convolution(x, width, kernel: 1, stride: stride, name: "\(prefix)downsample.0")
            shortcut = net.batchNorm(shortcut, name: "\(prefix)downsample.1")
        }
        return net.relu(net.add(y, shortcut))
    }
}
