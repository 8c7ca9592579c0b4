import Foundation
import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import TestSupport
import Testing

/// Many rows at once, launched again and again: whatever two work-groups share by mistake shows as a gradient that changes.
/// (Local memory declared in a kernel once did: PoCL leaves some of its uses to all threads at once. Hence local memory that is
/// an argument, and the sizes here, which smaller tests never reach.)
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
struct FusedLossRaceTests {
    static let cases: [(id: String, half: Bool)] = Method.ids.map { ($0, false) } + ["rld", "kd", "lr"].map { ($0, true) }

    /// Two times 512 rows of 1,000 classes.
    private static let logits = [1, 2].map { stream in
        (0..<512_000).map { Float(8 * CounterRandom.uniform(seed: 3, stream: stream, counter: UInt64($0))) }
    }

    @Test(arguments: cases, TestDevice.profiles) func manyRowsRepeatBitForBit(
        variant: (id: String, half: Bool), profile: KernelProfile
    ) throws {
        let (id, half) = variant
        // MLKD's matrix products grow with the square of the rows; a CPU is slow at what GPUs compute.
        let (rows, classes) = (id == "mlkd" ? 96 : profile == .gpu ? 160 : 512, 1000)
        // The standardised row is the longest kernel; MLKD and cross-entropy have none of their own.
        let standardized = id == "rld" || id == "kd"
        let method = try Method.make(id: id, options: standardized && !half ? ["standardize": true] : [:]).method
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        func upload(_ stream: Int) throws -> DeviceSlice {
            let values = Self.logits[stream].prefix(rows * classes)
            let buffer = try Buffer(engine.context, bytes: 4 * rows * classes, label: "logits")
            if half {
                try engine.queue.write(values.map { Float16($0).bitPattern }, to: buffer)
            } else {
                try engine.queue.write(Array(values), to: buffer)
            }
            return DeviceSlice(buffer, count: rows * classes)
        }
        let (student, teacher) = (try upload(0), try upload(1))
        let labels = try Buffer(engine.context, bytes: 4 * rows, label: "labels")
        try engine.queue.write((0..<rows).map { Int32($0 * 7 % classes) }, to: labels)
        let gradient = DeviceSlice(
            try Buffer(engine.context, bytes: 4 * rows * classes, label: "gradient"), count: rows * classes)
        let storage = half ? LossStorage(student: .float16, teacher: .float16, gradient: .float32) : LossStorage()
        let loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: profile, storage: storage,
            products: engine.products)
        func run() throws -> [UInt32] {
            try loss.enqueue(
                method, student: student, teacher: method.needsTeacher ? teacher : nil, labels: DeviceSlice(labels),
                gradient: gradient, into: nil, on: engine.queue)
            return try engine.queue.read(UInt32.self, from: gradient.buffer, count: rows * classes)
        }
        let first = try run()
        let different = try (0..<25).count { _ in
            try run().withUnsafeBytes { found in
                first.withUnsafeBytes { memcmp(found.baseAddress!, $0.baseAddress!, $0.count) != 0 }
            }
        }
        #expect(different == 0, "\(id), \(profile): \(different) of 25 reruns differ")
    }
}
