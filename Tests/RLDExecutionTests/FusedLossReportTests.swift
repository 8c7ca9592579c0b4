import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// What a loss reports beside its values: faults with their rows, counts, sums; and what it refuses.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct FusedLossReportTests {
    private typealias Batch = FusedLossTests.Batch

    private func engine(_ profile: KernelProfile) throws -> DeviceEngine {
        try DeviceEngine(TestDevice.device(), profile: profile)
    }

    @Test(arguments: TestDevice.profiles)
    func faultsAreReported(_ profile: KernelProfile) throws {
        let engine = try engine(profile)
        let method = FusedLossTests.refined
        let device = try LossDevice(engine, method, rows: 5, classes: 33)
        func totals(_ change: (inout Batch) -> Void) throws -> LossTotals {
            var batch = Batch(5, 33)
            change(&batch)
            let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            #expect(try device.damagedGuards() == 0)
            return found.totals
        }
        let cases: [(LossFault, Int, (inout Batch) -> Void)] = [
            (.student, 3, { $0.student[3 * 33 + 32] = .nan }),
            (.student, 0, { $0.student[0] = .infinity }),
            (.teacher, 1, { $0.teacher[1 * 33 + 4] = .nan }),
            (.teacher, 2, { for i in 66..<99 { $0.teacher[i] = -.infinity } }),
            (.label, 4, { $0.labels[4] = 33 }),
            (.label, 2, { $0.labels[2] = -100 }),
            (.loss, 1, { $0.student[33 + Int($0.labels[1])] = -.infinity }),
        ]
        for (fault, row, change) in cases {
            let found = try totals(change)
            #expect(found.faults == fault && found.faultyRows == 1 && found.firstFaultyRow == row, "\(fault) in row \(row)")
            #expect(found.metrics.rows == 5 && !found.metrics.totalSum.isFinite)
        }
        // An infinite loss leaves the ranks as they are: the student excludes a class of the teacher's, and is right.
        var excluding = Batch(5, 33)
        for row in 0..<5 {
            let label = Int(excluding.labels[row])
            excluding.student[33 * row + label] = 50
            excluding.student[33 * row + (label + 1) % 33] = -.infinity
        }
        let plain = try LossDevice(engine, FusedLossTests.plain, rows: 5, classes: 33).run(
            FusedLossTests.plain, student: excluding.student, teacher: excluding.teacher, labels: excluding.labels
        ).totals
        #expect(plain.faultyRows == 5 && plain.metrics.top1 == 5 && plain.metrics.top5 == 5)
        let two = try totals { ($0.labels[3], $0.student[33]) = (99, .nan) }
        #expect(two.faults == [.label, .student] && two.faultyRows == 2 && two.firstFaultyRow == 1)
        #expect(two.faults.description.contains("out of range"))
    }

    /// What a kernel adds up at its end (on a cpu, up to 1,024 rows) and what a launch of its own does.
    @Test(arguments: TestDevice.profiles, [1, 2, 7, 8, 9, 15, 16, 17, 33, 100, 1023, 1027])
    func sumsAndCountsAreThoseOfTheRows(_ profile: KernelProfile, _ rows: Int) throws {
        let engine = try engine(profile)
        let (method, classes) = (FusedLossTests.refined, 10)
        let batch = Batch(rows, classes)
        let weights = method.termWeights(warmup: 1)
        for ignoring: Int32? in [nil, -100] {
            let device = try LossDevice(engine, method, rows: rows, classes: classes, ignoring: ignoring)
            let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            let sums = found.perRow.map { $0.reduce(0) { $0 + Double($1) } }
            expectClose(found.totals.metrics.termSums, sums, .relative(1e-12), "\(rows) rows")
            let total = zip(sums, weights).reduce(0) { $0 + $1.0 * $1.1 }
            expectClose([found.totals.metrics.totalSum], [total], .relative(1e-12), "\(rows) rows: total")

            var broken = batch
            let places = Set([rows / 3, rows / 2, rows - 1])
            for row in places { broken.labels[row] = 10 }
            let totals = try device.run(
                method, student: broken.student, teacher: broken.teacher, labels: broken.labels
            ).totals
            let sound = (0..<rows).filter { !places.contains($0) }
            let wanted = try ReferenceLoss.evaluate(
                method, student: sound.flatMap { batch.student[($0 * classes)..<(($0 + 1) * classes)] },
                teacher: sound.flatMap { batch.teacher[($0 * classes)..<(($0 + 1) * classes)] },
                labels: sound.map { batch.labels[$0] }, classes: classes)
            #expect(totals.metrics.rows == rows && totals.metrics.top1 == wanted.top1 && totals.metrics.top5 == wanted.top5)
            #expect(totals.faultyRows == places.count && totals.faults == .label && totals.firstFaultyRow == places.min())
        }
    }

    @Test func wrongArgumentsAreErrors() throws {
        let engine = try engine(.gpu)
        let loss = try FusedLoss(FusedLossTests.plain, rows: 4, classes: 5, programs: engine.programs, profile: .gpu)
        let buffer = try Buffer(engine.context, bytes: 4 * 20, label: "logits")
        let (full, short) = (DeviceSlice(buffer), DeviceSlice(buffer, offset: 1))
        func attempt(_ method: Method, rows: Int = 4, _ student: DeviceSlice, _ teacher: DeviceSlice?) throws {
            #expect(throws: DeviceError.self) {
                try loss.enqueue(
                    method, rows: rows, student: student, teacher: teacher, labels: full, gradient: full, into: nil,
                    on: engine.queue)
            }
        }
        try attempt(FusedLossTests.refined, full, full)
        try attempt(FusedLossTests.plain, short, full)
        try attempt(FusedLossTests.plain, full, short)
        try attempt(FusedLossTests.plain, full, nil)
        try attempt(FusedLossTests.plain, rows: 5, full, full)
        try attempt(FusedLossTests.plain, DeviceSlice(buffer, offset: 1, count: 20), full)
        #expect(throws: DeviceError.self) {
            try FusedLoss(FusedLossTests.plain, rows: 0, classes: 5, programs: engine.programs, profile: .gpu)
        }
    }
}
