import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods

/// A loss on logits of any values, those that executors refuse included, and what it says of them.
struct FaultBatch {
    private let method: Method
    private let engine: DeviceEngine
    private let loss: FusedLoss
    private let accumulator: LossAccumulator
    private let student: DeviceSlice
    private let teacher: DeviceSlice
    private let labels: DeviceSlice

    init(_ method: Method, rows: Int, classes: Int, engine: DeviceEngine) throws {
        (self.method, self.engine) = (method, engine)
        loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: engine.profile, products: engine.products)
        accumulator = try LossAccumulator(on: engine.queue, context: engine.context)
        student = DeviceSlice(try engine.makeBuffer(rows * classes, label: "student logits"), count: rows * classes)
        teacher = DeviceSlice(try engine.makeBuffer(rows * classes, label: "teacher logits"), count: rows * classes)
        labels = DeviceSlice(try engine.makeBuffer(rows, label: "labels"), count: rows)
    }

    /// - Parameters: as many as it was made for.
    func run(student s: Tensor, teacher t: Tensor, labels y: [Int32]) throws -> LossTotals {
        try engine.write(s.values, to: student)
        try engine.write(t.values, to: teacher)
        try engine.queue.write(y, to: labels.buffer)
        try accumulator.reset(on: engine.queue)
        try loss.enqueue(
            method, student: student, teacher: method.needsTeacher ? teacher : nil, labels: labels, gradient: nil,
            into: accumulator, on: engine.queue)
        return try accumulator.read(method, on: engine.queue)
    }
}
