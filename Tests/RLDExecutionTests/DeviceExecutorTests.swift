import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import TestSupport
import Testing

/// Whole training steps: repeatability, what a step costs in steady state, and small memories.
@Suite("Device executor", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct DeviceExecutorTests {
    static let table = ImageTable(
        channels: 1, height: 12, width: 12,
        pixels: (0..<50 * 144).map { UInt8(CounterRandom.integer(below: 256, seed: 1, stream: 40, counter: UInt64($0))) },
        labels: (0..<50).map { Int32($0 % 10) }, classNames: (0..<10).map(String.init))
    static let transform = ImageTransform(mean: [0.3], deviation: [0.3], cropPadding: 2, horizontalFlip: true)

    static func network(_ id: String) throws -> Network { try ModelCatalog.network(id, classes: 10, input: [1, 12, 12]) }

    /// Trains resnet8 from a resnet14 for a few steps, a partial batch among them.
    static func prepare(
        _ engine: DeviceEngine, seed: UInt64, overlap: Bool? = nil, staged: Bool = false
    ) throws -> DeviceExecutor {
        let executor = try DeviceExecutor(engine: engine, overlap: overlap)
        try executor.load(table, as: "train", staged: staged)
        let (student, teacher) = (try network("resnet8"), try network("resnet14"))
        try executor.prepareStudent(student, state: student.initialState(seed: seed))
        try executor.prepareTeacher(teacher, state: teacher.initialState(seed: 77))
        return executor
    }

    static func step(
        _ executor: DeviceExecutor, _ index: Int, seed: UInt64 = 1, size: Int = 8,
        method: Method = .refinedLogitDistillation(RefinedLogitDistillation())
    ) throws {
        try executor.trainStep(
            BatchSelection(
                table: "train", indices: (0..<size).map { ($0 * 3 + index) % 50 }, transform: transform, seed: seed, epoch: 1),
            method: method, warmup: 1,
            optimizer: SGD(learningRate: 0.05, weightDecay: 5e-4))
    }

    @Test(arguments: TestDevice.profiles) func sameSeedSameBits(profile: KernelProfile) throws {
        func train(seed: UInt64) throws -> (NetworkState, StepMetrics) {
            let executor = try Self.prepare(DeviceEngine(TestDevice.device(), profile: profile), seed: seed)
            for index in 0..<4 { try Self.step(executor, index, seed: seed, size: index == 3 ? 5 : 8) }
            return (try executor.studentState(), try executor.takeMetrics())
        }
        let first = try train(seed: 1)
        let again = try train(seed: 1)
        let other = try train(seed: 2)
        #expect(first.0 == again.0, "the same seed gives the same weights, bit for bit")
        #expect(first.1 == again.1)
        #expect(first.0 != other.0)
        #expect(first.1.rows == 29)
    }

    /// Plans of teacher and student, of training and evaluation, of all batch sizes lie in the same memory, as much as the largest
    /// needs, and what runs between two steps does not change them.
    @Test(arguments: TestDevice.profiles) func plansShareMemory(profile: KernelProfile) throws {
        let rld = Method.refinedLogitDistillation(RefinedLogitDistillation())
        func train(disturbed: Bool) throws -> (NetworkState, bytes: Int) {
            let engine = try DeviceEngine(TestDevice.device(), profile: profile)
            let executor = try Self.prepare(engine, seed: 1)
            let weights = engine.context.counters.allocatedBytes
            try executor.prepareSteps(
                training: disturbed ? [8, 5, 3] : [8], evaluation: disturbed ? [8, 7] : [], method: rld)
            let bytes = engine.context.counters.allocatedBytes - weights
            for index in 0..<3 {
                try Self.step(executor, index)
                if disturbed {
                    let selection = BatchSelection(table: "train", indices: Array(20..<27), transform: Self.transform)
                    _ = try executor.takeMetrics()
                    try executor.evaluateStep(selection)
                    _ = try executor.teacherLogits(selection)
                    _ = try executor.takeMetrics()
                }
            }
            return (try executor.studentState(), bytes)
        }
        let (alone, one) = try train(disturbed: false)
        let (disturbed, all) = try train(disturbed: true)
        #expect(alone == disturbed)
        // Batches, logits and losses of the other sizes are small; their activations would be as much again.
        #expect(all < one + one / 2, "\(one) bytes for one plan, \(all) for all")
    }

    /// A queue of the teachers' own changes no bit, whatever else runs in between, and costs no waiting and no memory after the first
    /// steps.
    @Test(arguments: TestDevice.profiles, [false, true]) func teachersBesideTheStudentChangeNothing(
        profile: KernelProfile, staged: Bool
    ) throws {
        let objective = Objective(components: [
            .init(name: "main", .refinedLogitDistillation(RefinedLogitDistillation())),
            .init(name: "soft", .knowledgeDistillation(KnowledgeDistillation()), weight: 0.5, teacher: 1),
        ])
        func train(overlap: Bool) throws -> (NetworkState, [StepMetrics], [Float]) {
            let engine = try DeviceEngine(TestDevice.device(), profile: profile)
            let executor = try Self.prepare(engine, seed: 1, overlap: overlap, staged: staged)
            let second = try Self.network("resnet8")
            try executor.prepareTeacher(second, state: second.initialState(seed: 78), at: 1)
            let rule = UpdateRule(.sgd(SGD(learningRate: 0.05)))
            try executor.prepareUpdates(rule)
            try executor.prepareSteps(training: [8, 5], evaluation: [7], objective: objective)
            func selection(_ indices: [Int]) throws -> BatchSelection {
                var selection = BatchSelection(table: "train", indices: indices, transform: Self.transform, seed: 1, epoch: 1)
                if staged { selection.pixels = try indices.flatMap { try Self.table.image($0) } }
                return selection
            }
            var (metrics, logits): ([StepMetrics], [Float]) = ([], [])
            let counters = engine.context.counters
            func counts() -> [Int] { [counters.allocations, counters.programsBuilt, counters.kernelsCreated] }
            var before: [Int] = []
            for index in 0..<12 {
                var step = try selection((0..<(index % 5 == 4 ? 5 : 8)).map { ($0 * 3 + index) % 50 })
                // Of one teacher, or of both, the logits are known.
                if index % 4 == 2 { step.teacherLogits[0] = (0..<step.indices.count * 10).map { Float($0 * 7 % 13) / 3 } }
                if index == 6 { step.teacherLogits[1] = (0..<step.indices.count * 10).map { Float($0 * 5 % 11) / 3 } }
                try executor.trainStep(step, objective: objective, update: ParameterUpdate(rule, number: index + 1))
                if index == 1 { before = counts() }
                // Between steps that nothing waits for: the loss of the step before may not have read its logits yet.
                if index == 3 || index == 10 { logits += try executor.teacherLogits(selection(Array(20..<28)), of: 0) }
                if index == 7 || index == 9 {
                    logits += try executor.teacherLogits(selection(Array(20..<28)), of: index == 7 ? 0 : 1)
                    metrics.append(try executor.takeMetrics())
                    try executor.evaluateStep(selection(Array(20..<27)))
                    metrics.append(try executor.takeMetrics())
                }
            }
            #expect(counts() == before)
            metrics.append(try executor.takeMetrics())
            return (try executor.studentState(), metrics, logits)
        }
        let (alone, together) = (try train(overlap: false), try train(overlap: true))
        #expect(alone.0 == together.0)
        #expect(alone.1 == together.1)
        #expect(alone.2 == together.2 && alone.2.contains { $0 != 0 })
    }

    @Test func tooLittleMemoryForBothSidesSaysHowTheyShareIt() throws {
        let method = Method.refinedLogitDistillation(RefinedLogitDistillation())
        func prepare(overlap: Bool, limit: Int?) throws -> DeviceEngine {
            let engine = try DeviceEngine(TestDevice.device(), memoryLimit: limit)
            try Self.prepare(engine, seed: 1, overlap: overlap).prepareSteps(training: [50], evaluation: [], method: method)
            return engine
        }
        let shared = try prepare(overlap: false, limit: nil).context.counters.peakBytes
        let apart = try prepare(overlap: true, limit: nil).context.counters.peakBytes
        #expect(apart > shared + (1 << 20))
        let limit = (shared + apart) / 2
        _ = try prepare(overlap: false, limit: limit)
        let error = #expect(throws: InputError.self) { try prepare(overlap: true, limit: limit) }
        #expect("\(try #require(error))".contains("RLD_OVERLAP=0"))
    }

    /// The random crop and flip alone make a difference: same weights, another seed of the transform.
    @Test func theTransformDependsOnItsSeed() throws {
        func train(seed: UInt64) throws -> NetworkState {
            let executor = try Self.prepare(DeviceEngine(TestDevice.device()), seed: 1)
            try Self.step(executor, 0, seed: seed)
            return try executor.studentState()
        }
        #expect(try train(seed: 1) != train(seed: 2))
    }

    @Test(arguments: TestDevice.profiles, [("rld", false), ("rld", true), ("mlkd", false)])
    func aSteadyStepAllocatesBuildsAndWaitsForNothing(profile: KernelProfile, run: (id: String, overlap: Bool)) throws {
        let id = run.id
        let method = try Method.make(id: id).method
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let executor = try Self.prepare(engine, seed: 1, overlap: run.overlap)
        for index in 0..<2 { try Self.step(executor, index, method: method) }
        _ = try executor.takeMetrics()
        let counters = engine.context.counters
        let before = (counters.allocations, counters.programsBuilt, counters.hostSynchronisations, counters.launches)
        let kernels = counters.kernelsCreated
        for index in 2..<6 { try Self.step(executor, index, method: method) }
        #expect(counters.allocations == before.0)
        #expect(counters.programsBuilt == before.1)
        #expect(counters.hostSynchronisations == before.2)
        #expect(counters.kernelsCreated == kernels)
        let launches = (counters.launches - before.3) / 4
        #expect(launches < (id == "mlkd" ? 330 : 260), "\(launches) launches per step")
        #expect(counters.programsBuilt <= 40)
        #expect(try executor.takeMetrics().rows == 32)
    }

    /// The same with everything that a recipe can ask for: scaled crops, colours, pasted boxes, soft labels, known teacher logits,
    /// AdamW over several batches with a clipped gradient and a moving average, two terms. What is prepared allocates in no step.
    @Test func aSteadyStepOfAFullRecipeAllocatesBuildsAndWaitsForNothing() throws {
        let engine = try DeviceEngine(TestDevice.device())
        let executor = try Self.prepare(engine, seed: 1)
        let rule = UpdateRule(
            .adamW(AdamW(learningRate: 0.01)), clipNorm: 1, averageDecay: 0.9, accumulation: 2)
        try executor.prepareUpdates(rule)
        let objective = Objective(components: [
            .init(name: "main", .refinedLogitDistillation(RefinedLogitDistillation())),
            .init(name: "soft", .knowledgeDistillation(KnowledgeDistillation()), weight: 0.5),
        ])
        try executor.prepareSteps(training: [8], evaluation: [], objective: objective)
        let allocations = engine.context.counters.allocations
        var transform = ImageTransform(mean: [0.3], deviation: [0.3], horizontalFlip: true, size: 12, resizedCrop: 0.4)
        (transform.brightness, transform.contrast) = (0.2, 0.2)
        func step(_ index: Int) throws {
            var selection = BatchSelection(
                table: "train", indices: (0..<8).map { ($0 * 3 + index) % 50 }, transform: transform, seed: 1, epoch: 1)
            selection.labelSmoothing = 0.1
            selection.mixing = BatchMixing(share: 0.75, box: [1, 2, 6, 6])
            selection.teacherLogits[0] = (0..<80).map { Float($0 * 7 % 13) / 3 }
            try executor.trainStep(
                selection, objective: objective,
                update: ParameterUpdate(rule, number: index / 2 + 1, share: 0.5, begins: index % 2 == 0, ends: index % 2 == 1))
        }
        for index in 0..<2 { try step(index) }
        let counters = engine.context.counters
        #expect(counters.allocations == allocations)
        func counts() -> [Int] {
            [counters.allocations, counters.programsBuilt, counters.kernelsCreated, counters.hostSynchronisations]
        }
        let before = counts()
        for index in 2..<6 { try step(index) }
        #expect(counts() == before)
        #expect(counters.isSteadyState, "a later build is an error under RLD_ASSERT_COMPILE")
        #expect(try executor.takeMetrics().rows == 48)
    }

    /// A device that allocates at most 1 MiB at once: values spread over several buffers, patches come in chunks.
    @Test(arguments: TestDevice.profiles) func smallAllocationsGiveTheSameResult(profile: KernelProfile) throws {
        func train(limit: Int?) throws -> NetworkState {
            let executor = try Self.prepare(
                DeviceEngine(TestDevice.device(), profile: profile, allocationLimit: limit), seed: 1)
            for index in 0..<2 { try Self.step(executor, index, size: 32) }
            return try executor.studentState()
        }
        let whole = try train(limit: nil)
        let split = try train(limit: 1 << 20)
        for name in whole.names {
            let (a, b) = (try #require(split[name]), try #require(whole[name]))
            // Sums are grouped otherwise, nothing else differs.
            expectClose(a, b, .ofMax(2e-5), name)
        }
    }

    @Test func tooLittleMemoryNamesTheBatchThatFits() throws {
        let weights = try Self.prepare(DeviceEngine(TestDevice.device()), seed: 1).engine.context.counters.peakBytes
        let engine = try DeviceEngine(TestDevice.device(), memoryLimit: weights + (5 << 19))
        let executor = try Self.prepare(engine, seed: 1)
        let error = #expect(throws: InputError.self) { try Self.step(executor, 0, size: 50) }
        let message = "\(try #require(error))"
        #expect(message.contains("batch 50") && message.contains("MiB") && message.contains("would fit"), "\(message)")
        try Self.step(executor, 0, size: 4)
        // Where others took what was left and more, a plan that needs nothing further still runs.
        let others = try engine.makeBuffer(1 << 20, label: "others")
        #expect(engine.context.counters.allocatedBytes > engine.memoryLimit)
        try withExtendedLifetime(others) { try Self.step(executor, 0, size: 3) }
    }

    /// CLBlast would take the offset's low 32 bits.
    @Test func productsBeyondWhatTheLibraryCountsAreRefused() throws {
        let engine = try DeviceEngine(TestDevice.device())
        let buffer = try engine.makeBuffer(64, label: "x")
        let near = DeviceSlice(buffer)
        for far in [1 << 31, (1 << 32) + 64, Int(Int32.max) - 10] {
            let product = MatrixProduct(
                m: 4, n: 4, k: 4, a: DeviceSlice(buffer, offset: far, count: 16), b: near, c: near)
            let error = #expect(throws: DeviceError.self) { try engine.products.reserve(product) }
            #expect(error?.code == .unsupported && error?.message.contains("A ends at element \(far + 16)") == true)
        }
        _ = try engine.products.reserve(MatrixProduct(m: 4, n: 4, k: 4, a: near, b: near, c: near))
    }

    /// One value per channel says nothing of a variance (PyTorch refuses to train on it): the running one stays.
    @Test(arguments: TestDevice.profiles) func aSingleValueLeavesTheRunningVarianceAlone(profile: KernelProfile) throws {
        let table = ImageTable(
            channels: 1, height: 1, width: 1, pixels: [10, 200, 30], labels: [0, 1, 0],
            classNames: ["a", "b"])
        let network = Network("point", input: [1, 1, 1]) { net, x in
            let y = net.batchNorm(net.convolution(x, 5, kernel: 1, name: "c"), name: "bn")
            return net.linear(net.globalAveragePool(net.relu(y)), 2, name: "fc")
        }
        for executor in [
            try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile)), ReferenceExecutor(),
        ] as [any NetworkExecutor] {
            try executor.load(table, as: "t")
            try executor.prepareStudent(network, state: network.initialState(seed: 1))
            func step(_ indices: [Int]) throws -> ([Double], [Double]) {
                try executor.trainStep(
                    BatchSelection(table: "t", indices: indices, transform: ImageTransform(mean: [0.5], deviation: [0.2])),
                    method: .crossEntropy(CrossEntropy()), warmup: 1, optimizer: SGD(learningRate: 0.1))
                let state = try executor.studentState()
                return (try #require(state["bn.running_var"]?.values), try #require(state["bn.running_mean"]?.values))
            }
            let (one, mean) = try step([1])
            #expect(one == Array(repeating: 1, count: 5) && mean.contains { $0 != 0 })
            #expect(try step([0, 1]).0 != one)
        }
    }

    @Test func badBatchesAreRefused() throws {
        let executor = try Self.prepare(DeviceEngine(TestDevice.device()), seed: 1)
        func train(_ indices: [Int], table: String = "train", transform: ImageTransform = Self.transform) throws {
            try executor.trainStep(
                BatchSelection(table: table, indices: indices, transform: transform), method: .crossEntropy(CrossEntropy()),
                warmup: 1, optimizer: SGD(learningRate: 0.1))
        }
        #expect(throws: InputError.self) { try train([0, 50]) }
        #expect(throws: InputError.self) { try train([]) }
        #expect(throws: InputError.self) { try train([0], table: "trian") }
        #expect(throws: InputError.self) { try train([0], transform: ImageTransform(mean: [0, 0], deviation: [1, 1])) }
    }
}
