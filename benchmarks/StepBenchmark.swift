import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import RLDTraining

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
    package let teacherStorage: TeacherStorage

    /// - Throws: `InputError` for an unknown id.
    package init(
        _ part: Part, teacher: String, student: String, batch: Int, classes: Int = 100, input: [Int] = [3, 32, 32],
        teacherStorage: TeacherStorage = .float32
    ) throws {
        self.teacherStorage = teacherStorage
        self.part = part
        self.teacher = try ModelCatalog.network(teacher, classes: classes, input: input)
        self.student = try ModelCatalog.network(student, classes: classes, input: input)
        self.batch = batch
    }

    package var name: String { part.rawValue }
    package var mode: String { teacherStorage == .float32 ? "rld" : "rld, teacher in \(teacherStorage.rawValue)" }
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

    package var images: Int { part == .whole ? batch : 0 }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun { try StepBenchmarkRun(self, engine: engine) }
}

/// What the step trains on and how.
extension StepBenchmark {
    static let transform = ImageTransform(
        mean: [0.5071, 0.4867, 0.4408], deviation: [0.2675, 0.2565, 0.2761], cropPadding: 4, horizontalFlip: true)
    static let method = Method.refinedLogitDistillation(RefinedLogitDistillation())
    static let update = ParameterUpdate(UpdateRule(.sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4))), number: 1)

    var table: ImageTable {
        SyntheticImages.table(count: 4 * batch, shape: student.inputShape, classes: student.classes)
    }

    /// Fresh weights.
    /// - Parameter logitScale: of the teacher's last layer.
    func states(logitScale: Double = 1) -> (teacher: NetworkState, student: NetworkState) {
        var state = teacher.initialState(seed: 2)
        let last = teacher.nodes[teacher.output].name
        for name in logitScale == 1 ? [] : ["\(last).weight", "\(last).bias"] {
            guard let tensor = state[name] else { continue }
            state[name] = Tensor(shape: tensor.shape, values: tensor.values.map { $0 * logitScale })
        }
        return (state, student.initialState(seed: 1))
    }

    /// What makes logits of a teacher with fresh weights as large as a trained one's: in the thousands, as they would be, they would take
    /// the losses' careful path, which no training does.
    func logitScale(on engine: DeviceEngine) throws -> Double {
        let (executor, table) = (try DeviceExecutor(engine: engine, overlap: false), table)
        try executor.load(table, as: "images")
        try executor.prepareTeacher(teacher, state: states().teacher)
        let largest = try executor.teacherLogits(selection(1, table: table), of: 0).reduce(0) { max($0, abs($1)) }
        return largest > 8 && largest.isFinite ? 8 / Double(largest) : 1
    }

    func selection(_ step: Int, count: Int? = nil, table: ImageTable) -> BatchSelection {
        BatchSelection(
            table: "images", indices: (0..<(count ?? batch)).map { ($0 * 3 + step) % table.count }, transform: Self.transform,
            seed: 1, epoch: step)
    }
}

/// Networks, weights and plans of one step on one device.
final class StepBenchmarkRun: BenchmarkRun {
    private static let checkedBatch = 2

    private let benchmark: StepBenchmark
    private let executor: DeviceExecutor
    private let table: ImageTable
    private let logitScale: Double
    private var step = 0

    init(_ benchmark: StepBenchmark, engine: DeviceEngine) throws {
        self.benchmark = benchmark
        table = benchmark.table
        logitScale = try benchmark.logitScale(on: engine)
        // A part alone is timed on one queue; a whole step is as in training.
        executor = try DeviceExecutor(
            engine: engine, teacherStorage: benchmark.teacherStorage, overlap: benchmark.part == .whole ? nil : false)
        // Weights on the host are made when they are wanted: a training does not keep them either.
        try Self.prepare(executor, benchmark, table, benchmark.states(logitScale: logitScale))
        try executor.prepareUpdates(StepBenchmark.update.rule)
        try executor.prepareSteps(training: [benchmark.batch], evaluation: [], method: StepBenchmark.method)
        // Every part reads what the ones before it left.
        try enqueueStep()
    }

    static func prepare(
        _ executor: any NetworkExecutor, _ benchmark: StepBenchmark, _ table: ImageTable,
        _ states: (teacher: NetworkState, student: NetworkState)
    ) throws {
        try executor.load(table, as: "images")
        try executor.prepareTeacher(benchmark.teacher, state: states.teacher)
        try executor.prepareStudent(benchmark.student, state: states.student)
    }

    private func enqueueStep() throws {
        step += 1
        try executor.trainStep(
            benchmark.selection(step, table: table), method: StepBenchmark.method, warmup: 1, update: StepBenchmark.update)
    }

    func enqueue() throws {
        guard let part = benchmark.part.executorPart else { return try enqueueStep() }
        try executor.enqueue(part, batch: benchmark.batch, method: StepBenchmark.method, update: StepBenchmark.update)
    }

    /// One step of two images from the same weights, on an executor of its own and on the reference: the loss's terms, and the
    /// updated student relative to the largest value of each tensor.
    func check() throws -> Double {
        let selection = benchmark.selection(1, count: Self.checkedBatch, table: table)
        func train(_ executor: any NetworkExecutor) throws -> (StepMetrics, NetworkState) {
            try Self.prepare(executor, benchmark, table, benchmark.states(logitScale: logitScale))
            try executor.trainStep(selection, method: StepBenchmark.method, warmup: 1, update: StepBenchmark.update)
            return (try executor.takeMetrics(), try executor.studentState())
        }
        let (found, state) = try train(
            DeviceExecutor(engine: executor.engine, teacherStorage: benchmark.teacherStorage))
        let (expected, expectedState) = try train(ReferenceExecutor(precision: executor.precision))
        // A teacher stored as half has other logits, by up to 2e-3 of the largest; terms of one with fresh weights are off by up to
        // 1.1e-2 (ResNet50). In tf32 each layer may lose a little (`DeviceChecks.bound`), all in one direction.
        let allowed = benchmark.teacherStorage == .half ? 2e-2 : executor.precision == .tf32 ? 2e-3 : 1e-4
        var worst = Worst()
        for (a, b) in zip(found.termSums, expected.termSums) { worst.add(abs(a - b) / (allowed * abs(b) + 1e-5), "term") }
        for name in expectedState.names {
            let (a, b) = (state[name]?.values ?? [], expectedState[name]?.values ?? [])
            let largest = b.reduce(0) { max($0, abs($1)) }
            guard a.count == b.count else { return .infinity }
            for (x, y) in zip(a, b) { worst.add(abs(x - y) / (1e-3 * largest + 1e-6), name) }
        }
        return worst.value
    }
}
