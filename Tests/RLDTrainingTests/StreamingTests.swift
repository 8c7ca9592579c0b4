import Foundation
import RLD
import TestSupport
import Testing

/// Images that stay in their files: read ahead, in order, a bounded number at a time, with the same result as if they were held.
struct StreamingTests {
    /// The same images, read one by one; `reading` is told of each.
    private func streamed(_ table: ImageTable, reading: @escaping @Sendable (Int) throws -> Void = { _ in }) -> ImageTable {
        let stream = ImageStream(contentHash: table.contentHash, histograms: []) { index in
            try reading(index)
            return try table.image(index)
        }
        return ImageTable(
            channels: table.channels, height: table.height, width: table.width, stream: stream, labels: table.labels,
            classNames: table.classNames)
    }

    private func streamedBands() -> Dataset {
        var data = bandData()
        (data.train, data.test) = (streamed(data.train), streamed(data.test))
        return data
    }

    // MARK: - Reading ahead

    @Test(
        "batches come in order and whole, whatever the number of threads and however slow single images are",
        arguments: [1, 2, 7])
    func order(threads: Int) throws {
        let table = bandImages(count: 60, seed: 4)
        let slow = streamed(table) { if $0 % 7 == 0 { usleep(2000) } }
        let batches = TrainingOrder.batches(TrainingOrder.indices(Array(0..<60), seed: 9, epoch: 1), size: 8).map(Array.init)
        let loader = BatchLoader(slow, batches: batches, threads: threads)
        for batch in batches { #expect(try loader.next() == batch.flatMap { try table.image($0) }) }
        // Two batches ahead of the one that was taken last.
        #expect(loader.mostImagesHeld <= 24 && loader.mostImagesHeld >= 8)
        #expect(throws: InputError.self) { try loader.next() }
        let resident = BatchLoader(table, batches: batches)
        for batch in batches { #expect(try resident.next() == batch.flatMap { try table.image($0) }) }
    }

    @Test("nothing is read beyond the batches ahead until one is taken, and nothing after the loader is gone")
    func bounded() throws {
        let reads = Counter()
        let table = streamed(bandImages(count: 100, seed: 4)) { _ in reads.add() }
        do {
            let loader = BatchLoader(table, batches: (0..<20).map { Array($0 * 5..<$0 * 5 + 5) }, ahead: 3, threads: 2)
            wait { reads.value == 15 }
            usleep(20_000)
            #expect(reads.value == 15)
            _ = try loader.next()
            wait { reads.value == 20 }
            usleep(20_000)
            #expect(reads.value == 20)
        }
        usleep(20_000)
        #expect(reads.value == 20)
    }

    /// With a lock that ThreadSanitizer knows.
    private final class Counter: @unchecked Sendable {
        private let lock = NSLock()
        private var count = 0
        func add() { lock.withLock { count += 1 } }
        var value: Int { lock.withLock { count } }
    }

    private func wait(_ good: () -> Bool) { for _ in 0..<2000 where !good() { usleep(1000) } }

    @Test("an image that cannot be read ends its batch with its own error, the first in order; batches before it are whole")
    func broken() throws {
        struct Broken: Error, Equatable { var index: Int }
        let table = streamed(bandImages(count: 30, seed: 4)) { index in
            if index == 13 { usleep(5000) }
            if index == 13 || index == 14 { throw Broken(index: index) }
        }
        let loader = BatchLoader(table, batches: (0..<5).map { Array($0 * 6..<$0 * 6 + 6) }, threads: 3)
        for _ in 0..<2 { _ = try loader.next() }
        #expect(throws: Broken(index: 13)) { try loader.next() }

        let temporary = TemporaryFolder()
        var data = bandData()
        let path = temporary.path + "/run"
        let reads = Counter()
        data.train = streamed(data.train) { _ in
            reads.add()
            if reads.value == 150 { throw InputError("cat.jpg", "is gone") }
        }
        #expect(
            inputErrorText {
                _ = try Trainer(
                    configuration: bandConfiguration(), executor: FakeExecutor(), dataset: data, folder: RunFolder(path)
                ).run()
            }.contains("cat.jpg: is gone"))
        // What was saved before is there to go on with.
        data.train = streamed(bandData().train)
        let folder = try RunFolder(path, existing: .resume)
        let resumed = try Trainer(
            configuration: bandConfiguration(), executor: FakeExecutor(), dataset: data, folder: folder,
            resuming: folder.resumption()
        ).run()
        let whole = try Trainer(configuration: bandConfiguration(), executor: FakeExecutor(), dataset: bandData()).run()
        #expect(resumed.lastState == whole.lastState)
    }

    @Test("while the device works on the last batch of an epoch or an evaluation, what comes next is read already")
    func acrossPasses() throws {
        let (training, test) = (Counter(), Counter())
        var data = bandData()
        data.train = streamed(data.train) { _ in training.add() }
        data.test = streamed(data.test) { _ in test.add() }
        let executor = FakeExecutor()
        var found: [String: Bool] = [:]
        // 80 images in 5 batches, 20 to validate in 2, 40 to test in 3; two epochs.
        func expect(_ moment: String, _ counter: Counter, beyond count: Int) {
            wait { counter.value > count }
            found[moment] = counter.value > count
        }
        executor.beforeStep = { step in
            if step == 5 { expect("last step of an epoch", training, beyond: 80) }
            if step == 10 { expect("last step of the run", training, beyond: 180) }
        }
        executor.beforeEvaluation = { batch in
            if batch == 2 { expect("last batch of an evaluation", training, beyond: 100) }
            if batch == 4 { expect("last batch of the last evaluation", test, beyond: 0) }
        }
        _ = try Trainer(configuration: bandConfiguration(epochs: 2), executor: executor, dataset: data).run()
        #expect(found.count == 4 && found.values.allSatisfy { $0 }, "\(found)")
        // Each image once per pass, none for a pass that never comes.
        #expect(training.value == 200 && test.value == (executor.evaluateCalls.count - 4) / 3 * 40)
    }

    // MARK: - Runs

    private func run(
        _ data: Dataset, _ configuration: TrainingConfiguration, _ executor: any NetworkExecutor, path: String? = nil,
        resume: Bool = false, stopAt: Int? = nil
    ) throws -> TrainingResult {
        let folder = try path.map { try RunFolder($0, existing: resume ? .resume : .refuse) }
        var asked = 0
        return try Trainer(
            configuration: configuration, executor: executor, dataset: data, network: network(data), folder: folder,
            resuming: folder?.resumption(),
            shouldStop: {
                asked += 1
                return stopAt.map { asked > $0 } ?? false
            }
        ).run()
    }

    private func network(_ data: Dataset) -> Network {
        Network("tiny", input: data.inputShape) { net, x in
            let y = net.relu(net.batchNorm(net.convolution(x, 3, kernel: 3, stride: 2, name: "conv"), name: "bn"))
            return net.linear(net.globalAveragePool(y), 4, name: "fc")
        }
    }

    /// Crops and flips alone, or scaled crops, colours and mixed images.
    private func recipe(augmented: Bool) -> TrainingConfiguration {
        var configuration = bandConfiguration(epochs: 2)
        configuration.model = "tiny"
        configuration.optimizer.learningRate = 0.1
        if augmented { (configuration.resizedCrop, configuration.brightness, configuration.cutmix) = (0.3, 0.4, 0.5) }
        return configuration
    }

    @Test(
        "a streamed run is the resident run to the last bit, from files and from memory",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"), arguments: TestDevice.profiles,
        [false, true])
    func sameOnDevice(profile: KernelProfile, augmented: Bool) throws {
        func executor() throws -> DeviceExecutor { try DeviceExecutor(TestDevice.device(), profile: profile) }
        let resident = try run(bandData(), recipe(augmented: augmented), executor())
        let streamed = try run(streamedBands(), recipe(augmented: augmented), executor())
        var forced = recipe(augmented: augmented)
        forced.streaming = .on
        let staged = try run(bandData(), forced, executor())
        for other in [streamed, staged] {
            #expect(other.lastState == resident.lastState && other.bestTest == resident.bestTest)
            #expect(other.epochs.map(\.trainLoss) == resident.epochs.map(\.trainLoss))
            #expect(other.epochs.map(\.validationLoss) == resident.epochs.map(\.validationLoss))
        }
    }

    @Test(
        "an executor does not take images by the batch for granted",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func missingPixels() throws {
        let data = bandData()
        for executor in [try DeviceExecutor(TestDevice.device()), ReferenceExecutor()] as [any NetworkExecutor] {
            try executor.load(data.train, as: "train", staged: true)
            try executor.prepareStudent(network(data), state: network(data).initialState(seed: 1))
            var batch = BatchSelection(table: "train", indices: [1, 2], transform: data.transform)
            #expect(inputErrorText { try executor.evaluateStep(batch) }.contains("brings 0 bytes of pixels, needed are 128"))
            batch.pixels = try data.train.image(1)
            #expect(inputErrorText { try executor.evaluateStep(batch) }.contains("brings 64 bytes"))
        }
    }

    @Test("a run that began with images in memory goes on with streamed ones, and the other way round")
    func resumes() throws {
        let temporary = TemporaryFolder()
        let whole = try run(bandData(), recipe(augmented: true), ReferenceExecutor())
        for moment in [3, 7] {
            let path = "\(temporary.path)/\(moment)"
            let (first, second) = moment == 3 ? (bandData(), streamedBands()) : (streamedBands(), bandData())
            #expect(try run(first, recipe(augmented: true), ReferenceExecutor(), path: path, stopAt: moment).interrupted)
            let resumed = try run(second, recipe(augmented: true), ReferenceExecutor(), path: path, resume: true)
            #expect(resumed.lastState == whole.lastState && resumed.bestTest == whole.bestTest)
        }
    }

    @Test("tables that a device does not hold are streamed without being asked; off holds them")
    func automatic() throws {
        let executor = FakeExecutor()
        executor.residentImageBytes = bandData().train.bytes - 1
        var configuration = recipe(augmented: false)
        configuration.model = "resnet8"
        var notes: [String] = []
        _ = try Trainer(
            configuration: configuration, executor: executor, dataset: bandData(),
            observer: { if case .begins(let lines) = $0 { notes += lines } }
        ).run()
        #expect(executor.stagedTables == ["train"])
        #expect(notes.contains { $0.hasPrefix("streaming  0 MiB of images stay in memory") }, "\(notes)")
        configuration.streaming = .off
        let other = FakeExecutor()
        other.residentImageBytes = 1
        _ = try Trainer(configuration: configuration, executor: other, dataset: bandData()).run()
        #expect(other.stagedTables.isEmpty)
        var reader = ConfigurationReader()
        try reader.read(yaml: "streaming: on", source: "run.yaml")
        configuration = try reader.finish().configuration
        #expect(configuration.streaming == .on && configuration.yaml.contains("streaming: \"on\""))
    }
}
