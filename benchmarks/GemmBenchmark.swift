import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDTraining

/// C = A B through CLBlast, as linear layers take it.
package struct GemmBenchmark: BenchmarkCase {
    package let m: Int
    package let n: Int
    package let k: Int
    package let transposeA: Bool
    package let transposeB: Bool

    package init(m: Int, n: Int, k: Int, transposeA: Bool = false, transposeB: Bool = false) {
        (self.m, self.n, self.k, self.transposeA, self.transposeB) = (m, n, k, transposeA, transposeB)
    }

    /// "nn", "nt" and so on: whether A and B are stored transposed.
    package static let names = ["nn", "nt", "tn", "tt"]

    package static func sizes(_ profile: KernelProfile) -> [(m: Int, n: Int, k: Int)] {
        [256, 512, 1024].map { ($0, $0, $0) } + (profile == .gpu ? [(2048, 2048, 2048), (4096, 4096, 4096)] : [])
            + [(64, 100, 256), (8192, 64, 576)]
    }

    package var name: String { (transposeA ? "t" : "n") + (transposeB ? "t" : "n") }
    package var mode: String { "product" }
    package var shape: String { "\(m)x\(n)x\(k)" }
    package var bytes: Double { 0 }
    package var flops: Double { 2 * Double(m) * Double(n) * Double(k) }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun {
        try SampledProduct(m: m, n: n, k: k, transposeA: transposeA, transposeB: transposeB, engine: engine)
    }
}

extension SampledProduct: BenchmarkRun {
    package func check() throws -> Double { try compare().value }
}
