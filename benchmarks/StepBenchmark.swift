import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import RLDReference

/// One RLD training step, or a part of it, of a teacher and a student that are given by their ids.
package struct StepBenchmark: BenchmarkCase {
    /// What of the step runs.
    package enum Part: String, CaseIterable, Sendable {
        case teacherForward = "teacher forward"
        case studentForward = "student forward"
        case loss
        case backward
        case update
        /// Batch, both networks, loss, backward and optimiser, as a training runs it.
        case whole = "step"

        /// nil for the whole.
        var executorPart: DeviceExecutor.StepPart? {
            switch self {
            case .teacherForward: .teacherForward
            case .studentForward: .studentForward
            case .loss: .loss
            case .backward: .backward
            case .update: .update
            case .whole: nil
            }
        }
    }

    package let part: Part
    package let teacher: Network
    package let student: Network
    package let batch: Int

    /// - Throws: `InputError` for an unknown id.
    package init(_ part: Part, teacher: String, student: String, batch: Int, classes: Int = 100, input: [Int] = [3, 32, 32])
        throws
    {
        self.part = part
        self.teacher = try ModelCatalog.network(teacher, classes: classes, input: input)
        self.student = try ModelCatalog.network(student, classes: classes, input: input)
        self.batch = batch
    }

    package var name: String { part.rawValue }
    package var mode: String { "rld" }
    package var shape: String { "\(teacher.id)->\(student.id) \(batch)" }
    package var bytes: Double { 0 }
    /// Of convolutions and linear layers, two per multiply-add; backward costs two forward passes.
    package var flops: Double {
        let (t, s) = (2.0 * Double(teacher.multiplyAdds), 2.0 * Double(student.multiplyAdds))
        switch part {
        case .teacherForward: return t * Double(batch)
        case .studentForward: return s * Double(batch)
        case .backward: return 2 * s * Double(batch)
        case .whole: return (t + 3 * s) * Double(batch)
        case .loss, .update: return 0
        }
    }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun { try StepBenchmarkRun(self, engine: engine) }
}

/// Networks, weights and plans of one step on one device.
final class StepBenchmarkRun: BenchmarkRun {
    private static let transform = ImageTransform(
        mean: [0.5071, 0.4867, 0.4408], deviation: [0.2675, 0.2565, 0.2761], cropPadding: 4, horizontalFlip: true)
    private static let method = Method.refinedLogitDistillation(RefinedLogitDistillation())
    private static let rule = UpdateRule(.sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)))
    private static let checkedBatch = 2

    private let benchmark: StepBenchmark
    private let executor: DeviceExecutor
    private let table: ImageTable
    private var step = 0

    init(_ benchmark: StepBenchmark, engine: DeviceEngine) throws {
        self.benchmark = benchmark
        let shape = benchmark.student.inputShape
        let count = 4 * benchmark.batch
        table = ImageTable(
            channels: shape[0], height: shape[1], width: shape[2],
            pixels: (0..<count * shape.reduce(1, *)).map {
                UInt8(CounterRandom.bits(seed: 5, stream: 1, counter: UInt64($0)) >> 56)
            },
            labels: (0..<count).map { Int32($0 % benchmark.student.classes) },
            classNames: (0..<benchmark.student.classes).map(String.init))
        executor = try DeviceExecutor(engine: engine)
        try Self.prepare(executor, benchmark, table)
        try executor.prepareUpdates(Self.rule)
        try executor.prepareSteps(training: [benchmark.batch], evaluation: [], method: Self.method)
        // Every part reads what the ones before it left.
        try executor.trainStep(
            selection(benchmark.batch), method: Self.method, warmup: 1, update: ParameterUpdate(Self.rule, number: 1))
    }

    private static func prepare(_ executor: any NetworkExecutor, _ benchmark: StepBenchmark, _ table: ImageTable) throws {
        try executor.load(table, as: "images")
        try executor.prepareTeacher(benchmark.teacher, state: benchmark.teacher.initialState(seed: 2))
        try executor.prepareStudent(benchmark.student, state: benchmark.student.initialState(seed: 1))
    }

    private func selection(_ count: Int) -> BatchSelection {
        step += 1
        return BatchSelection(
            table: "images", indices: (0..<count).map { ($0 * 3 + step) % table.count }, transform: Self.transform, seed: 1,
            epoch: step)
    }

    func enqueue() throws {
        guard let part = benchmark.part.executorPart else {
            return try executor.trainStep(
                selection(benchmark.batch), method: Self.method, warmup: 1, update: ParameterUpdate(Self.rule, number: 1))
        }
        try executor.enqueue(part, batch: benchmark.batch, method: Self.method, update: ParameterUpdate(Self.rule, number: 1))
    }

    /// One step of two images from the same weights, on an executor of its own and on the reference: the loss's terms, and the
    /// updated student relative to the largest value of each tensor.
    func check() throws -> Double {
        step = 0
        let selection = selection(Self.checkedBatch)
        func train(_ executor: any NetworkExecutor) throws -> (StepMetrics, NetworkState) {
            try Self.prepare(executor, benchmark, table)
            try executor.trainStep(selection, method: Self.method, warmup: 1, update: ParameterUpdate(Self.rule, number: 1))
            return (try executor.takeMetrics(), try executor.studentState())
        }
        let (found, state) = try train(DeviceExecutor(engine: executor.engine))
        let (expected, expectedState) = try train(ReferenceExecutor())
        var worst = 0.0
        func add(_ ratio: Double) { if !(ratio <= worst), !worst.isNaN { worst = ratio } }
        for (a, b) in zip(found.termSums, expected.termSums) { add(abs(a - b) / (1e-4 * abs(b) + 1e-5)) }
        for name in expectedState.names {
            let (a, b) = (state[name]?.values ?? [], expectedState[name]?.values ?? [])
            let largest = b.reduce(0) { max($0, abs($1)) }
            guard a.count == b.count else { return .infinity }
            for (x, y) in zip(a, b) { add(abs(x - y) / (1e-3 * largest + 1e-6)) }
        }
        return worst
    }
}
