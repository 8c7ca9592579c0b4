import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// Losses on stored logits through the executors: settings, memory, and MLKD inside a training step.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct StoredLossTests {
    private static func tensors(_ rows: Int, _ classes: Int) -> (student: Tensor, teacher: Tensor, labels: [Int32]) {
        let batch = FusedLossTests.Batch(rows, classes)
        return (
            Tensor(shape: [rows, classes], values: batch.student), Tensor(shape: [rows, classes], values: batch.teacher),
            batch.labels
        )
    }

    /// A device that takes 1,000 logits at once gets 23 rows of 100 in three parts.
    @Test(arguments: ["kd", "rld", "rc"]) func partsAddUpToTheWhole(_ id: String) throws {
        let method = try Method.make(id: id).method
        var (student, teacher, labels) = Self.tensors(23, 100)
        (labels[3], labels[22]) = (-100, -100)
        var settings = LossSettings()
        (settings.warmup, settings.scale) = (0.5, 3)
        settings.rowWeights = (0..<23).map { row -> Double in row / 10 == 1 ? 0 : Double(row % 4) }
        for weights in [nil, settings.rowWeights] {
            settings.rowWeights = weights
            let engine = try DeviceEngine(TestDevice.device(), profile: .cpu, allocationLimit: 4000)
            let found = try DeviceExecutor(engine: engine).loss(
                method, student: student, teacher: teacher, labels: labels, settings: settings)
            let wanted = try ReferenceExecutor().loss(
                method, student: student, teacher: teacher, labels: labels, settings: settings)
            let (foundTerms, wantedTerms) = (found.terms.map(\.value), wanted.terms.map(\.value))
            expectClose([found.total] + foundTerms, [wanted.total] + wantedTerms, .relative(1e-5))
            expectClose(found.gradient, wanted.gradient, .ofMax(5e-6), "gradient")
            #expect(found.rows == 21 && wanted.rows == 21 && found.top1 == wanted.top1 && found.top5 == wanted.top5)
        }
    }

    /// Only their ratios matter, however small or large they are.
    @Test(arguments: TestDevice.profiles, ["rld", "lr", "mlkd"])
    func weightsOfAnySizeWeighAlike(_ profile: KernelProfile, _ id: String) throws {
        let method = try Method.make(id: id).method
        let (student, teacher, labels) = Self.tensors(6, 10)
        let executor = try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile))
        let ratios: [Double] = [1, 2, 0, 3, 1, 2]
        var settings = LossSettings()
        settings.rowWeights = ratios
        let wanted = try ReferenceExecutor().loss(
            method, student: student, teacher: teacher, labels: labels, settings: settings)
        for size in [1e-300, 1e-46, 1e-39, 1, 3e29] {
            settings.rowWeights = ratios.map { $0 * size }
            let found = try executor.loss(method, student: student, teacher: teacher, labels: labels, settings: settings)
            expectClose([found.total], [wanted.total], .relative(1e-5), "\(id), weights of \(size)")
            expectClose(found.gradient, wanted.gradient, .ofMax(1e-5), "\(id), weights of \(size)")
        }
        // Label revision's groups have means of their own, of the smallest weights too.
        settings.rowWeights = [1, 1e-30, 1e-30, 1e-30, 1e-30, 1e-30]
        let found = try executor.loss(method, student: student, teacher: teacher, labels: labels, settings: settings)
        let small = try ReferenceExecutor().loss(
            method, student: student, teacher: teacher, labels: labels, settings: settings)
        expectClose(found.terms.map(\.value), small.terms.map(\.value), .relative(1e-5, absolute: 1e-12), id)
        settings.rowWeights = [1, 1e-31, 1, 1, 1, 1]
        for executor in [executor, ReferenceExecutor()] as [any NetworkExecutor] {
            #expect(throws: InputError.self) {
                try executor.loss(method, student: student, teacher: teacher, labels: labels, settings: settings)
            }
        }
    }

    /// What README promises of the ends of a device's range: rounding grows with the temperature, and huge logits stay finite.
    @Test(arguments: TestDevice.profiles, [1e-3, 0.1, 10, 100, 1e3])
    func temperaturesOfADeviceKeepTheirPromise(_ profile: KernelProfile, _ temperature: Double) throws {
        let executor = try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile))
        for var method in Method.defaults where method.value(of: .temperature) != nil {
            for option in method.options where option.kind == .temperature { try method.set(option, to: temperature) }
            var (student, teacher, labels) = Self.tensors(6, 100)
            let what = "\(profile) \(method.effectiveDescription)"
            let found = try executor.loss(method, student: student, teacher: teacher, labels: labels)
            let wanted = try ReferenceExecutor().loss(method, student: student, teacher: teacher, labels: labels)
            let rounding = max(1e-5, 1e-6 * temperature)
            expectClose(found.terms.map(\.value), wanted.terms.map(\.value), .relative(rounding, absolute: 1e-6), what)
            expectClose(found.gradient, wanted.gradient, .ofMax(max(1e-5, rounding / 10)), what)
            for i in 0..<100 { (student.values[i], teacher.values[i]) = ([1e30, -1e30, 0][i % 3], [-1e30, 1e30, 1][i * 2 % 3]) }
            labels[0] = 1
            let huge = try executor.loss(method, student: student, teacher: teacher, labels: labels)
            #expect(huge.total.isFinite && huge.gradient.values.allSatisfy { $0.isFinite }, "\(what)")
        }
    }

    @Test func whatDoesNotFitIsRefusedWithAdvice() throws {
        let (student, teacher, labels) = Self.tensors(23, 100)
        func message(_ id: String, _ limit: Int) throws -> String {
            let engine = try DeviceEngine(TestDevice.device(), profile: .cpu, allocationLimit: limit)
            let method = try Method.make(id: id).method
            let error = #expect(throws: InputError.self) {
                try DeviceExecutor(engine: engine).loss(method, student: student, teacher: teacher, labels: labels)
            }
            return "\(try #require(error))"
        }
        #expect(try message("lr", 4000).contains("give at most 10 rows"))
        #expect(try message("mlkd", 4000).contains("give at most 5 rows"))
        #expect(try message("rld", 300).contains("compute with the reference"))
    }

    @Test func logitsBeyondFloat32AreNamed() throws {
        var (student, teacher, labels) = Self.tensors(3, 5)
        student.values[7] = 1e39
        let executor = try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: .cpu))
        let error = #expect(throws: InputError.self) {
            try executor.loss(Method.defaults[1], student: student, teacher: teacher, labels: labels)
        }
        #expect("\(try #require(error))".contains("student logits, row 1: class 2 is 1e+39, more than float32 holds"))
        // An ignored row is not looked at.
        labels[1] = -100
        _ = try executor.loss(Method.defaults[1], student: student, teacher: teacher, labels: labels)
    }

    @Test(arguments: TestDevice.profiles) func multiLevelTrainsAsTheReference(_ profile: KernelProfile) throws {
        let method = Method.multiLevelLogitDistillation(MultiLevelLogitDistillation())
        func train(_ executor: any NetworkExecutor) throws -> (NetworkState, StepMetrics) {
            try executor.load(DeviceExecutorTests.table, as: "train")
            let network = try DeviceExecutorTests.network("resnet8")
            try executor.prepareStudent(network, state: network.initialState(seed: 1))
            try executor.prepareTeacher(network, state: network.initialState(seed: 77))
            try executor.prepareSteps(training: [6, 4], evaluation: [], method: method)
            for size in [6, 4] {
                try executor.trainStep(
                    BatchSelection(
                        table: "train", indices: Array(0..<size), transform: DeviceExecutorTests.transform, seed: 1, epoch: 1),
                    method: method, warmup: 1, optimizer: SGD(learningRate: 0.01))
            }
            return (try executor.studentState(), try executor.takeMetrics())
        }
        let (found, metrics) = try train(DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile)))
        let (wanted, expected) = try train(ReferenceExecutor())
        expectClose(metrics.termSums + [metrics.totalSum], expected.termSums + [expected.totalSum], .relative(1e-4))
        for name in ["fc.weight", "conv1.weight"] {
            expectClose(try #require(found[name]), try #require(wanted[name]), .ofMax(1e-4), name)
        }
    }
}
