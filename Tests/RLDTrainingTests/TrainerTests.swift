import Foundation
import RLD
import TestSupport
import Testing

struct TrainerTests {
    @Test("a run learns, trains on every image of every epoch and on the last, smaller batch")
    func learns() throws {
        let executor = FakeExecutor()
        let configuration = bandConfiguration(epochs: 4)
        let result = try Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
        #expect(executor.trainCalls.count == 4 * 5)
        for epoch in 1...4 {
            let calls = executor.trainCalls.filter { $0.batch.epoch == epoch }
            #expect(calls.map(\.batch.indices.count) == [16, 16, 16, 16, 16])
            let rows = calls.flatMap(\.batch.indices)
            #expect(Set(rows).count == 80)
        }
        #expect(result.epochs.count == 4)
        #expect((result.epochs.last?.trainLoss ?? 9) < (result.epochs.first?.trainLoss ?? 0))
        #expect((result.lastTest?.accuracy ?? 0) > 0.6)
        #expect(result.lastTest?.images == 40)
        #expect(result.imagesPerSecond > 0)
        #expect(!result.interrupted)
    }

    @Test("the last partial batch is trained on, neither padded nor dropped")
    func partialBatch() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 2)
        configuration.batchSize = 32
        try _ = Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
        #expect(executor.trainCalls.map(\.batch.indices.count) == [32, 32, 16, 32, 32, 16])
        // Validation: 20 rows in one batch, after each epoch; test: 40 rows, once or twice.
        #expect(executor.evaluateCalls.prefix(2).map(\.indices.count) == [20, 20])
        #expect(executor.evaluateCalls.dropFirst(2).prefix(2).map(\.indices.count) == [32, 8])
        #expect(executor.evaluateCalls.allSatisfy { $0.transform == bandData().transform.evaluation })
    }

    @Test("the same seed repeats the run, another does not")
    func deterministic() throws {
        func run(seed: UInt64) throws -> (NetworkState, [[Int]]) {
            let executor = FakeExecutor()
            var configuration = bandConfiguration()
            configuration.seed = seed
            let result = try Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
            return (result.lastState, executor.trainCalls.map(\.batch.indices))
        }
        let (first, again, other) = (try run(seed: 1), try run(seed: 1), try run(seed: 2))
        #expect(first == again)
        #expect(first.0 != other.0)
        #expect(first.1 != other.1)
    }

    @Test("learning rate and warm-up of the distillation terms follow the epochs, counted from 1")
    func schedules() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 4)
        configuration.schedule = Schedule(kind: .multistep, milestones: [2], factor: 0.1)
        var method = RefinedLogitDistillation()
        method.warmupEpochs = 2
        configuration.method = .refinedLogitDistillation(method)
        let data = bandData()
        let network = try data.network("resnet14")
        let teacher = Trainer.Teacher(network: network, state: network.initialState(seed: 5))
        try _ = Trainer(configuration: configuration, executor: executor, dataset: data, teacher: teacher).run()
        #expect(executor.teachers[0]?.id == "resnet14")
        let firsts = [0, 5, 10, 15].map { executor.trainCalls[$0] }
        #expect(firsts.map(\.warmup) == [0.5, 1, 1, 1])
        #expect(zip(firsts.map(\.optimizer.learningRate), [0.5, 0.5, 0.05, 0.05]).allSatisfy { abs($0 - $1) < 1e-12 })
        #expect(firsts.allSatisfy { $0.method == configuration.method })
    }

    @Test("metrics are read every log_every steps and at the end of an epoch, not more often")
    func logging() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 1)
        configuration.logEvery = 2
        var steps: [Int] = []
        var kinds: [String] = []
        try _ = Trainer(
            configuration: configuration, executor: executor, dataset: bandData(),
            observer: { event in
                switch event {
                case .begins: kinds.append("begins")
                case .steps(let record):
                    kinds.append("steps")
                    steps.append(record.step)
                case .epoch: kinds.append("epoch")
                case .test(let record): kinds.append(record.weights)
                case .note: kinds.append("note")
                }
            }
        ).run()
        #expect(steps == [2, 4, 5])
        // Three readings of training steps, one of the validation part, one of the test set (last and best are the same epoch).
        #expect(executor.metricsTaken == 5)
        #expect(kinds == ["begins", "steps", "steps", "steps", "epoch", "last", "best"])
    }

    @Test("best is the epoch with the highest validation accuracy, and the test set sees its weights")
    func best() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 6)
        // From the third epoch on the rate is so large that accuracy falls.
        configuration.schedule = Schedule(kind: .multistep, milestones: [3], factor: 3000)
        let result = try Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
        let accuracies = result.epochs.compactMap(\.validationAccuracy)
        let highest = accuracies.max() ?? 0
        #expect(result.bestEpoch == (accuracies.firstIndex(of: highest) ?? -1) + 1)
        #expect(result.bestEpoch < 6)
        #expect(result.bestState != result.lastState)
        #expect(result.lastTest?.epoch == 6)
        #expect(result.bestTest?.epoch == result.bestEpoch)
        #expect(executor.studentsPrepared == 2)
        #expect(try executor.studentState() == result.bestState)
        #expect(result.epochs.filter(\.best).last?.epoch == result.bestEpoch)
    }

    @Test("without test images the executor is left holding the best weights too")
    func bestWithoutTest() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 6)
        configuration.schedule = Schedule(kind: .multistep, milestones: [3], factor: 3000)
        let result = try Trainer(configuration: configuration, executor: executor, dataset: bandData(test: 0)).run()
        #expect(result.bestTest == nil && result.bestState != result.lastState)
        #expect(try executor.studentState() == result.bestState)
    }

    @Test("an estimate is of the run: its network, its evaluations, and what it refuses")
    func estimate() throws {
        func estimate(
            _ network: Network? = nil, data: Dataset = bandData(), _ change: (inout TrainingConfiguration) -> Void = { _ in }
        ) throws -> (executor: FakeExecutor, found: TrainingEstimate) {
            var configuration = bandConfiguration(epochs: 5)
            change(&configuration)
            let executor = FakeExecutor()
            let trainer = Trainer(configuration: configuration, executor: executor, dataset: data, network: network)
            return (executor, try trainer.estimate())
        }
        let own = Network("unnamed", input: [1, 8, 8]) { net, x in net.linear(net.flatten(x), 4, name: "fc") }
        let ofOwn = try estimate(own)
        #expect(try ofOwn.executor.studentState().names == ["fc.weight", "fc.bias"])
        #expect(ofOwn.found.plan[0].contains("unnamed") && ofOwn.found.steps == 25)
        // A teacher of no named network is the student's.
        let taught = try estimate(own) { $0.method = .knowledgeDistillation(KnowledgeDistillation()) }
        #expect(taught.executor.teachers[0]?.id == "unnamed")

        // Every second epoch and the last, then the test set twice.
        #expect(try estimate { $0.evaluateEvery = 2 }.found.evaluations == 3 + 2)
        #expect(try estimate { $0.evaluateEvery = 9 }.found.evaluations == 1 + 2)
        #expect(try estimate { $0.select = .last }.found.evaluations == 2)
        #expect(try estimate(data: bandData(test: 0)).found.evaluations == 5)
        // The most epochs that a run may have.
        #expect(try estimate { $0.epochs = 1_000_000_000 }.found.evaluations == 1_000_000_000 + 2)
        #expect(inputErrorText { _ = try estimate { $0.batchSize = 81 } }.contains("give a smaller batch"))
        let other = Network("other", input: [1, 8, 8]) { net, x in net.linear(net.flatten(x), 5, name: "fc") }
        #expect(inputErrorText { _ = try estimate(other) }.contains("4 classes"))
    }

    @Test("without a validation part the last epoch is the best")
    func noValidation() throws {
        var configuration = bandConfiguration(epochs: 2)
        configuration.validation = 0
        let result = try Trainer(configuration: configuration, executor: FakeExecutor(), dataset: bandData()).run()
        #expect(result.bestEpoch == 2)
        #expect(result.epochs.allSatisfy { $0.validationAccuracy == nil })
    }

    @Test("settings that do not fit the data are named")
    func badInput() {
        func message(_ change: (inout TrainingConfiguration) -> Void) -> String {
            var configuration = bandConfiguration()
            change(&configuration)
            let executor = FakeExecutor()
            let text = inputErrorText {
                _ = try Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
            }
            #expect(executor.trainCalls.isEmpty)
            return text
        }
        #expect(message { $0.batchSize = 81 }.contains("there are only 80 training images"))
        #expect(message { $0.model = "resnet9" }.contains("did you mean 'resnet8'?"))
        #expect(message { $0.limit = 101 }.contains("only 100 images"))
        #expect(message { $0.method = .knowledgeDistillation(KnowledgeDistillation()) }.contains("teacher.model: is missing"))
        #expect(
            message {
                $0.method = .knowledgeDistillation(KnowledgeDistillation())
                $0.teacherModel = "resnet14"
                $0.teacherWeights = "/no/such.safetensors"
            }.hasPrefix("/no/such.safetensors: does not exist"))
    }

    @Test("what a program holds in memory is recorded by its own name")
    func names() throws {
        let network = try bandData().network("resnet14")
        let state = network.initialState(seed: 1)
        var configuration = bandConfiguration(epochs: 1)
        configuration.method = .knowledgeDistillation(KnowledgeDistillation())
        let trainer = Trainer(
            configuration: configuration, executor: FakeExecutor(), dataset: bandData(),
            teacher: .init(network: network, state: state))
        let lines = trainer.configuration.effectiveDescription
        #expect(lines.contains { $0.hasPrefix("data       bands") })
        #expect(lines.contains("teacher    resnet14, weights given by the program"))
        configuration.data = "mnist:/somewhere"
        var named = bandData()
        named.name = "mnist"
        let ofFiles = Trainer(configuration: configuration, executor: FakeExecutor(), dataset: named)
        #expect(ofFiles.configuration.data == "mnist:/somewhere")
    }

    @Test("a teacher that is handed over under a name that the configuration does not have is named")
    func teacherNames() throws {
        let network = try bandData().network("resnet14")
        var configuration = bandConfiguration(epochs: 1)
        configuration.teachers = [TeacherSettings(name: "big"), TeacherSettings(name: "small")]
        configuration.method = .knowledgeDistillation(KnowledgeDistillation())
        let teacher = Trainer.Teacher(network: network, state: network.initialState(seed: 1))
        func text(_ teachers: [String: Trainer.Teacher]) -> String {
            inputErrorText {
                _ = try Trainer(
                    configuration: configuration, executor: FakeExecutor(), dataset: bandData(), teachers: teachers
                ).run()
            }
        }
        #expect(text(["big": teacher, "smal": teacher]).contains("teacher 'smal': is unknown; did you mean 'small'?"))
        #expect(text(["big": teacher, "small": teacher]) == "")
    }

    @Test("the data's own augmentation is used where nothing else is set")
    func augmentationOfData() throws {
        let executor = FakeExecutor()
        var data = bandData()
        (data.transform.brightness, data.transform.mixup) = (0.25, 0.5)
        var configuration = bandConfiguration(epochs: 1)
        configuration.brightness = 0.125
        let trainer = Trainer(configuration: configuration, executor: executor, dataset: data)
        _ = try trainer.run()
        #expect(executor.trainCalls.allSatisfy { $0.batch.transform.brightness == 0.125 && $0.batch.mixing != nil })
        #expect(trainer.configuration.mixup == 0.5)
    }

    @Test("parts of a data set that do not belong together, and data that was read otherwise, are refused before the first step")
    func partsThatDoNotFit() throws {
        func message(_ data: Dataset, _ change: (inout TrainingConfiguration) -> Void = { _ in }) -> String {
            let executor = FakeExecutor()
            var configuration = bandConfiguration()
            change(&configuration)
            let text = inputErrorText {
                _ = try Trainer(configuration: configuration, executor: executor, dataset: data).run()
            }
            #expect(executor.trainCalls.isEmpty)
            return text
        }
        var classes = bandData()
        classes.test = bandImages(count: 40, classes: 5, seed: 2)
        #expect(message(classes).hasPrefix("test images of bands: are [1, 8, 8] of the classes"))
        var extents = bandData()
        extents.validation = bandImages(count: 40, extent: 12, seed: 2)
        #expect(message(extents).hasPrefix("validation images of bands: are [1, 12, 12]"))
        #expect(
            message(bandData()) { $0.normalizationMean = [0.5] }.contains("normalization.mean: is [0.5], the data set was read"))
        let executor = FakeExecutor()
        var right = bandConfiguration(epochs: 1)
        (right.normalizationMean, right.normalizationDeviation) = ([0.4], [0.25])
        _ = try Trainer(configuration: right, executor: executor, dataset: bandData()).run()
        #expect(!executor.trainCalls.isEmpty)
    }

    @Test("weights that a program saves say what they are for, as those of a run folder")
    func saving() throws {
        let temporary = TemporaryFolder()
        let folder = try RunFolder(temporary.path + "/run")
        let result = try Trainer(
            configuration: bandConfiguration(), executor: FakeExecutor(), dataset: bandData(), folder: folder
        ).run()
        for (weights, name) in [(TrainedWeights.best, "best"), (.last, "last")] {
            let path = "\(temporary.path)/\(name)"
            try result.save(weights, to: path)
            let (saved, recorded) = (
                try TensorFile(path: path), try TensorFile(path: "\(temporary.path)/run/\(name).safetensors")
            )
            var wanted = recorded.metadata
            wanted["step"] = nil
            #expect(saved.metadata == wanted)
            #expect(ModelMetadata(saved.metadata).model == "resnet8")
            let held = name == "best" ? result.bestState : result.lastState
            let found = try NetworkState(weights: path, for: result.network)
            #expect(found["fc.weight"]?.values == held["fc.weight"]?.values.map { Double(Float($0)) })
        }
    }

    @Test("a run that goes on with other settings says which")
    func otherSettings() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        _ = try trainBands(path, bandConfiguration(), stopAt: 7)
        var notes: [String] = []
        _ = try trainBands(path, bandConfiguration(), resume: true, stopAt: 1, notes: { notes.append($0) })
        #expect(!notes.contains { $0.contains("other settings") }, "\(notes)")
        var longer = bandConfiguration(epochs: 4)
        longer.optimizer.learningRate = 0.25
        longer.checkpointKeep = 5
        _ = try trainBands(path, longer, resume: true, notes: { notes.append($0) })
        #expect(
            notes.contains("goes on with other settings: epochs 4 (3 before), optimizer.learning_rate 0.25 (0.5 before)"),
            "\(notes)")
    }

    @Test("accumulated batches share an update: its number, its learning rate, and shares that add up to one")
    func accumulation() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 2)
        configuration.batchSize = 30
        configuration.accumulation = 2
        configuration.schedule = Schedule(kind: .cosine)
        try _ = Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
        // 80 images: batches of 30, 30 and 20.
        #expect(executor.updates.map(\.number) == [1, 1, 2, 3, 3, 4])
        #expect(executor.updates.map(\.begins) == [true, false, true, true, false, true])
        #expect(executor.updates.map(\.ends) == [false, true, true, false, true, true])
        #expect(executor.updates.map(\.share) == [0.5, 0.5, 1, 0.5, 0.5, 1])
        let rates = executor.trainCalls.map(\.optimizer.learningRate)
        #expect(rates[0] == rates[1] && rates[1] > rates[2] && rates[3] == rates[4])
    }

    @Test("evaluation every k epochs and at the end; the best is one that was evaluated")
    func evaluateEvery() throws {
        let executor = FakeExecutor()
        var configuration = bandConfiguration(epochs: 5)
        configuration.evaluateEvery = 2
        let result = try Trainer(configuration: configuration, executor: executor, dataset: bandData()).run()
        #expect(result.epochs.map { $0.validationAccuracy != nil } == [false, true, false, true, true])
        #expect([2, 4, 5].contains(result.bestEpoch))
    }

    @Test("a run ends when its best is too old, also after it was left in between")
    func earlyStopping() throws {
        var configuration = bandConfiguration(epochs: 30)
        configuration.optimizer.learningRate = 1e-12
        configuration.earlyStopping = 3
        let result = try Trainer(configuration: configuration, executor: FakeExecutor(), dataset: bandData()).run()
        #expect(result.bestEpoch == 1 && result.epochs.count == 4 && !result.interrupted)
        #expect(result.lastTest?.epoch == 4)
        let temporary = TemporaryFolder()
        var epochs = 0
        let first = try Trainer(
            configuration: configuration, executor: FakeExecutor(), dataset: bandData(), folder: RunFolder(temporary.path + "/r"),
            shouldStop: { epochs >= 2 }, observer: { if case .epoch = $0 { epochs += 1 } }
        ).run()
        #expect(first.interrupted && first.epochs.count == 2)
        let folder = try RunFolder(temporary.path + "/r", existing: .resume)
        let second = try Trainer(
            configuration: configuration, executor: FakeExecutor(), dataset: bandData(), folder: folder,
            resuming: folder.resumption()
        ).run()
        #expect(second.epochs.count == 4 && second.lastState == result.lastState)
    }

    @Test("the set that chose the best epoch is named; the test set only when asked for")
    func selection() throws {
        var configuration = bandConfiguration(epochs: 2)
        for (select, validation, expected) in [
            (Selection.validation, 20.0, "validation"), (.test, 20, "test"), (.last, 20, "last"), (.validation, 0, "last"),
        ] {
            configuration.select = select
            configuration.validation = validation
            let result = try Trainer(configuration: configuration, executor: FakeExecutor(), dataset: bandData()).run()
            #expect(result.bestTest?.selectedOn == expected)
            #expect(result.epochs.allSatisfy { ($0.testAccuracy != nil) == (expected == "test") })
            #expect(result.epochs.allSatisfy { ($0.validationAccuracy != nil) == (expected == "validation") })
        }
    }

    @Test(
        "the data's own validation part chooses the best epoch and leaves every training image to train on, unless a share is given"
    )
    func ownValidation() throws {
        var data = bandData()
        data.validation = bandImages(count: 12, seed: 3)
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration(epochs: 2)
        configuration.validation = nil
        func run(_ name: String, _ configuration: TrainingConfiguration, resume: Bool = false, stopAt: Int? = nil) throws -> (
            executor: FakeExecutor, result: TrainingResult, text: String, stored: TrainingConfiguration
        ) {
            let executor = FakeExecutor()
            var lines: [String] = []
            var asked = 0
            let folder = try RunFolder("\(temporary.path)/\(name)", existing: resume ? .resume : .refuse)
            let trainer = Trainer(
                configuration: configuration, executor: executor, dataset: data, folder: folder,
                resuming: try folder.resumption(),
                shouldStop: {
                    asked += 1
                    return stopAt.map { asked > $0 } ?? false
                },
                observer: {
                    if case .begins(let more) = $0 { lines += more }
                    if case .note(let line) = $0 { lines.append(line) }
                })
            let result = try trainer.run()
            var reader = ConfigurationReader()
            try reader.read(file: folder.file("config.yaml"))
            return (executor, result, lines.joined(separator: "\n"), try reader.finish().configuration)
        }
        let own = try run("own", configuration)
        #expect(Set(own.executor.trainCalls.prefix(7).flatMap(\.batch.indices)) == Set(0..<100))
        #expect(own.executor.evaluateCalls.prefix(2).map(\.table) == ["validation", "validation"])
        #expect(own.executor.evaluateCalls[0].indices == Array(0..<12) && own.executor.evaluateCalls[2].table == "test")
        #expect(
            own.result.bestTest?.selectedOn == "validation" && own.text.contains("100 to train on, 12 of their own to validate"))
        #expect(own.stored.validation == nil && !own.text.contains("not used"))
        let stopped = try run("stopped", configuration, stopAt: 9)
        #expect(stopped.result.interrupted)
        #expect(try run("stopped", own.stored, resume: true).result.lastState == own.result.lastState)

        configuration.validation = 20
        let given = try run("given", configuration)
        #expect(given.executor.tables["validation"] == nil && given.executor.evaluateCalls[0].table == "train")
        #expect(given.text.contains("the 12 images of the data's own validation part are not used"), "\(given.text)")
        // Without such a part a tenth of the training images serves, and the run says so from then on.
        data.validation = nil
        configuration.validation = nil
        #expect(try run("none", configuration).stored.validation == 0.1)
    }
}
