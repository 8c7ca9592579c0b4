import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDTraining

/// A loss composed of building blocks, every intermediate written to memory: what fusing is worth.
package struct UnfusedLossBenchmark: BenchmarkCase {
    /// Its matrices of intermediates would not fit beside each other at larger sizes.
    package static let largest = 1 << 24

    let fused: LossBenchmark

    package init(_ fused: LossBenchmark) { self.fused = fused }

    package var name: String { fused.name }
    package var provider: String { "rld unfused" }
    package var mode: String { fused.mode }
    package var shape: String { fused.shape }
    /// The fused kernel's, so that the two rates compare.
    package var bytes: Double { fused.bytes }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun {
        let inputs = try LossBenchmarkRun(fused.method, rows: fused.rows, classes: fused.classes, engine: engine)
        return try UnfusedLossBenchmarkRun(inputs, fused.method, rows: fused.rows, classes: fused.classes, engine: engine)
    }
}

private final class UnfusedLossBenchmarkRun: BenchmarkRun {
    private let fused: LossBenchmarkRun
    private let loss: UnfusedLoss
    private let engine: DeviceEngine
    private let gradient: DeviceSlice

    init(_ fused: LossBenchmarkRun, _ method: Method, rows: Int, classes: Int, engine: DeviceEngine) throws {
        (self.fused, self.engine) = (fused, engine)
        loss = try UnfusedLoss(method, rows: rows, classes: classes, on: engine)
        gradient = DeviceSlice(try Buffer(engine.context, bytes: 4 * rows * classes, label: "unfused gradient"))
    }

    func enqueue() throws {
        try loss.enqueue(student: fused.student, teacher: fused.teacher, labels: DeviceSlice(fused.labels), gradient: gradient)
    }

    /// The fused kernel's gradient, itself checked against the reference.
    func check() throws -> Double {
        try fused.enqueue()
        var worst = Worst()
        worst.add(try fused.check(), "fused")
        let (found, wanted) = (try engine.read(gradient), try engine.read(fused.gradient))
        let largest = wanted.reduce(0) { max($0, abs($1)) }
        let bound = 1e-5 * max(largest, .leastNormalMagnitude)
        for (a, b) in zip(found, wanted) { worst.add(abs(a - b) / bound, "gradient") }
        return worst.value
    }
}
