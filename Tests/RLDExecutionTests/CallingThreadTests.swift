import OpenCLRuntime
import RLDExecution
import RLDMethods
import TestSupport
import Testing

/// Small losses that are called again and again run on the thread that calls them: the same numbers, in the same order as all else.
@Suite(
    .enabled(
        if: (try? TestDevice.device())?.callingThread != nil && TestDevice.profiles.contains(.cpu),
        "no driver that computes on the calling thread: PoCL 3.1 does, unless POCL_DEVICES is set"))
struct CallingThreadTests {
    private static let (rows, classes) = (23, 37)

    /// A loss with its buffers, and what a call leaves.
    private final class Desk {
        let engine: DeviceEngine
        private let loss: FusedLoss
        let accumulator: LossAccumulator
        let student: Buffer
        private let teacher: Buffer
        private let labels: Buffer
        let gradient: Buffer
        let batch = FusedLossTests.Batch(rows, classes, seed: 5)
        var method: Method

        init(_ method: Method) throws {
            self.method = method
            let engine = try DeviceEngine(TestDevice.device(), profile: .cpu)
            self.engine = engine
            loss = try FusedLoss(method, rows: rows, classes: classes, programs: engine.programs, profile: .cpu)
            accumulator = try LossAccumulator(on: engine.queue, context: engine.context)
            func buffer(_ count: Int) throws -> Buffer { try engine.makeBuffer(count, label: "calling thread") }
            (student, teacher, gradient) = (try buffer(rows * classes), try buffer(rows * classes), try buffer(rows * classes))
            labels = try buffer(rows)
            try engine.queue.write(batch.student.map(Float.init), to: student)
            try engine.queue.write(batch.teacher.map(Float.init), to: teacher)
            try engine.queue.write(batch.labels, to: labels)
            try engine.queue.finish()
        }

        func enqueue() throws {
            try loss.enqueue(
                method, student: DeviceSlice(student), teacher: DeviceSlice(teacher), labels: DeviceSlice(labels),
                gradient: DeviceSlice(gradient), into: accumulator, on: engine.queue)
        }

        func call() throws -> [UInt32] {
            try enqueue()
            return try engine.queue.read(Float.self, from: gradient, count: rows * classes).map(\.bitPattern)
        }

        /// As often as it takes.
        func warmUp() throws { for _ in 0...FusedLoss.callsUntilBuilt { _ = try call() } }
    }

    @Test(arguments: ["ce", "kd", "dkd", "la", "rc", "rld"]) func numbersAreTheSame(_ id: String) throws {
        let desk = try Desk(Method.make(id: id).method)
        let first = try desk.call()
        let counters = desk.engine.context.counters
        let once = try desk.accumulator.read(desk.method, on: desk.engine.queue).metrics
        let (built, launches) = (counters.programsBuilt, counters.launches)
        for call in 2...FusedLoss.callsUntilBuilt + 9 {
            #expect(try desk.call() == first, "call \(call)")
            #expect(counters.programsBuilt == (call > FusedLoss.callsUntilBuilt ? built + 1 : built), "call \(call)")
        }
        #expect(counters.launches == launches + FusedLoss.callsUntilBuilt + 8)
        let total = try desk.accumulator.read(desk.method, on: desk.engine.queue).metrics
        let calls = FusedLoss.callsUntilBuilt + 9
        #expect(total.rows == calls * once.rows && total.top1 == calls * once.top1 && total.top5 == calls * once.top5)
        expectClose(total.totalSum, Double(calls) * once.totalSum, .relative(1e-12))
    }

    /// What is queued comes first, and nothing that comes later comes before.
    @Test func orderIsKept() throws {
        let desk = try Desk(.refinedLogitDistillation(RefinedLogitDistillation()))
        try desk.warmUp()
        let first = try desk.call()
        let other = desk.batch.student.reversed().map(Float.init)
        let queue = desk.engine.queue
        #expect(queue.canRunNow)
        try queue.write(other, to: desk.student)
        #expect(!queue.canRunNow, "a write may still be on its way")
        let second = try desk.call()
        #expect(second != first)
        // The launch is over when the call is, and a fill after it does not reach back.
        try desk.enqueue()
        try queue.fill(desk.student, Float(0))
        #expect(!queue.canRunNow)
        #expect(try queue.read(Float.self, from: desk.gradient, count: Self.rows * Self.classes).map(\.bitPattern) == second)
        #expect(try desk.call() != second)
        try queue.write(desk.batch.student.map(Float.init), to: desk.student)
        try queue.finish()
        #expect(try desk.call() == first)
    }

    /// Other temperatures are other constants of the kernel.
    @Test func temperaturesMayChange() throws {
        let desk = try Desk(.refinedLogitDistillation(RefinedLogitDistillation()))
        try desk.warmUp()
        for temperature in [2.0, 4, 3] {
            desk.method = .refinedLogitDistillation(RefinedLogitDistillation(temperature: temperature))
            let fresh = try Desk(desk.method)
            #expect(try desk.call() == fresh.call(), "\(temperature)")
        }
    }

    /// In steady state nothing is built, and a kernel of another device is not taken.
    @Test func onlyWhereItMay() throws {
        let desk = try Desk(.crossEntropy(CrossEntropy()))
        desk.engine.context.counters.markSteadyState()
        let built = desk.engine.context.counters.programsBuilt
        try desk.warmUp()
        _ = try desk.call()
        #expect(desk.engine.context.counters.programsBuilt == built)
        let kernel = try desk.engine.programs.kernel("copy.cl", "copy_elements")
        let error = #expect(throws: DeviceError.self) { try desk.engine.queue.runNow(kernel, global: [1], local: [1]) }
        #expect(error?.code == .launchFailed)
    }

    @Test func itIsNoDeviceOfItsOwn() throws {
        let devices = try Device.all().filter(\.isPoCL)
        #expect(!devices.contains { $0.name.hasPrefix("basic") })
    }
}
