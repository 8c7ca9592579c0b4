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

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun { try GemmBenchmarkRun(self, engine: engine) }
}

package final class GemmBenchmarkRun: BenchmarkRun {
    private let benchmark: GemmBenchmark
    private let engine: DeviceEngine
    private let product: MatrixProduct
    private let a: [Float]
    private let b: [Float]

    package init(_ benchmark: GemmBenchmark, engine: DeviceEngine) throws {
        (self.benchmark, self.engine) = (benchmark, engine)
        func matrix(_ count: Int, _ stream: UInt64) throws -> ([Float], DeviceSlice) {
            let block = (0..<min(count, 65_537)).map {
                Float(2 * CounterRandom.uniform(seed: 3, stream: stream, counter: UInt64($0)) - 1)
            }
            let values = (0..<count).map { block[$0 % block.count] }
            let slice = DeviceSlice(try engine.makeBuffer(count, label: "matrix"), count: count)
            try engine.queue.write(values, to: slice.buffer)
            return (values, slice)
        }
        let (m, n, k) = (benchmark.m, benchmark.n, benchmark.k)
        let first = try matrix(m * k, 1)
        let second = try matrix(k * n, 2)
        (a, b) = (first.0, second.0)
        product = MatrixProduct(
            m: m, n: n, k: k, a: first.1, transposeA: benchmark.transposeA, b: second.1, transposeB: benchmark.transposeB,
            c: DeviceSlice(try engine.makeBuffer(m * n, label: "product"), count: m * n))
        try engine.products.reserve(product)
    }

    package func enqueue() throws { try engine.products.enqueue(product) }

    /// Up to 4096 elements, corners among them, against sums in Double. The bound grows with the products that cancel.
    package func check() throws -> Double {
        let (m, n, k) = (benchmark.m, benchmark.n, benchmark.k)
        // What is not written would be found.
        try engine.queue.fill(product.c.buffer, Float.nan)
        try enqueue()
        let found = try engine.queue.read(Float.self, from: product.c.buffer, count: m * n)
        let rows = m <= 64 ? Array(0..<m) : (0..<64).map { $0 * (m - 1) / 63 }
        let columns = n <= 64 ? Array(0..<n) : (0..<64).map { $0 * (n - 1) / 63 }
        var worst = Worst()
        for row in rows {
            for column in columns {
                var (sum, size) = (0.0, 0.0)
                for i in 0..<k {
                    let x = Double(benchmark.transposeA ? a[i * m + row] : a[row * k + i])
                    let y = Double(benchmark.transposeB ? b[column * k + i] : b[i * n + column])
                    sum += x * y
                    size += abs(x * y)
                }
                let bound = 0x1p-22 * Double(k).squareRoot() * size
                worst.add(abs(Double(found[row * n + column]) - sum) / max(bound, .leastNormalMagnitude), "product")
            }
        }
        return found.allSatisfy(\.isFinite) ? worst.value : .nan
    }
}
