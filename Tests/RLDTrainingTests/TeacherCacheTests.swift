import Foundation
import RLD
import TestSupport
import Testing

struct TeacherCacheTests {
    private let transform = ImageTransform(mean: [0.5], deviation: [0.2], cropPadding: 2)

    private func cache(_ folder: String, _ type: TeacherCacheType, classes: Int = 10) throws -> TeacherCache {
        try TeacherCache(
            folder, teacherHash: "t", dataHash: "d", transform: transform, labels: (0..<20).map { $0 * 3 % 10 }, classes: classes,
            draws: 2, type: type)
    }

    private let logits: [Float] = (0..<40).map { Float(CounterRandom.normal(seed: 3, stream: 1, counter: UInt64($0))) * 4 }

    @Test("float32 keeps every bit, half eleven of them, top-k the largest, the label's and what probability is left")
    func types() throws {
        let folder = TemporaryFolder()
        for type in [TeacherCacheType.float32, .half, .top(3)] {
            let cache = try cache(folder.path, type)
            #expect(try cache.logits([4, 7], draw: 1) == nil)
            let stored = try cache.store(logits, of: [4, 7, 0, 19], draw: 1)
            #expect(stored.count == logits.count)
            // Another process finds them, in any order; another draw is not there.
            let again = try self.cache(folder.path, type)
            #expect(try again.logits([19, 4], draw: 1) == Array(stored[30...]) + Array(stored[..<10]))
            #expect(try again.logits([4], draw: 2) == nil)
            #expect(try again.logits([4, 5], draw: 1) == nil)
            switch type {
            case .float32: #expect(stored == logits)
            case .half: #expect(zip(stored, logits).allSatisfy { abs($0 - $1) <= abs($1) / 2048 })
            case .top:
                for row in 0..<4 {
                    let (a, b) = (
                        logits[row * 10..<row * 10 + 10].map(Double.init), stored[row * 10..<row * 10 + 10].map(Double.init)
                    )
                    func mass(_ values: [Double]) -> Double { values.map { exp($0) }.reduce(0, +) }
                    // A logit of 8 as half is off by up to 1 / 256.
                    #expect(abs(mass(a) / mass(b) - 1) < 5e-3)
                    let order = a.indices.sorted { a[$0] > a[$1] }
                    let label = [4, 7, 0, 19][row] * 3 % 10
                    for i in order[..<3] + [label] { #expect(abs(a[i] - b[i]) <= abs(a[i]) / 2048) }
                    #expect(Set(order[3...].filter { $0 != label }.map { b[$0] }).count == 1)
                }
            }
        }
        #expect(inputErrorText { _ = try cache(folder.path, .top(10)) }.contains("keeps 10 of 10 classes"))
    }

    @Test("a cache is complete when it has every image under every draw", arguments: [TeacherCacheType.float32, .top(3)])
    func complete(type: TeacherCacheType) throws {
        let folder = TemporaryFolder()
        let cache = try cache(folder.path, type)
        #expect(try cache.isComplete([]))
        _ = try cache.store(logits, of: [0, 2, 4, 6], draw: 1)
        #expect(try !cache.isComplete([0, 2, 4, 6]))
        _ = try cache.store(Array(logits[10...]), of: [2, 4, 6], draw: 2)
        #expect(try cache.isComplete([6, 2, 4]))
        #expect(try !cache.isComplete([2, 4, 6, 0]) && !cache.isComplete([5]) && !cache.isComplete([19]))
    }

    @Test("what is damaged counts as missing; what the logits depend on has a folder of its own")
    func keys() throws {
        let folder = TemporaryFolder()
        let first = try cache(folder.path, .float32)
        _ = try first.store(Array(logits[..<10]), of: [3], draw: 1)
        let file = folder.path + "/" + folder.contents[0] + "/draw-0001.logits"
        var bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: file)))
        bytes[bytes.count - 3] ^= 1
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        #expect(try cache(folder.path, .float32).logits([3], draw: 1) == nil)
        #expect(try !cache(folder.path, .float32).isComplete([3]))
        _ = try TeacherCache(
            folder.path, teacherHash: "other", dataHash: "d", transform: transform,
            labels: Array(repeating: 0, count: 20), classes: 10, draws: 2, type: .float32)
        #expect(folder.contents.count == 2)
    }

    @Test("the teacher is asked once per image and augmentation; another seed, method or a later epoch skips it")
    func skips() throws {
        let folder = TemporaryFolder()
        let network = try bandData().network("resnet8")
        let teacher = Trainer.Teacher(network: network, state: network.initialState(seed: 9))
        func run(seed: UInt64, _ method: Method) throws -> FakeExecutor {
            var configuration = bandConfiguration(epochs: 5)
            configuration.seed = seed
            configuration.method = method
            configuration.teacherCache = folder.path
            configuration.teacherCacheDraws = 2
            let executor = FakeExecutor()
            _ = try Trainer(configuration: configuration, executor: executor, dataset: bandData(), teacher: teacher).run()
            return executor
        }
        let first = try run(seed: 1, .knowledgeDistillation(KnowledgeDistillation()))
        // 80 images in 5 batches, two augmentations.
        #expect(first.teacherCalls == 2 * 5)
        #expect(first.trainCalls.allSatisfy { $0.batch.teacherLogits[0]?.count == $0.batch.indices.count * 4 })
        #expect(Set(first.trainCalls.map(\.batch.epoch)) == [1, 2] && !first.teachers.isEmpty)
        let second = try run(seed: 2, .refinedLogitDistillation(RefinedLogitDistillation()))
        #expect(second.teacherCalls == 0 && second.teachers.isEmpty)
        #expect(second.trainCalls[0].batch.indices != first.trainCalls[0].batch.indices)

        var mixed = bandConfiguration()
        mixed.teacherCache = folder.path
        mixed.mixup = 0.2
        #expect(inputErrorText { try mixed.validate() }.contains("mixup"))
    }

    @Test(
        "a step with known logits is the step with the teacher, to the last bit",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func sameBits() throws {
        let network = try bandData().network("resnet8")
        let method = Method.knowledgeDistillation(KnowledgeDistillation())
        func train(known: Bool) throws -> NetworkState {
            let executor = try DeviceExecutor(TestDevice.device())
            try executor.load(bandData().train, as: "train")
            try executor.prepareStudent(network, state: network.initialState(seed: 1))
            try executor.prepareTeacher(network, state: network.initialState(seed: 2))
            for epoch in 1...2 {
                var batch = BatchSelection(
                    table: "train", indices: Array(0..<12), transform: bandData().transform, seed: 4, epoch: epoch)
                if known { batch.teacherLogits[0] = try executor.teacherLogits(batch) }
                try executor.trainStep(batch, method: method, warmup: 1, optimizer: SGD(learningRate: 0.1))
            }
            return try executor.studentState()
        }
        #expect(try train(known: true) == train(known: false))
    }
}
