import OpenCLRuntime
import RLDExecution
import RLDMethods
import TestSupport

/// Buffers of one loss on a device, each alone in a zone of NaN that must stay as it is.
struct LossDevice {
    /// Elements before and after every value, a multiple of four unless a test says otherwise.
    static let guardZone = 72
    static let sentinel = UInt32(0x7FC0_1234)

    let engine: DeviceEngine
    let loss: FusedLoss
    let accumulator: LossAccumulator
    let rows: Int
    let classes: Int
    private let student: DeviceSlice
    private let teacher: DeviceSlice
    private let labels: DeviceSlice
    private let rowWeights: DeviceSlice
    private let gradient: DeviceSlice

    init(
        _ engine: DeviceEngine, _ method: Method, rows: Int, classes: Int, localSize: Int? = nil, ignoring: Int32? = nil,
        constants: [(String, String)] = [], guardZone: Int = Self.guardZone
    ) throws {
        (self.engine, self.rows, self.classes) = (engine, rows, classes)
        loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: engine.profile, localSize: localSize,
            ignoring: ignoring, products: engine.products, constants: constants)
        accumulator = try LossAccumulator(on: engine.queue, context: engine.context)
        func guarded(_ count: Int, _ label: String) throws -> DeviceSlice {
            let buffer = try Buffer(engine.context, bytes: 4 * (count + 2 * guardZone), label: label)
            try engine.queue.fill(buffer, Self.sentinel)
            return DeviceSlice(buffer, offset: guardZone, count: count)
        }
        student = try guarded(rows * classes, "student")
        teacher = try guarded(rows * classes, "teacher")
        labels = try guarded(rows, "labels")
        rowWeights = try guarded(rows, "row weights")
        gradient = try guarded(rows * classes, "gradient")
    }

    struct Outcome: Equatable {
        var totals: LossTotals
        var gradient: [Float]
        var perRow: [[Float]]
    }

    /// The loss of one batch, from an empty accumulator.
    func run(
        _ method: Method, student s: [Double], teacher t: [Double], labels y: [Int32], warmup: Double = 1, scale: Double = 1,
        weights: [Double]? = nil, times: Int = 1
    ) throws -> Outcome {
        let queue = engine.queue
        try queue.write(s.map(Float.init), to: student.buffer, at: student.offset)
        try queue.write(t.map(Float.init), to: teacher.buffer, at: teacher.offset)
        try queue.write(y, to: labels.buffer, at: labels.offset)
        if let weights { try queue.write(weights.map(Float.init), to: rowWeights.buffer, at: rowWeights.offset) }
        try accumulator.reset(on: queue)
        for _ in 0..<times {
            try loss.enqueue(
                method, warmup: warmup, scale: scale, student: student, teacher: teacher, labels: labels,
                rowWeights: weights == nil ? nil : rowWeights, gradient: gradient, into: accumulator, on: queue)
        }
        return Outcome(
            totals: try accumulator.read(method, on: queue),
            gradient: try queue.read(Float.self, from: gradient.buffer, at: gradient.offset, count: gradient.count),
            perRow: try loss.perRow(on: queue))
    }

    /// Rows of the last batch that were recomputed carefully.
    func carefulRows(_ rows: Int) throws -> Int { try loss.carefulRows(rows, on: engine.queue) }

    /// How many guard elements no longer hold the sentinel.
    func damagedGuards() throws -> Int {
        try [student, teacher, labels, rowWeights, gradient].reduce(0) { sum, slice in
            let words = try engine.queue.read(UInt32.self, from: slice.buffer, count: slice.buffer.bytes / 4)
            let outside = words[..<slice.offset] + words[(slice.offset + slice.count)...]
            return sum + outside.count { $0 != Self.sentinel }
        }
    }
}
