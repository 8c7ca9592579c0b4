import RLDExecution
import RLDGraph
import RLDModels

/// The convolutions of networks, each distinct one once.
package enum ConvolutionBenchmarks {
    /// A convolution at its input's size; bias and what is fused into it do not count.
    package struct Layer: Hashable, Sendable {
        package let input: [Int]
        package let outputs: Int
        package let kernel: Int
        package let stride: Int
        package let padding: Int
        package let groups: Int

        /// "16x32x32 to 16, 3x3" and so on.
        package var text: String {
            "\(input.map(String.init).joined(separator: "x")) to \(outputs), \(kernel)x\(kernel)"
                + (stride > 1 ? "/\(stride)" : "") + (groups > 1 ? ", \(groups) groups" : "")
        }

        /// The layer alone. Frozen, with bias and rectifier, as folding leaves it.
        func network(frozen: Bool) -> Network {
            Network("convolution", input: input) { net, x in
                let y = net.convolution(
                    x, outputs, kernel: kernel, stride: stride, padding: padding, groups: groups, bias: frozen, name: "c")
                return frozen ? net.relu(y) : y
            }
        }
    }

    /// In order of appearance, with the number of times that each appears.
    package static func layers(of networks: [Network]) -> [(layer: Layer, count: Int)] {
        var order: [Layer] = []
        var counts: [Layer: Int] = [:]
        for network in networks {
            for node in network.nodes {
                guard case .convolution(let c) = node.operation else { continue }
                let layer = Layer(
                    input: network.nodes[node.inputs[0]].shape, outputs: c.outputChannels, kernel: c.kernel, stride: c.stride,
                    padding: c.padding, groups: c.groups)
                if counts[layer] == nil { order.append(layer) }
                counts[layer, default: 0] += 1
            }
        }
        return order.map { ($0, counts[$0] ?? 0) }
    }

    /// The networks whose figures the paper prints, on 32x32 images.
    package static let paperNetworks = [
        "resnet32x4", "resnet8x4", "vgg13", "vgg8", "wrn_40_2", "wrn_40_1", "wrn_16_2", "resnet56", "resnet110", "resnet20",
        "resnet32", "ResNet50", "MobileNetV2", "ShuffleV2",
    ]

    /// - Parameters:
    ///   - frozen: networks that run forward only, folded; trained: those that also run backward.
    package static func cases(frozen: [Network], trained: [Network], batch: Int) -> [LayerBenchmark] {
        layers(of: frozen).map { benchmark($0.layer, .frozenForward, batch: batch) }
            + layers(of: trained).flatMap { layer in
                [.forward, .inputGradient, .weightGradient].map { benchmark(layer.layer, $0, batch: batch) }
            }
    }

    package static func benchmark(_ layer: Layer, _ direction: LayerBenchmark.Direction, batch: Int) -> LayerBenchmark {
        LayerBenchmark(
            "convolution", direction, network: layer.network(frozen: direction.isFrozen), batch: batch,
            shape: "\(batch)x\(layer.text)")
    }
}
