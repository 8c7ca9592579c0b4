import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import RLDTraining

/// A fused loss: terms, gradient and correctness of one batch of logits, and the sums over its rows.
package struct LossBenchmark: BenchmarkCase {
    /// `mlkd` compares all rows with each other and is checked within its batch: larger ones are left out.
    package static let largestAlignment = 1 << 24

    package static let shapes = [(64, 100), (512, 1000), (8192, 1000), (256, 32000), (4096, 32000), (1024, 151_936)]

    package let method: Method
    package let rows: Int
    package let classes: Int

    package init(_ method: Method, rows: Int, classes: Int) {
        self.method = method
        self.rows = rows
        self.classes = classes
    }

    package var name: String { method.id }
    package var mode: String { "loss and gradient" }
    package var shape: String { "\(rows)x\(classes)" }
    /// Each logit read once, each gradient written once.
    package var bytes: Double { Double(rows * classes * 4 * (method.needsTeacher ? 3 : 2)) }

    package func target(profile: KernelProfile) -> BenchmarkTarget? {
        guard method.id == "rld" else { return nil }
        switch profile {
        case .cpu: return rows * classes >= 512 * 1000 ? BenchmarkTarget(bandwidth: 10, share: 0.6) : nil
        case .gpu: return rows * classes >= 8192 * 1000 ? BenchmarkTarget(share: 0.85) : nil
        }
    }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun {
        try LossBenchmarkRun(method, rows: rows, classes: classes, engine: engine)
    }
}

final class LossBenchmarkRun: BenchmarkRun {
    private let method: Method
    private let rows: Int
    private let classes: Int
    private let engine: DeviceEngine
    private let loss: FusedLoss
    private let accumulator: LossAccumulator
    let student: DeviceSlice
    let teacher: DeviceSlice
    let labels: Buffer
    let gradient: DeviceSlice
    /// Host copy of the labels.
    private let labelValues: [Int32]

    init(_ method: Method, rows: Int, classes: Int, engine: DeviceEngine) throws {
        (self.method, self.rows, self.classes, self.engine) = (method, rows, classes, engine)
        loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: engine.profile,
            products: engine.products)
        accumulator = try LossAccumulator(on: engine.queue, context: engine.context)
        student = DeviceSlice(try Self.logits(rows * classes, stream: 1, engine))
        teacher = DeviceSlice(try Self.logits(rows * classes, stream: 2, engine))
        gradient = DeviceSlice(try Buffer(engine.context, bytes: 4 * rows * classes, label: "gradient"))
        labelValues = (0..<rows).map {
            Int32(CounterRandom.integer(below: classes, seed: 11, stream: 3, counter: UInt64($0)))
        }
        labels = try Buffer(engine.context, bytes: 4 * rows, label: "labels")
        try engine.queue.write(labelValues, to: labels)
    }

    /// Logits of deviation 4: a block of random numbers over and over, shifted against the rows.
    private static func logits(_ count: Int, stream: UInt64, _ engine: DeviceEngine) throws -> Buffer {
        let buffer = try Buffer(engine.context, bytes: 4 * count, label: "logits")
        let period = min(count, 1_048_573)
        let block = (0..<period).map { i in
            let u = (0..<3).reduce(0.0) { $0 + CounterRandom.uniform(seed: 11, stream: stream, counter: UInt64(3 * i + $1)) }
            return Float(8 * (u - 1.5))
        }
        for start in stride(from: 0, to: count, by: period) {
            let here = min(period, count - start)
            try engine.queue.write(here == period ? block : Array(block[..<here]), to: buffer, at: start)
        }
        try engine.queue.finish()
        return buffer
    }

    func enqueue() throws {
        try loss.enqueue(
            method, student: student, teacher: method.needsTeacher ? teacher : nil, labels: DeviceSlice(labels),
            gradient: gradient, into: accumulator, on: engine.queue)
    }

    /// A few rows, first and last among them, each as a batch of its own in Double; for `mlkd`, whose rows depend on each other,
    /// within the whole batch.
    func check() throws -> Double {
        if method.comparesRows { return try checkWithinBatch() }
        let perRow = try loss.perRow(on: engine.queue)
        let count = max(2, min(16, 200_000 / classes))
        let chosen = Set((0..<count).map { $0 * (rows - 1) / (count - 1) })
        let groups = try groupSizes()
        var worst = Worst()
        for row in chosen.sorted() {
            func read(_ slice: DeviceSlice) throws -> [Double] {
                try engine.queue.read(Float.self, from: slice.buffer, at: slice.offset + row * classes, count: classes).map(
                    Double.init)
            }
            let expected = try ReferenceLoss.evaluate(
                method, student: try read(student), teacher: try read(teacher), labels: [labelValues[row]], classes: classes)
            for (k, wanted) in expected.perRow.enumerated() {
                let error = abs(Double(perRow[k][row]) - wanted[0])
                worst.add(error / (2e-5 * abs(wanted[0]) + 1e-6), "term")
            }
            // The row's share in the mean of the whole batch.
            let share = 1 / Double(groups[row])
            let found = try read(gradient)
            let largest = expected.gradient.reduce(0) { max($0, abs($1)) } * share
            for (a, b) in zip(found, expected.gradient) {
                worst.add(abs(a - b * share) / (1e-5 * max(largest, .leastNormalMagnitude)), "gradient")
            }
        }
        return worst.value
    }

    private func checkWithinBatch() throws -> Double {
        let perRow = try loss.perRow(on: engine.queue)
        let (s, t) = (try engine.read(student), try engine.read(teacher))
        let chosen = Set([0, rows / 2, rows - 1])
        let expected = try ReferenceLoss.evaluate(
            method, student: s, teacher: t, labels: labelValues, classes: classes, only: chosen)
        let found = try engine.read(gradient)
        var worst = Worst()
        for row in chosen.sorted() {
            for (k, values) in expected.perRow.enumerated() {
                // The share of a row in the class alignment is a sum of both signs.
                worst.add(abs(Double(perRow[k][row]) - values[row]) / (1e-4 * abs(values[row]) + 1e-5), "term")
            }
            let range = (row * classes)..<((row + 1) * classes)
            let largest = expected.gradient[range].reduce(0) { max($0, abs($1)) }
            for i in range { worst.add(abs(found[i] - expected.gradient[i]) / (1e-5 * largest), "gradient") }
        }
        return worst.value
    }

    /// Over how many rows the mean goes that each row is in: all; for label revision those that the teacher gets right, or wrong.
    private func groupSizes() throws -> [Int] {
        guard method.id == "lr" else { return Array(repeating: rows, count: rows) }
        let isRight = try (0..<rows).map { row in
            let values = try engine.queue.read(Float.self, from: teacher.buffer, at: row * classes, count: classes)
            let label = Int(labelValues[row])
            let best = values.withUnsafeBufferPointer { v in v.indices.reduce(0) { v[$1] > v[$0] ? $1 : $0 } }
            return best == label
        }
        let right = isRight.count { $0 }
        return isRight.map { $0 ? right : rows - right }
    }
}
