import OpenCLRuntime
import RLDExecution
import RLDGraph

/// C = A B through CLBlast for matrices of random numbers, some of whose sums are compared with sums in Double.
package final class SampledProduct {
    private let engine: DeviceEngine
    private let product: MatrixProduct
    private let a: [Float]
    private let b: [Float]
    /// Whether CLBlast takes copies of the matrices in whole tiles for it, as for any large product; it multiplies small ones directly,
    /// with a kernel of its own.
    package let isInTiles: Bool

    package init(m: Int, n: Int, k: Int, transposeA: Bool, transposeB: Bool, engine: DeviceEngine) throws {
        self.engine = engine
        func matrix(_ count: Int, _ stream: UInt64) throws -> ([Float], DeviceSlice) {
            let block = (0..<min(count, 65_537)).map {
                Float(2 * CounterRandom.uniform(seed: 3, stream: stream, counter: UInt64($0)) - 1)
            }
            let values = (0..<count).map { block[$0 % block.count] }
            let slice = DeviceSlice(try engine.makeBuffer(count, label: "matrix"), count: count)
            try engine.queue.write(values, to: slice.buffer)
            return (values, slice)
        }
        let first = try matrix(m * k, 1)
        let second = try matrix(k * n, 2)
        (a, b) = (first.0, second.0)
        product = MatrixProduct(
            m: m, n: n, k: k, a: first.1, transposeA: transposeA, b: second.1, transposeB: transposeB,
            c: DeviceSlice(try engine.makeBuffer(m * n, label: "product"), count: m * n))
        isInTiles = try engine.products.reserve(product) > 0
    }

    package func enqueue() throws { try engine.products.enqueue(product) }

    /// Error over bound of up to 4096 elements, corners among them. The bound grows with the products that cancel.
    package func compare() throws -> Worst {
        let (m, n, k) = (product.m, product.n, product.k)
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
                    let x = Double(product.transposeA ? a[i * m + row] : a[row * k + i])
                    let y = Double(product.transposeB ? b[column * k + i] : b[i * n + column])
                    sum += x * y
                    size += abs(x * y)
                }
                let bound = 0x1p-22 * Double(k).squareRoot() * size
                worst.add(abs(Double(found[row * n + column]) - sum) / max(bound, .leastNormalMagnitude), "product")
            }
        }
        if !found.allSatisfy(\.isFinite) { worst.add(.nan, "product") }
        return worst
    }
}

extension DeviceChecks {
    /// Products as linear layers take them, of the smallest size that CLBlast computes in tiles on this device.
    static func matrixChecks() -> [Check] {
        [("nn", false, false), ("nt", false, true), ("tn", true, false)].map { name, transposeA, transposeB in
            Check(name: "matrix product \(name), in CLBlast's tiles") { engine in
                func product(_ size: Int) throws -> SampledProduct {
                    try SampledProduct(
                        m: size, n: size + 2, k: size - 2, transposeA: transposeA, transposeB: transposeB, engine: engine)
                }
                var (size, sampled) = (129, try product(129))
                while !sampled.isInTiles, size < 4097 {
                    size = 2 * size - 1
                    sampled = try product(size)
                }
                return CheckResult(try sampled.compare())
            }
        }
    }
}
