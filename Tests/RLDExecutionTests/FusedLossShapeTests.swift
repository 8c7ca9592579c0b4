import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// What a loss does differently by the length of its rows, the size of its batch and its temperatures.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct FusedLossShapeTests {
    private static func refined(temperature: Double, confidence: Double = 1) -> Method {
        var method = RefinedLogitDistillation()
        (method.temperature, method.confidenceTemperature) = (temperature, confidence)
        return .refinedLogitDistillation(method)
    }

    /// Around the lengths up to which a cpu keeps a row whole, and beyond the last of them, where it goes block by block.
    @Test(arguments: [8192, 8193, 8208, 32_768, 32_769, 65_537, 163_840, 163_841]) func longRowsAreTheReferences(_ classes: Int)
        throws
    {
        let engine = try DeviceEngine(TestDevice.device(), profile: .cpu)
        for method in try [FusedLossTests.refined, FusedLossTests.refined.applyingLSKD(), Method.make(id: "lr").method] {
            let batch = FusedLossTests.Batch(2, classes)
            let device = try LossDevice(engine, method, rows: 2, classes: classes)
            let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            try FusedLossTests.compare(
                found, method, batch, classes: classes, "\(classes) classes, \(method.effectiveDescription)")
            #expect(try device.damagedGuards() == 0)
        }
    }

    /// What a cache of the teacher's largest logits gives: equal logits but for a few, whose roundings all go the same way.
    @Test(arguments: TestDevice.profiles, [32_000, 151_936])
    func sumsOfLongRowsKeepTheirDigits(_ profile: KernelProfile, _ classes: Int) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        var batch = FusedLossTests.Batch(1, classes)
        batch.student = batch.student.map { $0 / 2 }
        batch.teacher = batch.teacher.indices.map { $0 % (classes / 8) == 17 ? 5 + Double($0 % 7) : Double(Float(-1.3)) }
        batch.labels = [17]
        for id in ["rld", "kd", "rc", "la", "mlkd"] {
            let method = try Method.make(id: id).method
            for method in [method, method.applyingLSKD()] {
                let device = try LossDevice(engine, method, rows: 1, classes: classes)
                let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
                try FusedLossTests.compare(
                    found, method, batch, classes: classes, "\(profile) \(method.effectiveDescription), \(classes) classes")
            }
        }
    }

    /// A loss leaves a kernel's arguments as they are where a call is the last one again: of calls that differ in one thing each gives
    /// what a loss that is new gives.
    @Test(arguments: TestDevice.profiles) func callsThatDifferInOneThingGetTheirOwn(_ profile: KernelProfile) throws {
        let (rows, classes) = (6, 20)
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let batch = FusedLossTests.Batch(rows + 1, classes)
        func buffer(_ values: [Double]) throws -> Buffer {
            let buffer = try engine.makeBuffer(values.count, label: "calls")
            try engine.queue.write(values.map(Float.init), to: buffer)
            return buffer
        }
        let (student, teacher) = (try buffer(batch.student), try buffer(batch.teacher))
        let gradients = [try buffer(batch.student), try buffer(batch.student)]
        let labels = try engine.makeBuffer(rows + 1, label: "labels")
        try engine.queue.write(batch.labels, to: labels)
        let accumulators = try (0..<2).map { _ in try LossAccumulator(on: engine.queue, context: engine.context) }

        struct Variation {
            var (method, rows, warmup, scale) = (FusedLossTests.refined, 6, 1.0, 1.0)
            var (s, t, y, g) = (0, 0, 0, 0)
            var sums: Int? = 0
        }
        func call(_ v: Variation, _ loss: FusedLoss) throws -> [UInt32] {
            for accumulator in accumulators { try accumulator.reset(on: engine.queue) }
            for gradient in gradients { try engine.queue.fill(gradient, Float(0)) }
            try loss.enqueue(
                v.method, rows: v.rows, warmup: v.warmup, scale: v.scale, student: DeviceSlice(student, offset: v.s),
                teacher: DeviceSlice(teacher, offset: v.t), labels: DeviceSlice(labels, offset: v.y),
                gradient: DeviceSlice(gradients[v.g]), into: v.sums.map { accumulators[$0] }, on: engine.queue)
            var bits = try gradients.flatMap {
                try engine.queue.read(Float.self, from: $0, count: rows * classes).map(\.bitPattern)
            }
            for accumulator in accumulators {
                bits += [Float(try accumulator.read(v.method, on: engine.queue).metrics.totalSum).bitPattern]
            }
            return bits
        }
        func loss() throws -> FusedLoss {
            try FusedLoss(
                FusedLossTests.refined, rows: rows, classes: classes, programs: engine.programs, profile: profile,
                products: engine.products)
        }
        let usual = Variation()
        var others = Array(repeating: usual, count: 10)
        var weighty = RefinedLogitDistillation()
        weighty.alpha = 3
        others[0].method = .refinedLogitDistillation(weighty)
        (others[1].rows, others[2].warmup, others[3].scale) = (5, 0.5, 3)
        (others[4].s, others[5].t, others[6].y, others[7].g) = (classes, classes, 1, 1)
        (others[8].sums, others[9].sums) = (1, nil)
        let one = try loss()
        let wanted = try call(usual, loss())
        for (k, other) in others.enumerated() {
            #expect(try call(usual, one) == wanted, "before \(k)")
            let own = try call(other, loss())
            #expect(own != wanted, "\(k) makes no difference")
            #expect(try call(other, one) == own, "\(k)")
            #expect(try call(other, one) == own, "\(k), again")
        }
    }

    /// Who is ahead of the label is counted with rows that hold what is not finite: 4,096 classes ahead, as many as four of each of the
    /// most work-items, are neither none of them nor such a row.
    @Test(arguments: [32, 820, 1024]) func manyClassesAheadAreNotNone(_ localSize: Int) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: .gpu)
        let classes = 4099
        var batch = FusedLossTests.Batch(1, classes)
        batch.student = (0..<classes).map { Double($0 % 97) / 32 }
        for i in [5, 6, 7] { batch.student[i] = -Double(i) }
        batch.labels = [5]
        let device = try LossDevice(engine, FusedLossTests.refined, rows: 1, classes: classes, localSize: localSize)
        let found = try device.run(
            FusedLossTests.refined, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        #expect(found.totals.metrics.top1 == 0 && found.totals.metrics.top5 == 0 && found.totals.faultyRows == 0)
        try FusedLossTests.compare(found, FusedLossTests.refined, batch, classes: classes, "\(localSize) work-items")
    }

    /// Rows whose block lies where the gradient will, as long rows of whole vectors have it: nothing that is read after the gradient may
    /// be expected there. Students far from their teacher and so close that the divergence is summed again, and excluded classes.
    @Test(arguments: ["8", "16"]) func blocksInTheGradientAreTheReferences(_ width: String) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: .cpu, registers: .avx2)
        let constants = [("ROW_WIDTH", width), ("BLOCK_IN_GRADIENT", "1"), ("ROWS_TOGETHER", "0")]
        let methods =
            try [FusedLossTests.refined, FusedLossTests.refined.applyingLSKD()]
            + ["ce", "kd", "dkd", "la", "rc"].map { try Method.make(id: $0).method }
        for method in methods {
            for classes in [16, 48, 112] {
                let rows = 9
                var batch = FusedLossTests.Batch(rows, classes)
                for i in batch.student.indices where i / classes % 3 > 0 {
                    batch.student[i] = batch.teacher[i] + batch.student[i] / 512
                }
                for row in stride(from: 2, to: rows, by: 3) {
                    for i in [1, classes - 1] where i != Int(batch.labels[row]) {
                        batch.student[row * classes + i] = -.infinity
                        batch.teacher[row * classes + i] = -.infinity
                    }
                }
                let device = try LossDevice(engine, method, rows: rows, classes: classes, constants: constants)
                let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
                try FusedLossTests.compare(
                    found, method, batch, classes: classes, "\(width) lanes, \(method.effectiveDescription), \(classes) classes")
                #expect(try device.damagedGuards() == 0)
            }
        }
    }

    /// What CPUs of other widths get, and rows that do not fit in one block, wherever this runs: lengths below, at and above a vector
    /// and a block, the label in every part of a row.
    @Test(arguments: [
        [("ROW_WIDTH", "8")], [("ROW_WIDTH", "8"), ("LOSS_SPLIT", "0")], [("ROW_WIDTH", "16")],
        [("ROW_WIDTH", "16"), ("LOSS_SPLIT", "1")],
        [("ROW_WIDTH", "8"), ("ROWS_TOGETHER", "0")], [("ROW_WIDTH", "16"), ("ROWS_TOGETHER", "0")],
        [("ROW_WIDTH", "8"), ("ROWS_TOGETHER", "0"), ("ROW_ONE_BLOCK", "0"), ("ROW_WHOLE", "32"), ("ROW_SPAN", "32")],
        [("ROW_WIDTH", "16"), ("ROWS_TOGETHER", "0"), ("ROW_ONE_BLOCK", "0"), ("ROW_WHOLE", "32"), ("ROW_SPAN", "32")],
    ])
    func otherConstantsAreTheReferences(_ constants: [(String, String)]) throws {
        // As for another processor, whose kernels are compiled without optimiser.
        let engine = try DeviceEngine(TestDevice.device(), profile: .cpu, registers: .avx2)
        let methods = try [
            FusedLossTests.refined, FusedLossTests.refined.applyingLSKD(), Self.refined(temperature: 3),
            Method.make(id: "la").method, Method.make(id: "ce").method, Method.make(id: "lr").method,
        ]
        for method in methods {
            for classes in [2, 7, 8, 9, 16, 33, 100] {
                let rows = classes + 1
                var batch = FusedLossTests.Batch(rows, classes)
                batch.labels = (0..<rows).map { Int32($0 % classes) }
                let device = try LossDevice(engine, method, rows: rows, classes: classes, constants: constants)
                let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
                try FusedLossTests.compare(
                    found, method, batch, classes: classes, "\(constants) \(method.effectiveDescription), \(classes) classes")
                #expect(try device.damagedGuards() == 0)
            }
        }
    }

    /// What a GPU gets and a processor with its kernels does not: temperatures as constants, rows of every length that stay whole.
    @Test func constantsOfGPUsAreTheReferences() throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: .gpu)
        let plain = Self.refined(temperature: 2, confidence: 2)
        for (method, standardize) in [(plain, "0u"), (plain.applyingLSKD(), "1u")] {
            let constants = [("LOSS_TEMPERATURE", "2.0f"), ("LOSS_CONFIDENCE", "2.0f"), ("LOSS_STANDARDIZE", standardize)]
            for classes in [2, 129, 1000, 1025, 1500, 2049] {
                let batch = FusedLossTests.Batch(5, classes)
                let device = try LossDevice(engine, method, rows: 5, classes: classes, constants: constants)
                let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
                try FusedLossTests.compare(
                    found, method, batch, classes: classes, "\(method.effectiveDescription), \(classes) classes")
                #expect(try device.damagedGuards() == 0)
            }
        }
    }

    /// Rows that are a multiple of four long, but do not begin at one: a gpu cannot read four classes at once.
    @Test(arguments: [69, 70, 72]) func rowsMayBeginAnywhere(_ guardZone: Int) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: .gpu)
        let methods = try [
            FusedLossTests.refined, FusedLossTests.refined.applyingLSKD(), Method.make(id: "la").method,
            Method.make(id: "ce").method, Method.make(id: "lr").method,
        ]
        for method in methods {
            for classes in [4, 100, 1000, 2052] {
                let batch = FusedLossTests.Batch(5, classes)
                let device = try LossDevice(engine, method, rows: 5, classes: classes, guardZone: guardZone)
                let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
                try FusedLossTests.compare(
                    found, method, batch, classes: classes, "\(method.effectiveDescription), \(classes) classes")
                #expect(try device.damagedGuards() == 0)
            }
        }
    }

    /// A loss that is prepared for one temperature takes another, to the same bits as one that was prepared for it.
    @Test(arguments: TestDevice.profiles) func temperaturesMayChange(_ profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let (rows, classes) = (5, 100)
        let batch = FusedLossTests.Batch(rows, classes)
        let methods = [
            Self.refined(temperature: 4), Self.refined(temperature: 3), Self.refined(temperature: 2),
            Self.refined(temperature: 2, confidence: 2).applyingLSKD(),
        ]
        let changing = try LossDevice(engine, methods[0], rows: rows, classes: classes)
        func run(_ device: LossDevice, _ method: Method) throws -> LossDevice.Outcome {
            try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        }
        for method in methods + methods {
            let found = try run(changing, method)
            #expect(
                try found == run(LossDevice(engine, method, rows: rows, classes: classes), method),
                "\(method.effectiveDescription)")
            try FusedLossTests.compare(found, method, batch, classes: classes, method.effectiveDescription)
        }
        let built = engine.context.counters.programsBuilt
        for method in methods { _ = try run(changing, method) }
        #expect(engine.context.counters.programsBuilt == built)
    }

    /// So steep that every exponential but the largest vanishes.
    @Test(arguments: TestDevice.profiles, [1e-3, 1e-9]) func lowTemperaturesStayFinite(_ profile: KernelProfile, _ t: Double)
        throws
    {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let method = Self.refined(temperature: t, confidence: t)
        let batch = FusedLossTests.Batch(4, 50)
        let device = try LossDevice(engine, method, rows: 4, classes: 50)
        let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        try FusedLossTests.compare(found, method, batch, classes: 50, "temperature \(t)")
    }

    /// The largest that an option takes: float32 has no digit of the value left there, but it must stay a number.
    @Test(arguments: TestDevice.profiles, ["kd", "rld", "dkd"]) func highTemperaturesStayFinite(
        _ profile: KernelProfile, _ id: String
    )
        throws
    {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        var method = try Method.make(id: id).method
        for option in method.options where option.kind == .temperature { try method.set(option, to: 1e9) }
        let batch = FusedLossTests.Batch(4, 50)
        let device = try LossDevice(engine, method, rows: 4, classes: 50)
        let found = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        #expect(found.totals.faultyRows == 0 && found.totals.metrics.totalSum.isFinite)
        #expect(found.gradient.allSatisfy { $0.isFinite })
    }

    /// On a cpu a small batch is added up by the launch that computes it, a large one by another; both add to what is there.
    @Test func smallBatchesTakeOneLaunch() throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: .cpu)
        let method = FusedLossTests.refined
        for (rows, launches) in [(1, 1), (1024, 1), (1025, 2)] where engine.device.isPoCL {
            let batch = FusedLossTests.Batch(rows, 10)
            let device = try LossDevice(engine, method, rows: rows, classes: 10)
            func run(_ times: Int) throws -> LossDevice.Outcome {
                try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels, times: times)
            }
            let before = engine.context.counters.launches
            let once = try run(1)
            #expect(engine.context.counters.launches - before == launches, "\(rows) rows")
            try FusedLossTests.compare(once, method, batch, classes: 10, "\(rows) rows")
            let thrice = try run(3).totals.metrics
            #expect(thrice.rows == 3 * rows && thrice.top1 == 3 * once.totals.metrics.top1)
            expectClose([thrice.totalSum], [3 * once.totals.metrics.totalSum], .relative(1e-12, absolute: 0), "\(rows) rows")
        }
    }
}
