import Foundation
import RLD
import TestSupport
import Testing

struct DeviceTrainingTests {
    private func configuration(seed: UInt64 = 1) -> TrainingConfiguration {
        var configuration = TrainingConfiguration()
        configuration.epochs = 2
        // 80 images: the last batch of an epoch has 20.
        configuration.batchSize = 30
        configuration.validation = 20
        configuration.seed = seed
        configuration.schedule = Schedule(kind: .cosine)
        return configuration
    }

    private func train(
        _ configuration: TrainingConfiguration, _ executor: any NetworkExecutor, teacher: Trainer.Teacher? = nil
    ) throws -> TrainingResult {
        try Trainer(configuration: configuration, executor: executor, dataset: bandData(), teacher: teacher).run()
    }

    private var rld: Method {
        var method = RefinedLogitDistillation()
        method.warmupEpochs = 1
        return .refinedLogitDistillation(method)
    }

    @Test(
        "the same seed twice gives bit-identical weights, on a fresh executor and on a used one; another seed does not",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func repeats() throws {
        let used = try DeviceExecutor(TestDevice.device())
        let first = try train(configuration(), used)
        let again = try train(configuration(), used)
        let fresh = try train(configuration(), DeviceExecutor(TestDevice.device()))
        let other = try train(configuration(seed: 2), used)
        #expect(first.lastState == again.lastState)
        #expect(first.lastState == fresh.lastState)
        #expect(first.lastState != other.lastState)
        #expect(first.lastState.allFinite)

        var distill = configuration()
        distill.method = rld
        let teacher = Trainer.Teacher(network: first.network, state: first.bestState)
        let distilled = try train(distill, used, teacher: teacher)
        #expect(try distilled.lastState == train(distill, DeviceExecutor(TestDevice.device()), teacher: teacher).lastState)
        #expect(distilled.lastState != first.lastState)
    }

    @Test("a run computes in the precision that its configuration names, or not at all")
    func precision() throws {
        var recipe = configuration()
        (recipe.epochs, recipe.precision) = (1, .tf32)
        let text = inputErrorText { _ = try train(recipe, ReferenceExecutor()) }
        #expect(text.contains("precision: is tf32, the executor computes in float32"), "\(text)")
        let text2 = inputErrorText { _ = try train(configuration(), ReferenceExecutor(precision: .tf32)) }
        #expect(text2.contains("precision: is float32"), "\(text2)")
        #expect(recipe.effectiveDescription.contains("precision  tf32"))
        var distill = configuration()
        (distill.method, distill.teacherStorage) = (rld, .half)
        let text3 = inputErrorText { _ = try train(distill, ReferenceExecutor()) }
        #expect(text3.contains("teacher.storage: is half, the executor stores in float32"), "\(text3)")
        #expect(distill.effectiveDescription.contains("storage    of the teacher's activations: half"))
        #expect(
            inputErrorText { _ = try makeExecutor(device: "reference", teacherStorage: .half) }.contains("has Double only"))
        let reduced = try train(recipe, makeExecutor(device: "reference", precision: .tf32))
        recipe.precision = .float32
        let full = try train(recipe, makeExecutor(device: "reference"))
        #expect(reduced.lastState.allFinite && reduced.lastState != full.lastState)
    }

    @Test(
        "a device trains as the reference does", .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"),
        arguments: TestDevice.profiles)
    func likeReference(profile: KernelProfile) throws {
        let network = try bandData().network("resnet8")
        let teacher = Trainer.Teacher(network: network, state: network.initialState(seed: 9))
        var recipe = configuration()
        recipe.epochs = 1
        recipe.optimizer.learningRate = 0.01
        recipe.method = rld
        let expected = try train(recipe, ReferenceExecutor(), teacher: teacher)
        let found = try train(recipe, DeviceExecutor(TestDevice.device(), profile: profile), teacher: teacher)
        // Three steps: float32 and Double part slowly.
        #expect(expected.epochs.count == 1 && found.epochs.count == 1)
        for (a, b) in zip(expected.epochs, found.epochs) {
            #expect(abs(a.trainLoss - b.trainLoss) < 1e-3 * abs(a.trainLoss), "\(a.trainLoss) \(b.trainLoss)")
            #expect(abs((a.validationLoss ?? 0) - (b.validationLoss ?? 1)) < 1e-2)
        }
    }

    @Test("a learning rate that explodes stops the run on the reference")
    func explodesOnReference() throws {
        try explode(ReferenceExecutor())
    }

    @Test(
        "a learning rate that explodes stops the run on a device",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func explodesOnDevice() throws {
        try explode(DeviceExecutor(TestDevice.device()))
    }

    private func explode(_ executor: any NetworkExecutor) throws {
        var recipe = configuration()
        recipe.optimizer.learningRate = 1e30
        do {
            _ = try train(recipe, executor)
            Issue.record("the run went on")
        } catch let error as TrainingError {
            #expect(error.description.contains("epoch 1"))
        }
    }
}

extension DeviceTrainingTests {
    @Test(
        "1,000 trainings that come and go leave no OpenCL object behind",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func cycles() throws {
        let network = Network("small", input: [1, 8, 8]) { net, x in net.linear(net.globalAveragePool(x), 4, name: "fc") }
        let table = bandImages(count: 8, seed: 3)
        let transform = ImageTransform(mean: [0.5], deviation: [0.25])
        func cycle(_ engine: DeviceEngine) throws {
            let executor = try DeviceExecutor(engine: engine)
            try executor.load(table, as: "t")
            try executor.prepareStudent(network, state: network.initialState(seed: 1))
            try executor.trainStep(
                BatchSelection(table: "t", indices: [0, 1, 2, 3], transform: transform), method: .crossEntropy(CrossEntropy()),
                warmup: 1, optimizer: SGD(learningRate: 0.1))
            #expect(try executor.takeMetrics().rows == 4)
        }
        let device = try TestDevice.device()
        // Programs stay with the driver's context, which tests keep.
        try cycle(DeviceEngine(device))
        let before = LiveObjects.now
        do {
            let engine = try DeviceEngine(device)
            try cycle(engine)
            let first = LiveObjects.now
            for _ in 0..<990 { try cycle(engine) }
            #expect(LiveObjects.now == first)
        }
        // With their contexts.
        for _ in 0..<9 { try cycle(DeviceEngine(device)) }
        #expect(LiveObjects.now == before)
    }
}
