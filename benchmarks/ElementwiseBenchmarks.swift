import RLDExecution
import RLDGraph
import RLDMethods

/// What is bound by memory: batch norm, pooling, augmentation, optimiser.
package enum ElementwiseBenchmarks {
    /// The case's names, for `--only`.
    package static let names = ["batch norm", "max pool", "average pool", "global pool", "augmentation", "optimizer"]

    /// - Parameter parameters: that the optimiser moves.
    package static func cases(batch: Int, parameters: Int) -> [any BenchmarkCase] {
        norms(batch: batch) + pools(batch: batch)
            + AugmentationBenchmark.Kind.allCases.map { AugmentationBenchmark($0, batch: batch) }
            + [
                OptimizerBenchmark("sgd", .sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)), count: parameters),
                OptimizerBenchmark("adamw", .adamW(AdamW(learningRate: 1e-3)), count: parameters),
            ]
    }

    /// Batch norm with the rectifier, and with the addition of a residual branch before it. The statistics need x once before it
    /// can be normalised; the backward pass needs x and dy twice and writes dx.
    private static func norms(batch: Int) -> [LayerBenchmark] {
        [[16, 32, 32], [64, 16, 16], [256, 8, 8]].flatMap { input in
            let plain = Network("norm", input: input) { $0.relu($0.batchNorm($1, name: "n")) }
            let residual = Network("norm", input: input) { net, x in net.relu(net.add(net.batchNorm(x, name: "n"), x)) }
            let shape = text(batch, input)
            return [
                LayerBenchmark("batch norm", .forward, network: plain, batch: batch, shape: shape, passes: 3),
                LayerBenchmark("batch norm", .backward, network: plain, batch: batch, shape: shape, passes: 5),
                LayerBenchmark("batch norm, add", .forward, network: residual, batch: batch, shape: shape, passes: 4),
            ]
        }
    }

    private static func pools(batch: Int) -> [LayerBenchmark] {
        let pools: [(String, [Int], Double, (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value)] = [
            ("max pool 2x2", [64, 32, 32], 0.25, { $0.maxPool($1, kernel: 2) }),
            ("average pool 3x3/2", [64, 16, 16], 0.25, { $0.averagePool($1, kernel: 3, stride: 2, padding: 1) }),
            ("global pool", [256, 8, 8], 1.0 / 64, { $0.globalAveragePool($1) }),
        ]
        return pools.flatMap { name, input, share, build in
            let network = Network("pool", input: input, build)
            // Which element won is written and read as well.
            let winners = name.hasPrefix("max") ? share : 0
            return [LayerBenchmark.Direction.forward, .inputGradient].map { direction in
                LayerBenchmark(
                    name, direction, network: network, batch: batch, shape: text(batch, input), passes: 1 + share + winners)
            }
        }
    }

    private static func text(_ batch: Int, _ input: [Int]) -> String { ([batch] + input).map(String.init).joined(separator: "x") }
}
