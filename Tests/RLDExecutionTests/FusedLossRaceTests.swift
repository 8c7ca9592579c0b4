import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import TestSupport
import Testing

/// Many rows at once, launched again and again: whatever two work-groups share by mistake shows as a gradient that changes.
/// (A per-row scratch in local memory once did, on PoCL, at sizes that smaller tests never reach.)
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
struct FusedLossRaceTests {
    @Test(arguments: Method.ids, KernelProfile.allCases) func manyRowsRepeatBitForBit(id: String, profile: KernelProfile) throws {
        // MLKD's matrix products grow with the square of the rows.
        let (rows, classes) = (id == "mlkd" ? 96 : 512, 1000)
        let method = try Method.make(id: id, options: [:]).method
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        func upload(_ stream: UInt64) throws -> DeviceSlice {
            let buffer = try Buffer(engine.context, bytes: 4 * rows * classes, label: "logits")
            try engine.queue.write(
                (0..<rows * classes).map { Float(8 * CounterRandom.uniform(seed: 3, stream: stream, counter: UInt64($0))) },
                to: buffer)
            return DeviceSlice(buffer)
        }
        let (student, teacher) = (try upload(1), try upload(2))
        let labels = try Buffer(engine.context, bytes: 4 * rows, label: "labels")
        try engine.queue.write((0..<rows).map { Int32($0 * 7 % classes) }, to: labels)
        let gradient = DeviceSlice(try Buffer(engine.context, bytes: 4 * rows * classes, label: "gradient"))
        let loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: profile, products: engine.products)
        func run() throws -> [UInt32] {
            try loss.enqueue(
                method, student: student, teacher: method.needsTeacher ? teacher : nil, labels: DeviceSlice(labels),
                gradient: gradient, into: nil, on: engine.queue)
            return try engine.queue.read(UInt32.self, from: gradient.buffer, count: rows * classes)
        }
        let first = try run()
        let different = try (0..<25).count { _ in try run() != first }
        #expect(different == 0, "\(id), \(profile): \(different) of 25 reruns differ")
    }
}
