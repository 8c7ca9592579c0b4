import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// Half storage, audit rows, offsets beyond 32 bits, and the properties of the losses, on the device.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct FusedLossVariantTests {
    private static func value(_ stream: UInt64, _ i: Int) -> Double {
        8 * CounterRandom.uniform(seed: 5, stream: stream, counter: UInt64(i)) - 4
    }

    /// The host's half is what stored logits are rounded to, and what the device's is compared with.
    @Test func halvesRoundToNearest() {
        for bits in UInt16.min...UInt16.max where bits & 0x7C00 != 0x7C00 {
            let value = Float(Float16(bitPattern: bits))
            #expect(Float16(value).bitPattern == bits)
            guard bits & 0x7FFF < 0x7BFF else { continue }
            let middle = (value + Float(Float16(bitPattern: bits + 1))) / 2
            #expect(Float16(middle).bitPattern == (bits & 1 == 0 ? bits : bits + 1))
        }
        #expect(Float16(Float(1e6)).bitPattern == 0x7C00 && Float16(-Float.infinity).bitPattern == 0xFC00)
        #expect(Float16(Float(65519)).bitPattern == 0x7BFF && Float16(Float(65520)).bitPattern == 0x7C00)
        #expect(Float(Float16(bitPattern: 0xFC00)) == -.infinity && Float(Float16(Float.nan)).isNaN)
    }

    /// Every combination of storage for the method whose bounds count; all of it half for the others.
    @Test(arguments: TestDevice.profiles) func halfStorageIsTheReferenceOnRoundedLogits(_ profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let both: [StoredElement] = [.float32, .float16]
        let all = both.flatMap { s in both.flatMap { t in both.map { LossStorage(student: s, teacher: t, gradient: $0) } } }
        let half = LossStorage(student: .float16, teacher: .float16, gradient: .float16)
        let others = Method.ids.filter { !["rld", "mlkd"].contains($0) }
        let cases = all.map { ("rld", $0) } + others.map { ($0, half) }
        for (id, storage) in cases {
            let method = try Method.make(id: id).method
            // Every shape for all half; every program takes its time to build.
            for (rows, classes) in storage == half ? [(3, 7), (5, 100), (2, 1001)] : [(5, 100)] {
                let batch = try StoredBatch(
                    method, rows: rows, classes: classes, storage: storage, engine: engine, value: Self.value)
                let found = try batch.run()
                let wanted = try ReferenceLoss.evaluate(
                    method, student: batch.student.values, teacher: batch.teacher.values, labels: batch.labels, classes: classes)
                let largest = wanted.gradient.map(abs).max() ?? 0
                let share = storage.gradient == .float16 ? 5e-4 : 1e-5
                let floor = storage.gradient == .float16 ? 6e-8 : 0
                let what = "\(profile) \(id) \(rows)x\(classes) \(storage)"
                expectClose(found, wanted.gradient, .relative(share, absolute: 1e-6 * largest + floor), what)
                for (k, terms) in try batch.perRow().enumerated() {
                    expectClose(terms.map(Double.init), wanted.perRow[k], .relative(2e-5, absolute: 1e-6), what)
                }
            }
        }
    }

    @Test(arguments: TestDevice.profiles) func auditRowsAreTheReferences(_ profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        var methods = (profile == .cpu ? Method.ids : ["rld", "lr"]).compactMap { try? Method.make(id: $0).method }
        methods += methods.filter { $0.id == "rld" }.map { $0.applyingLSKD() }
        var settings = LossSettings()
        settings.audit = true
        for method in methods {
            for (rows, classes) in [(6, 5), (5, 33), (3, 100)] {
                var student = Tensor(
                    shape: [rows, classes], values: (0..<rows * classes).map { Double(Float(Self.value(3, $0))) })
                var teacher = Tensor(
                    shape: [rows, classes], values: (0..<rows * classes).map { Double(Float(Self.value(4, $0))) })
                var labels = (0..<rows).map { Int32($0 * 2 % classes) }
                // Ties at the label and at the top, and a row that is ignored.
                teacher.values[classes] = teacher.values[classes + Int(labels[1])]
                student.values[2 * classes] = 9
                student.values[2 * classes + 3] = 9
                labels[rows - 1] = -100
                let found = try DeviceExecutor(engine: engine).loss(
                    method, student: student, teacher: teacher, labels: labels, settings: settings)
                let wanted = try ReferenceExecutor().loss(
                    method, student: student, teacher: teacher, labels: labels, settings: settings)
                #expect(found.audit.count == rows)
                for (a, b) in zip(found.audit, wanted.audit) {
                    #expect(a.error(against: b) <= 1, "\(profile) \(method.effectiveDescription), \(a) against \(b)")
                }
                let plain = try DeviceExecutor(engine: engine).loss(method, student: student, teacher: teacher, labels: labels)
                #expect(plain.gradient == found.gradient && plain.audit.isEmpty)
            }
        }
    }

    /// Properties that hold whatever the reference says, in both profiles: sizes below, at and above a vector and a block.
    @Test(arguments: TestDevice.profiles, [6, 50, 1100]) func propertiesHold(_ profile: KernelProfile, classes: Int) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let rows = 3
        let student = (0..<rows * classes).map { Double(Float(Self.value(7, $0)).rounded(.toNearestOrEven)) / 4 }
        let teacher = (0..<rows * classes).map { Double(Float(Self.value(8, $0))) }
        let labels = (0..<rows).map { Int32(($0 * 7 + 2) % classes) }
        func run(_ method: Method, _ s: [Double], _ t: [Double], _ y: [Int32], rows: Int = 3) throws -> LossDevice.Outcome {
            let device = try LossDevice(engine, method, rows: rows, classes: classes)
            return try device.run(method, student: s, teacher: t, labels: y)
        }
        for id in ["ce", "kd", "dkd", "la", "rld"] {
            let method = try Method.make(id: id).method
            let base = try run(method, student, teacher, labels)
            let gradient = base.gradient.map(Double.init)
            let largest = gradient.map(abs).max() ?? 0
            // A constant added to the student's row (exact in float32 here) changes nothing, to the last bit.
            let shifted = try run(method, student.map { $0 + 64 }, teacher, labels)
            #expect(shifted.gradient == base.gradient && shifted.perRow == base.perRow, "\(profile) \(id) \(classes)")
            // A permutation of the classes permutes the gradient.
            let order = CounterRandom.permutation(of: classes, seed: 3, stream: 1)
            func permuted(_ values: [Double]) -> [Double] {
                (0..<rows).flatMap { row in order.map { values[row * classes + $0] } }
            }
            let moved = labels.map { y in Int32(order.firstIndex(of: Int(y)) ?? 0) }
            let permutedGradient = try run(method, permuted(student), permuted(teacher), moved).gradient.map(Double.init)
            expectClose(permutedGradient, permuted(gradient), .absolute(2e-6 * largest), "\(profile) \(id), permuted")
            // Each row's gradient sums to zero.
            for row in 0..<rows {
                let sum = gradient[(row * classes)..<((row + 1) * classes)].reduce(0, +)
                #expect(abs(sum) < 2e-6 * largest * Double(classes).squareRoot() + 1e-6, "\(profile) \(id): \(sum)")
            }
            // Doubling the batch changes no mean and halves the gradient.
            let twice = try run(method, student + student, teacher + teacher, labels + labels, rows: 6)
            #expect(twice.gradient[..<(rows * classes)].map { 2 * $0 } == base.gradient, "\(profile) \(id), doubled")
            #expect(abs(twice.totals.metrics.loss - base.totals.metrics.loss) < 1e-9 * abs(base.totals.metrics.loss) + 1e-12)
        }
        // Where the teacher is right and temperatures agree RLD is DKD, and masked classes get exactly nothing from MCD.
        let right = (0..<rows).map { row in
            Int32((0..<classes).max { teacher[row * classes + $0] < teacher[row * classes + $1] } ?? 0)
        }
        var refined = RefinedLogitDistillation()
        refined.confidenceTemperature = 4
        let a = try run(.refinedLogitDistillation(refined), student, teacher, right)
        let b = try run(.decoupledKnowledgeDistillation(DecoupledKnowledgeDistillation()), student, teacher, right)
        let scale = b.gradient.map(abs).max() ?? 0
        expectClose(a.gradient.map(Double.init), b.gradient.map(Double.init), .absolute(2e-6 * Double(scale)), "RLD and DKD")
        (refined.crossEntropyWeight, refined.alpha) = (0, 0)
        let masked = try run(.refinedLogitDistillation(refined), student, teacher, labels).gradient
        for row in 0..<rows {
            let bar = teacher[row * classes + Int(labels[row])]
            let outside = (0..<classes).filter { teacher[row * classes + $0] >= bar }
            #expect(outside.allSatisfy { masked[row * classes + $0] == 0 }, "\(profile) \(classes), row \(row)")
        }
    }

    /// A balanced batch under a sure teacher: sums of probabilities per class that differ in the eleventh digit. MLKD's median tells
    /// them apart, or a share of one half would become 1.
    @Test(arguments: TestDevice.profiles, [(2, 20.0), (4, 18.0), (2, 9.0), (2, 300.0)])
    func classesNextToEachOtherAreToldApart(_ profile: KernelProfile, _ shape: (classes: Int, margin: Double)) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let method = try Method.make(id: "mlkd").method
        let (rows, classes) = (64, shape.classes)
        var batch = FusedLossTests.Batch(rows, classes, seed: 11)
        for i in batch.teacher.indices {
            let top = i % classes == i / classes % classes
            batch.teacher[i] = (top ? shape.margin : 0) + Double(i * 7 % 13) / 64
        }
        let device = try LossDevice(engine, method, rows: rows, classes: classes)
        for weights in [nil, (0..<rows).map { Double($0 / classes % 3 + 1) }] {
            let found = try device.run(
                method, student: batch.student, teacher: batch.teacher, labels: batch.labels, weights: weights)
            try FusedLossTests.compare(
                found, method, batch, classes: classes, weights: weights,
                "\(profile) \(shape), \(weights == nil ? "" : "weighted")")
        }
    }

    /// Bytes into a buffer, more than 31 bits.
    private static let far = (1 << 31) + 24

    /// Rows beyond 2^31 bytes into a buffer are the same rows (offsets are 64-bit numbers of elements).
    @Test(.enabled(if: TestDevice.can { $0.maxAllocation > far + 4096 }, "the device allocates no more than 2 GiB at once"))
    func offsetsGoBeyond32Bits() throws {
        let device = try TestDevice.device()
        let far = Self.far
        let engine = try DeviceEngine(device, profile: .cpu)
        let method = try Method.make(id: "ce").method
        let (rows, classes) = (2, 20)
        let storage = LossStorage(student: .float16, teacher: .float16, gradient: .float32)
        let loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: .cpu, storage: storage)
        let logits = (0..<rows * classes).map { Float16(Self.value(9, $0)) }
        // Elements of two bytes: the offset itself is above 2^30, its bytes above 2^31.
        let large = try Buffer(engine.context, bytes: far + 4096, label: "far logits")
        let near = try Buffer(engine.context, bytes: 2 * rows * classes, label: "near logits")
        try engine.queue.write(logits, to: large, at: far / 2)
        try engine.queue.write(logits, to: near)
        let labels = try Buffer(engine.context, bytes: 4 * rows, label: "labels")
        try engine.queue.write([Int32(3), Int32(19)], to: labels)
        func gradient(_ student: DeviceSlice) throws -> [Float] {
            let output = try Buffer(engine.context, bytes: 4 * rows * classes, label: "gradient")
            try loss.enqueue(
                method, student: student, teacher: nil, labels: DeviceSlice(labels), gradient: DeviceSlice(output), into: nil,
                on: engine.queue)
            return try engine.queue.read(Float.self, from: output, count: rows * classes)
        }
        let count = rows * classes
        #expect(
            try gradient(DeviceSlice(large, offset: far / 2, count: count)) == gradient(DeviceSlice(near, count: count)))
    }
}
