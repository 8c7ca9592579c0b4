import Foundation
import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// The fused losses against the reference and against themselves.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct FusedLossTests {
    static let methods: [Method] = {
        var lukewarm = RefinedLogitDistillation()
        lukewarm.confidenceTemperature = 3
        return Method.defaults + Method.defaults.filter { $0.value(of: .standardize) != nil }.map { $0.applyingLSKD() } + [
            .refinedLogitDistillation(lukewarm)
        ]
    }()

    static let plain = Method.knowledgeDistillation(KnowledgeDistillation())
    static let refined = Method.refinedLogitDistillation(RefinedLogitDistillation())

    /// Float32 logits (as Double) of deviation about 4 and labels; every fifth row of the teacher puts ties at its label.
    struct Batch {
        var student: [Double]
        var teacher: [Double]
        var labels: [Int32]

        init(_ rows: Int, _ classes: Int, seed: UInt64 = 7) {
            var state = seed
            func next() -> Double {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Double(state >> 40) / 16_777_216
            }
            func logit() -> Double { Double(Float(8 * (next() + next() + next()) - 12)) }
            student = (0..<(rows * classes)).map { _ in logit() }
            teacher = (0..<(rows * classes)).map { _ in logit() }
            labels = (0..<rows).map { _ in Int32(next() * Double(classes)) }
            for row in stride(from: 0, to: rows, by: 5) {
                teacher[row * classes + classes / 2] = teacher[row * classes + Int(labels[row])]
            }
        }
    }

    private func engine(_ profile: KernelProfile) throws -> DeviceEngine {
        try DeviceEngine(TestDevice.device(), profile: profile)
    }

    /// Worst |error| / bound, recording failures. Bounds: `Bound.rowOperation`; for two standardised classes, which are always
    /// at +-0.7, the distillation gradient cancels to nothing: its rounding (1e-6 of what cancels) comes on top.
    @discardableResult
    static func compare(
        _ found: LossDevice.Outcome, _ method: Method, _ batch: Batch, classes: Int, warmup: Double = 1, scale: Double = 1,
        ignoring: Int32 = -100, weights: [Double]? = nil, _ what: String
    ) throws -> Double {
        let wanted = try ReferenceLoss.evaluate(
            method, student: batch.student, teacher: batch.teacher, labels: batch.labels, classes: classes, warmup: warmup,
            scale: scale, ignoring: ignoring, rowWeights: weights)
        let metrics = found.totals.metrics
        let rows = Double(max(wanted.rows, 1))
        #expect(metrics.rows == wanted.rows && metrics.top1 == wanted.top1 && metrics.top5 == wanted.top5, "\(what)")
        #expect(found.totals.faultyRows == 0, "\(what)")
        var worst = 0.0
        for (k, name) in method.termNames.enumerated() {
            let mean = wanted.perRow[k].map(abs).reduce(0, +) / Double(wanted.perRow[k].count)
            // A row's share of MLKD's class alignment is a sum of both signs.
            let bound = Bound.relative(1e-5, absolute: (name == "cc" ? 1e-5 : 1e-6) * max(mean, 1e-1))
            worst = max(worst, expectClose(found.perRow[k].map(Double.init), wanted.perRow[k], bound, "\(what): \(name) per row"))
            worst = max(worst, expectClose([metrics.termSums[k] / rows], [wanted.terms[k]], bound, "\(what): \(name)"))
        }
        worst = max(
            worst, expectClose([metrics.totalSum / rows], [wanted.total], .relative(1e-5, absolute: 1e-6), "\(what): total"))
        let largest = wanted.gradient.map(abs).max() ?? 0
        // MLKD's is a sum over five temperatures and three levels.
        let floor = (method.id == "mlkd" ? 4e-6 : 1e-6) * largest
        var bounds = wanted.gradient.map { 1e-5 * abs($0) + floor }
        if classes == 2, method.value(of: .standardize) == 1 {
            let weight = zip(method.termNames, method.termWeights(warmup: warmup)).reduce(0) { $0 + ($1.0 == "ce" ? 0 : $1.1) }
            for i in bounds.indices {
                let slope = 2.0.squareRoot() / abs(batch.student[i / 2 * 2] - batch.student[i / 2 * 2 + 1])
                bounds[i] += 1e-6 * scale * weight * (method.value(of: .temperature) ?? 1) * slope / rows
            }
        }
        return max(worst, expectClose(found.gradient.map(Double.init), wanted.gradient, .each(bounds), "\(what): gradient"))
    }

    /// Weights that differ from term to term, and from 1: a kernel that leaves one out is off.
    @Test(arguments: Method.ids, TestDevice.profiles) func everyWeightCounts(_ id: String, _ profile: KernelProfile) throws {
        var method = try Method.make(id: id).method
        for (index, option) in method.options.filter({ $0.kind == .weight }).enumerated() {
            try method.set(option, to: [0.3, 1.7, 0.6][index % 3])
        }
        let batch = Batch(6, 10, seed: 21)
        let tensors = [batch.student, batch.teacher].map { Tensor(shape: [6, 10], values: $0) }
        func loss(_ executor: any NetworkExecutor) throws -> LossReport {
            try executor.loss(
                method, student: tensors[0], teacher: method.needsTeacher ? tensors[1] : nil, labels: batch.labels,
                settings: LossSettings(warmup: 0.4))
        }
        let found = try loss(DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile)))
        let wanted = try loss(ReferenceExecutor())
        expectClose(found.total, wanted.total, .relative(2e-5, absolute: 1e-6), "total of \(id)")
        expectClose(found.gradient, wanted.gradient, .relative(1e-5, absolute: 1e-6), "gradient of \(id)")
    }

    @Test(arguments: TestDevice.profiles, methods)
    func awkwardSizes(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        var worst = 0.0
        for classes in [1, 2, 3, 5, 31, 32, 33, 63, 64, 65, 100, 257, 1000, 32000] {
            for rows in classes == 32000 ? [2] : classes == 1000 ? [1, 5] : [1, 2, 5, 64, 65] {
                let batch = Batch(rows, classes)
                let device = try LossDevice(engine, method, rows: rows, classes: classes)
                let found = try device.run(
                    method, student: batch.student, teacher: batch.teacher, labels: batch.labels, warmup: 0.35, scale: 2)
                let what = "\(profile) \(method.effectiveDescription), \(rows) x \(classes)"
                worst = max(worst, try Self.compare(found, method, batch, classes: classes, warmup: 0.35, scale: 2, what))
                #expect(try device.damagedGuards() == 0, "\(what)")
            }
        }
        print("worst error / bound, \(profile) \(method.effectiveDescription): \(worst)")
    }

    @Test(arguments: TestDevice.groupSizes)
    func anyWorkGroupSizeIsRight(_ localSize: Int) throws {
        let engine = try engine(.gpu)
        for method in Self.methods {
            let batch = Batch(5, 100)
            let device = try LossDevice(engine, method, rows: 5, classes: 100, localSize: localSize)
            let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            try Self.compare(found, method, batch, classes: 100, "\(localSize) work-items, \(method.id)")
            #expect(try device.damagedGuards() == 0)
        }
    }

    /// Careful rows cost many times an ordinary one: only what needs them may take them.
    @Test(arguments: TestDevice.profiles, methods)
    func ordinaryRowsAreFast(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        var batch = Batch(65, 100)
        let device = try LossDevice(engine, method, rows: 65, classes: 100)
        _ = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        #expect(try device.carefulRows(65) == 0)
        batch.student[3 * 100 + 7] = .nan
        _ = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        #expect(try device.carefulRows(65) == (["lr", "mlkd"].contains(method.id) ? 0 : 1))
    }

    @Test(arguments: TestDevice.profiles, methods)
    func rerunsAreBitEqualAndOnlySumsAddUp(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        let batch = Batch(65, 100)
        let device = try LossDevice(engine, method, rows: 65, classes: 100)
        func run(_ times: Int) throws -> LossDevice.Outcome {
            try device.run(
                method, student: batch.student, teacher: batch.teacher, labels: batch.labels, warmup: 0.5, times: times)
        }
        let once = try run(1)
        #expect(try run(1) == once)
        let thrice = try run(3)
        #expect(thrice.gradient == once.gradient && thrice.perRow == once.perRow)
        let (a, b) = (once.totals.metrics, thrice.totals.metrics)
        #expect(b.rows == 3 * a.rows && b.top1 == 3 * a.top1 && b.top5 == 3 * a.top5)
        #expect(abs(b.totalSum - 3 * a.totalSum) <= 1e-12 * abs(a.totalSum))
        for (x, y) in zip(a.termSums, b.termSums) { #expect(abs(y - 3 * x) <= 1e-12 * abs(x)) }
        // The sums are those of the rows as stored, to far more than float32.
        for (rows, sum) in zip(once.perRow, a.termSums) where method.id != "lr" {
            let exact = rows.reduce(0.0) { $0 + Double($1) }
            #expect(abs(sum - exact) <= 1e-12 * exact)
        }
    }

    @Test(arguments: TestDevice.profiles, methods)
    func ignoredRowsAreNotThere(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        var batch = Batch(9, 33)
        for row in [0, 3, 8] {
            batch.labels[row] = -100
            for i in 0..<33 { batch.student[row * 33 + i] = .nan }
        }
        let device = try LossDevice(engine, method, rows: 9, classes: 33, ignoring: -100)
        let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        try Self.compare(found, method, batch, classes: 33, "\(profile) \(method.id), ignored rows")
        let none = try device.run(
            method, student: batch.student, teacher: batch.teacher, labels: Array(repeating: -100, count: 9))
        #expect(none.totals.metrics.rows == 0 && none.totals.metrics.totalSum == 0 && none.totals.faultyRows == 0)
        #expect(none.gradient.allSatisfy { $0 == 0 })
    }

    @Test(arguments: TestDevice.profiles, methods)
    func rowWeightsWeighTheMean(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        var batch = Batch(70, 33)
        batch.labels[4] = -100
        var weights = [Double](repeating: 0, count: 70)
        for row in 0..<70 where row % 7 != 3 { weights[row] = Double(row % 5 + 1) / 4 }
        for ignoring: Int32? in [nil, -100] {
            if ignoring == nil { batch.labels[4] = 32 }
            let device = try LossDevice(engine, method, rows: 70, classes: 33, ignoring: ignoring)
            let found = try device.run(
                method, student: batch.student, teacher: batch.teacher, labels: batch.labels, scale: 2, weights: weights)
            try Self.compare(
                found, method, batch, classes: 33, scale: 2, weights: weights,
                "\(profile) \(method.effectiveDescription), weights")
            let zeros = [Double](repeating: 0, count: 70)
            let none = try device.run(
                method, student: batch.student, teacher: batch.teacher, labels: batch.labels, weights: zeros)
            #expect(none.totals.metrics.totalSum == 0 && none.gradient.allSatisfy { $0 == 0 })
            // Without weights again: nothing is left of them.
            let plain = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            try Self.compare(plain, method, batch, classes: 33, "\(profile) \(method.effectiveDescription), after weights")
            #expect(try device.damagedGuards() == 0)
            batch.labels[4] = -100
        }
    }

    @Test(arguments: TestDevice.profiles, methods)
    func hugeLogitsStayFinite(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        let huge = method.id == "lr" ? 1e18 : 1e30
        let sizes = [huge, -huge, 0, 1e-30, 5, huge, -huge, 1e-38, 300]
        var batch = Batch(36, 9)
        for i in batch.student.indices {
            batch.student[i] = sizes[(i * 5 + i / 9) % 9]
            batch.teacher[i] = sizes[(i * 4 + i / 7) % 9]
        }
        let device = try LossDevice(engine, method, rows: 36, classes: 9)
        let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        #expect(found.totals.faultyRows == 0)
        #expect(found.totals.metrics.totalSum.isFinite)
        for (name, values) in zip(method.termNames, found.perRow) {
            #expect(values.allSatisfy { $0.isFinite && ($0 >= 0 || name == "cc") }, "\(name)")
        }
        #expect(found.gradient.allSatisfy { $0.isFinite })
        // The same of one small and one tiny range, where standardisation divides by little.
        for size in [1e-6, 1e-20, 1e-37] {
            let small = try device.run(
                method, student: batch.labels.indices.flatMap { row in (0..<9).map { size * Double(($0 * 7 + row) % 9) } },
                teacher: batch.teacher, labels: batch.labels)
            #expect(small.gradient.allSatisfy { $0.isFinite } && small.totals.metrics.totalSum.isFinite)
        }
    }

    @Test(arguments: TestDevice.profiles, methods)
    func excludedClassesAreLimits(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        var batch = Batch(12, 33)
        for row in 0..<12 {
            for i in [(row * 3) % 33, (row * 5 + 1) % 33] where i != Int(batch.labels[row]) {
                batch.student[row * 33 + i] = -.infinity
                batch.teacher[row * 33 + i] = -.infinity
            }
            // A class that only the teacher excludes; label revision squares the distance to it.
            let i = (row * 7 + 2) % 33
            if method.id != "lr", i != Int(batch.labels[row]) { batch.teacher[row * 33 + i] = -.infinity }
        }
        let device = try LossDevice(engine, method, rows: 12, classes: 33)
        let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        try Self.compare(found, method, batch, classes: 33, "\(profile) \(method.effectiveDescription), excluded classes")
    }

    /// A padded vocabulary: classes that every row excludes take no careful path, standardised or not.
    @Test(arguments: TestDevice.profiles, methods)
    func paddedRowsAreFast(_ profile: KernelProfile, _ method: Method) throws {
        let engine = try engine(profile)
        for classes in [50, 1100, 9000] {
            var batch = Batch(5, classes)
            for row in 0..<5 {
                let kept = batch.teacher[(row * classes)..<(row * classes + classes - 20)]
                batch.labels[row] = Int32((kept.indices.max { kept[$0] < kept[$1] } ?? 0) - row * classes)
                for i in (classes - 20)..<classes {
                    batch.student[row * classes + i] = -.infinity
                    batch.teacher[row * classes + i] = -.infinity
                }
            }
            // One more that only the teacher excludes.
            let i = classes + (Int(batch.labels[1]) + 1) % (classes - 20)
            if method.id != "lr" { batch.teacher[i] = -.infinity }
            let device = try LossDevice(engine, method, rows: 5, classes: classes)
            let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            let what = "\(profile) \(method.effectiveDescription), \(classes) classes, padded"
            try Self.compare(found, method, batch, classes: classes, what)
            #expect(try device.carefulRows(5) == 0, "\(what)")
        }
    }

    /// Whatever is left of the teacher's probability, a class that only the student excludes makes the loss infinite.
    @Test(arguments: TestDevice.profiles, ["kd", "dkd", "la", "rc", "rld", "mlkd"])
    func excludedByTheStudentAloneIsInfinite(_ profile: KernelProfile, _ id: String) throws {
        let engine = try engine(profile)
        var method = try Method.make(id: id).method
        try method.set(.temperature, to: 1)
        for low in [-5.0, -102, -110, -800, -1e5] {
            let rows: [(student: [Double], teacher: [Double], label: Int32)] = [
                ([0, 0, -.infinity, 1], [0, 1, low, -2], 1), ([0, 0, -.infinity, 1], [0, 0, low, 3], 3),
                // Excluded by both.
                ([0, 0, -.infinity, 1], [0, 1, -.infinity, -2], 1),
            ]
            let device = try LossDevice(engine, method, rows: 3, classes: 4)
            let (student, teacher) = (rows.flatMap(\.student), rows.flatMap(\.teacher))
            let found = try device.run(method, student: student, teacher: teacher, labels: rows.map(\.label))
            let wanted = try ReferenceLoss.evaluate(
                method, student: student, teacher: teacher, labels: rows.map(\.label), classes: 4)
            for (k, name) in method.termNames.enumerated() {
                let infinite = ["kd", "nckd", "mcd"].contains(name)
                #expect(wanted.perRow[k].map(\.isInfinite) == [infinite, infinite, false], "\(id) \(name) \(low)")
                #expect(found.perRow[k].map(\.isInfinite) == [infinite, infinite, false], "\(profile) \(id) \(name) \(low)")
            }
            #expect(found.gradient.allSatisfy { $0.isFinite } && wanted.gradient.allSatisfy { $0.isFinite })
        }
    }

    /// RC's corrected label is as far from the largest logit as the label is from 0, however large both are.
    @Test(arguments: TestDevice.profiles, [10.0, 1e6, 1e19, 1e25])
    func correctionsOfLargeLogitsKeepTheirDigits(_ profile: KernelProfile, _ size: Double) throws {
        let engine = try engine(profile)
        var correction = ReviewCorrection()
        correction.temperature = 1
        let method = Method.reviewCorrection(correction)
        let large = Double(Float(size))
        let rows: [(student: [Double], gap: Double)] = [
            ([0, large, large], log(2)), ([0.5, large, -large], -0.5), ([large, 0, 0], log(2) - 2 * large),
        ]
        for (student, gap) in rows {
            let device = try LossDevice(engine, method, rows: 1, classes: 3)
            let found = try device.run(method, student: student, teacher: [1, 0, 0], labels: [0])
            let wanted = try ReferenceLoss.evaluate(method, student: student, teacher: [1, 0, 0], labels: [0], classes: 3)
            // KL of {q, 1 - q} to {p, 1 - p}, log((1 - q) / q) = gap; p underflows where the label is not the largest.
            let q = 1 / (1 + exp(gap))
            let entropy = q > 0 && q < 1 ? q * log(q) + (1 - q) * log(1 - q) : 0
            let exact = student[0] == large ? 0 : entropy + q * (log(student[1] == student[2] ? 2 : 1) + large - student[0])
            if size >= 1e6 { expectClose(wanted.perRow[2], [exact], .relative(1e-9, absolute: 1e-9), "\(student)") }
            expectClose(
                found.perRow[2].map(Double.init), wanted.perRow[2], .relative(1e-5, absolute: 1e-6), "\(profile) \(student)")
            expectClose(found.gradient.map(Double.init), wanted.gradient, .ofMax(1e-5), "\(profile) \(student)")
        }
    }

    /// Masks are also made of the lowest number that there is, which a slope above 1 takes to -infinity.
    @Test(arguments: TestDevice.profiles, [1, 4])
    func lowestNumbersAreLimits(_ profile: KernelProfile, _ temperature: Double) throws {
        let engine = try engine(profile)
        let lowest = -Double(Float.greatestFiniteMagnitude)
        var (refined, plain, decoupled) = (RefinedLogitDistillation(), KnowledgeDistillation(), DecoupledKnowledgeDistillation())
        (refined.temperature, plain.temperature, decoupled.temperature) = (temperature, temperature, temperature)
        let methods: [Method] = [
            .crossEntropy(CrossEntropy()), .refinedLogitDistillation(refined), .knowledgeDistillation(plain),
            .decoupledKnowledgeDistillation(decoupled),
        ]
        for method in methods {
            let device = try LossDevice(engine, method, rows: 12, classes: 33)
            // Rows that are careful for other reasons: with classes that count for nothing, too.
            var careful = 0
            for mask in [-200, lowest] {
                var batch = Batch(12, 33)
                for row in 0..<12 {
                    for i in [(row * 3) % 33, (row * 5 + 1) % 33] where i != Int(batch.labels[row]) {
                        batch.student[row * 33 + i] = mask
                        batch.teacher[row * 33 + i] = mask
                    }
                    let i = (row * 7 + 2) % 33
                    if i != Int(batch.labels[row]) { batch.teacher[row * 33 + i] = row % 2 == 0 ? mask : -.infinity }
                }
                let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
                try Self.compare(found, method, batch, classes: 33, "\(profile) \(method.effectiveDescription), \(mask)")
                if mask == lowest { #expect(try device.carefulRows(12) == careful) } else { careful = try device.carefulRows(12) }
            }
        }
    }

    @Test(arguments: TestDevice.profiles)
    func aSteadyStateAllocatesAndCompilesNothing(_ profile: KernelProfile) throws {
        let engine = try engine(profile)
        let batch = Batch(8, 10)
        let device = try LossDevice(engine, Self.refined, rows: 8, classes: 10)
        _ = try device.run(Self.refined, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        let (bytes, programs) = (engine.context.counters.allocatedBytes, engine.context.counters.programsBuilt)
        _ = try device.run(Self.refined, student: batch.student, teacher: batch.teacher, labels: batch.labels, times: 5)
        #expect(engine.context.counters.allocatedBytes == bytes && engine.context.counters.programsBuilt == programs)
    }
}
