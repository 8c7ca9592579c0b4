import RLDGraph

/// Pooling, and operations that move channels.
extension OperationCase {
    private static let windows: [(channels: Int, size: [Int], kernel: Int, stride: Int, padding: Int, batch: Int)] = [
        (1, [6, 6], 2, 2, 0, 3), (16, [7, 9], 3, 2, 1, 2), (17, [5, 5], 3, 1, 1, 3), (33, [8, 3], 2, 1, 0, 2),
        (5, [11, 10], 5, 3, 2, 2),
        (20, [4, 4], 3, 4, 0, 65),
    ]

    static let pooling: [OperationCase] =
        windows.flatMap { w in
            let name = "\(w.kernel)x\(w.kernel)/\(w.stride) pad \(w.padding), \(w.batch)x\(w.channels)x\(w.size[0])x\(w.size[1])"
            return [
                OperationCase("max pool \(name)", input: [w.channels] + w.size, batch: w.batch) {
                    $0.maxPool($1, kernel: w.kernel, stride: w.stride, padding: w.padding)
                },
                OperationCase("average pool \(name)", input: [w.channels] + w.size, batch: w.batch) {
                    $0.averagePool($1, kernel: w.kernel, stride: w.stride, padding: w.padding)
                },
            ]
        }
        + [(3, [7, 5], 3, 2), (18, [4, 6], 6, 4), (32, [8, 8], 1, 1)].map { channels, size, height, width in
            OperationCase(
                "adaptive average pool \(channels)x\(size[0])x\(size[1]) to \(height)x\(width)", input: [channels] + size,
                batch: 3
            ) {
                $0.adaptiveAveragePool($1, height: height, width: width)
            }
        } + [
            OperationCase("max pool of equals", input: [3, 6, 6], batch: 2) { net, x in
                // After the rectifier many values are 0: the first of equals gets the gradient, and the sum accumulates.
                let y = net.relu(x)
                let z = net.maxPool(y, kernel: 3, stride: 1, padding: 1)
                return net.add(net.averagePool(y, kernel: 3, stride: 1, padding: 1), net.add(z, net.maxPool(z, kernel: 1)))
            }
        ]

    static let channels: [OperationCase] = [
        OperationCase("concat of three", input: [5, 3, 4], batch: 3) { net, x in
            let y = net.convolution(x, 17, kernel: 1, name: "c")
            return net.concat([x, y, net.relu(y)])
        },
        OperationCase("slices, one channel in neither", input: [37, 3, 5], batch: 2) { net, x in
            net.concat([net.slice(x, channels: 20..<36), net.slice(x, channels: 1..<19)])
        },
        OperationCase("split, shuffle and concat", input: [58, 4, 3], batch: 3) { net, x in
            let (left, right) = net.split(x, at: 29)
            let y = net.channelShuffle(net.concat([left, net.relu(right)]), groups: 2)
            return net.add(net.channelShuffle(y, groups: 29), y)
        },
        OperationCase("shuffle of a vector in three groups", input: [60, 1, 1], batch: 65) { net, x in
            net.channelShuffle(net.globalAveragePool(x), groups: 3)
        },
    ]

    static let tinyPooling: [OperationCase] = [
        OperationCase("tiny max pool", input: [3, 5, 4], batch: 2) { $0.maxPool($1, kernel: 3, stride: 2, padding: 1) },
        OperationCase("tiny average pool", input: [3, 4, 5], batch: 2) { $0.averagePool($1, kernel: 3, stride: 2, padding: 1) },
        OperationCase("tiny adaptive average pool", input: [2, 5, 4], batch: 2) {
            $0.adaptiveAveragePool($1, height: 3, width: 3)
        },
    ]

    static let tinyChannels: [OperationCase] = [
        OperationCase("tiny split, shuffle and concat", input: [6, 2, 3], batch: 2) { net, x in
            let (left, right) = net.split(x, at: 2)
            return net.channelShuffle(net.concat([right, net.relu(left), x]), groups: 3)
        },
        OperationCase("tiny slice", input: [5, 2, 2], batch: 2) { $0.slice($1, channels: 1..<4) },
    ]
}
