import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods

/// A batch of logits on a device in a given storage, and the loss over it: how half storage is checked.
package struct StoredBatch {
    /// As they are stored, rounded.
    package let student: Tensor
    package let teacher: Tensor
    package let labels: [Int32]

    private let method: Method
    private let storage: LossStorage
    private let engine: DeviceEngine
    private let loss: FusedLoss
    private let buffers: [DeviceSlice]
    private let labelBuffer: Buffer

    /// - Parameter value: the logit of a side (1 student, 2 teacher) at an index, before rounding.
    package init(
        _ method: Method, rows: Int, classes: Int, storage: LossStorage, engine: DeviceEngine, value: (UInt64, Int) -> Double
    ) throws {
        (self.method, self.storage, self.engine) = (method, storage, engine)
        let count = rows * classes
        func side(_ stream: UInt64, _ element: StoredElement) throws -> (Tensor, DeviceSlice) {
            let values = (0..<count).map { Float(value(stream, $0)) }
            let buffer = try Buffer(engine.context, bytes: 4 * count, label: "logits")
            switch element {
            case .float32:
                try engine.queue.write(values, to: buffer)
                return (Tensor(shape: [rows, classes], values: values.map(Double.init)), DeviceSlice(buffer, count: count))
            case .float16:
                let rounded = values.map(Float16.init)
                try engine.queue.write(rounded, to: buffer)
                return (Tensor(shape: [rows, classes], values: rounded.map(Double.init)), DeviceSlice(buffer, count: count))
            }
        }
        let (student, studentSlice) = try side(1, storage.student)
        let (teacher, teacherSlice) = try side(2, storage.teacher)
        (self.student, self.teacher) = (student, teacher)
        let gradient = DeviceSlice(try Buffer(engine.context, bytes: 4 * count, label: "gradient"), count: count)
        buffers = [studentSlice, teacherSlice, gradient]
        labels = (0..<rows).map { Int32($0 * 3 % classes) }
        labelBuffer = try Buffer(engine.context, bytes: 4 * rows, label: "labels")
        try engine.queue.write(labels, to: labelBuffer)
        loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: engine.profile, storage: storage)
    }

    /// The gradient.
    package func run() throws -> [Double] {
        try loss.enqueue(
            method, student: buffers[0], teacher: method.needsTeacher ? buffers[1] : nil, labels: DeviceSlice(labelBuffer),
            gradient: buffers[2], into: nil, on: engine.queue)
        let count = buffers[2].count
        switch storage.gradient {
        case .float32: return try engine.queue.read(Float.self, from: buffers[2].buffer, count: count).map(Double.init)
        case .float16:
            return try engine.queue.read(Float16.self, from: buffers[2].buffer, count: count).map(Double.init)
        }
    }

    /// The terms per row of the last run.
    package func perRow() throws -> [[Float]] { try loss.perRow(on: engine.queue) }
}

extension AuditRow {
    /// Worst |error| / bound against the reference's row; infinite where a class, a rank or a count differs.
    package func error(against expected: AuditRow) -> Double {
        let same =
            (row, label) == (expected.row, expected.label) && teacherTop == expected.teacherTop && labelRank == expected.labelRank
            && maskedClasses == expected.maskedClasses && studentTop == expected.studentTop && terms.count == expected.terms.count
        let shares = [
            (teacherTopProbability, expected.teacherTopProbability), (studentConfidence, expected.studentConfidence),
            (teacherConfidence, expected.teacherConfidence),
        ]
        guard same, shares.allSatisfy({ ($0.0 == nil) == ($0.1 == nil) }) else { return .infinity }
        let errors =
            shares.map { abs(($0.0 ?? 0) - ($0.1 ?? 0)) / (1e-5 * ($0.1 ?? 0) + 1e-30) }
            + zip(terms, expected.terms).map { abs($0 - $1) / (2e-5 * abs($1) + 1e-6) }
        return errors.contains { $0.isNaN } ? .nan : errors.max() ?? 0
    }
}
