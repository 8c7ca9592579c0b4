import RLDGraph

/// Frozen networks whose activations are stored as half: every kernel of a folded forward pass reads and writes some.
extension OperationCase {
    static let stored: [OperationCase] =
        stored(size: [9, 7], width: 16, batch: 3) + tinyStored
        + [storedConvolutions("half: convolutions 2x16x8x16", size: [8, 16], width: 16, batch: 2)]

    static let tinyStored: [OperationCase] =
        stored(size: [6, 5], width: 6, batch: 1)
        + [storedConvolutions("tiny half: convolutions of 16 channels", size: [4, 3], width: 16, batch: 1)]

    private static func storedConvolutions(_ name: String, size: [Int], width: Int, batch: Int) -> OperationCase {
        OperationCase(name, input: [3] + size, batch: batch, folded: true) { net, x in
            var y = net.relu(net.batchNorm(net.convolution(x, width, kernel: 3, name: "a"), name: "a.bn"))
            let branch = net.batchNorm(net.convolution(y, width, kernel: 3, name: "b"), name: "b.bn")
            y = net.relu(net.add(branch, y))
            y = net.relu6(net.batchNorm(net.convolution(y, 2 * width + 1, kernel: 3, stride: 2, name: "c"), name: "c.bn"))
            y = net.convolution(y, width, kernel: 1, name: "d")
            return net.linear(net.globalAveragePool(y), 5, name: "fc")
        }
    }

    private static func stored(size: [Int], width: Int, batch: Int) -> [OperationCase] {
        let shape = "\(batch)x\(width)x\(size[0])x\(size[1])"
        func network(
            _ name: String, _ build: @escaping (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value
        ) -> OperationCase {
            OperationCase("half: \(name) \(shape)", input: [3] + size, batch: batch, folded: true) { net, x in
                let y = build(&net, net.convolution(x, width, kernel: 3, name: "stem"))
                return net.linear(y.shape.count == 1 ? y : net.globalAveragePool(y), 5, name: "fc")
            }
        }
        return [
            storedConvolutions("half: convolutions \(shape)", size: size, width: width, batch: batch),
            network("batch norms and sums") { net, y in
                // What is added up first cannot be folded: the batch norms stay.
                let sum = net.add(net.convolution(y, width, kernel: 1, name: "a"), y)
                let first = net.relu(net.batchNorm(sum, name: "a.bn"))
                let second = net.relu(net.add(net.batchNorm(sum, name: "b.bn"), y))
                return net.relu(net.add(net.maxPool(first, kernel: 2), net.maxPool(second, kernel: 2)))
            },
            network("depthwise and grouped convolutions") { net, y in
                let z = net.relu6(net.batchNorm(net.depthwiseConvolution(y, kernel: 3, name: "a"), name: "a.bn"))
                let grouped = net.batchNorm(net.convolution(z, width, kernel: 3, groups: 2, name: "b"), name: "b.bn")
                return net.relu6(net.add(grouped, y))
            },
            network("channels") { net, y in
                let (left, right) = net.split(y, at: 5)
                let all = net.concat([right, net.relu6(left)])
                return net.channelShuffle(net.add(all, y), groups: 2)
            },
            network("pools and flatten") { net, y in
                let pooled = net.averagePool(net.maxPool(y, kernel: 3, stride: 2, padding: 1), kernel: 3, stride: 2, padding: 1)
                return net.flatten(net.relu(net.adaptiveAveragePool(pooled, height: 2, width: 3)))
            },
        ]
    }
}
