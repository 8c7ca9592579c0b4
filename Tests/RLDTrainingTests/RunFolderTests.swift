import Foundation
import RLD
import TestSupport
import Testing

struct RunFolderTests {
    private func run(
        _ folder: RunFolder, executor: FakeExecutor = FakeExecutor(), epochs: Int = 3,
        shouldStop: @escaping () -> Bool = { false }
    ) throws -> TrainingResult {
        try Trainer(
            configuration: bandConfiguration(epochs: epochs), executor: executor, dataset: bandData(), folder: folder,
            shouldStop: shouldStop
        ).run()
    }

    @Test("a run leaves exactly its files: configuration, environment, metrics, log, last and best weights")
    func contract() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/a/run"
        let result = try run(RunFolder(path))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: path).sorted() == (RunFolder.fileNames + ["checkpoints"]).sorted()
        )

        var reader = ConfigurationReader()
        try reader.read(file: path + "/config.yaml")
        var named = bandConfiguration()
        named.data = "bands"
        #expect(try reader.finish().configuration == named, "a data set in memory is recorded by its own name")

        let network = try bandData().network("resnet8")
        let last = try NetworkState(weights: path + "/last.safetensors", for: network)
        for name in last.names {
            #expect(last[name]?.values == result.lastState[name]?.values.map { Double(Float($0)) }, "\(name)")
        }
        #expect(try SafetensorsFile(path: path + "/best.safetensors").metadata["epoch"] == "\(result.bestEpoch)")
        #expect(try SafetensorsFile(path: path + "/best.safetensors").metadata["model"] == "resnet8")

        let environment = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(fileURLWithPath: path + "/environment.json")))
        let keys = (environment as? [String: Any])?.keys.sorted() ?? []
        #expect(keys.contains("executor") && keys.contains("data_hash") && keys.contains("commit") && keys.contains("swift"))
    }

    @Test("metrics.jsonl has one line per logged step and per epoch, in full precision")
    func metrics() throws {
        let temporary = TemporaryFolder()
        let result = try run(RunFolder(temporary.path), epochs: 2)
        let lines = try temporary.text("metrics.jsonl").split(separator: "\n").map {
            try JSONSerialization.jsonObject(with: Data($0.utf8)) as? [String: Any] ?? [:]
        }
        #expect(
            lines.map { $0["kind"] as? String ?? "" } == [
                "step", "step", "step", "epoch", "step", "step", "step", "epoch", "test", "test",
            ])
        // As text: Foundation's JSON reader may be off by the last bit, ours must not be.
        let epoch = try temporary.text("metrics.jsonl").split(separator: "\n")[3]
        #expect(epoch.contains("\"train_loss\":\(result.epochs[0].trainLoss),"), "\(epoch)")
        #expect(lines[9]["weights"] as? String == "best")
        #expect((lines[0]["terms"] as? [String: Any])?["ce"] is Double)
    }

    @Test("a folder that holds a run is refused, unless it may be overwritten")
    func existing() throws {
        let temporary = TemporaryFolder()
        try _ = run(RunFolder(temporary.path))
        let text = inputErrorText { _ = try RunFolder(temporary.path) }
        #expect(text.contains("already holds a run (config.yaml)") && text.contains("--overwrite"))
        try _ = run(RunFolder(temporary.path, overwrite: true), epochs: 1)
        #expect(try temporary.text("metrics.jsonl").split(separator: "\n").count == 6)
    }

    @Test("a run that came into the folder after it was looked at is neither replaced nor mixed with", arguments: [false, true])
    func filledMeanwhile(resume: Bool) throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        let late = try RunFolder(path, existing: resume ? .resume : .refuse)
        #expect(try late.resumption() == nil)
        try _ = run(RunFolder(path))
        func files() throws -> [String: Data] {
            Dictionary(
                uniqueKeysWithValues: try FileManager.default.subpathsOfDirectory(atPath: path).map {
                    ($0, FileManager.default.contents(atPath: "\(path)/\($0)") ?? Data())
                })
        }
        let before = try files()
        let text = inputErrorText { _ = try run(late, epochs: 2) }
        #expect(text.contains(resume ? "has got a run meanwhile" : "already holds a run (config.yaml)"), "\(text)")
        #expect(try files() == before)
    }

    @Test("a lock that is let go of soon, as that of a killed process is, is waited for")
    func shortLock() throws {
        let temporary = TemporaryFolder()
        let descriptor = open(temporary.path, O_RDONLY | O_DIRECTORY)
        #expect(flock(descriptor, LOCK_EX | LOCK_NB) == 0)
        Thread.detachNewThread {
            usleep(400_000)
            close(descriptor)
        }
        _ = try RunFolder(temporary.path, existing: .resume)
    }

    @Test("a folder that cannot be is named, and nothing is left behind")
    func unwritable() throws {
        let temporary = TemporaryFolder()
        let file = temporary.path + "/file"
        try Data().write(to: URL(fileURLWithPath: file))
        #expect(inputErrorText { _ = try RunFolder(file) }.contains("is a file, expected a folder"))
        #expect(inputErrorText { _ = try run(RunFolder(file + "/run")) }.contains("cannot be created"))
        #expect(temporary.contents == ["file"])
    }

    @Test("a run that fails on its input writes nothing")
    func nothingHalfWritten() throws {
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration()
        configuration.model = "resnet9"
        let folder = try RunFolder(temporary.path + "/run")
        #expect(throws: InputError.self) {
            _ = try Trainer(configuration: configuration, executor: FakeExecutor(), dataset: bandData(), folder: folder).run()
        }
        #expect(temporary.contents.isEmpty)
    }

    @Test("a full disk is said plainly")
    func fullDisk() throws {
        let temporary = TemporaryFolder()
        try _ = run(RunFolder(temporary.path), epochs: 1)
        // A run that goes on keeps the file that it finds.
        let log = temporary.path + "/log.txt"
        try FileManager.default.removeItem(atPath: log)
        try FileManager.default.createSymbolicLink(atPath: log, withDestinationPath: "/dev/full")
        let text = inputErrorText { _ = try trainBands(temporary.path, bandConfiguration(epochs: 2), resume: true) }
        #expect(text.contains("log.txt: cannot be written: No space left on device"), "\(text)")
    }

    @Test("a non-finite loss stops the run, names epoch and step, and keeps the weights of the epoch before")
    func nonFinite() throws {
        let temporary = TemporaryFolder()
        let executor = FakeExecutor()
        executor.nonFiniteStep = 5 + 3
        do {
            try _ = run(RunFolder(temporary.path), executor: executor)
            Issue.record("the run went on")
        } catch let error as TrainingError {
            guard case .nonFinite(_, let epoch, let firstStep, let step, _) = error else {
                Issue.record("\(error)")
                return
            }
            #expect(epoch == 2 && firstStep == 3 && step == 4)
            #expect(error.description.contains("epoch 2, step 4"))
            #expect(error.description.contains("the weights of epoch 1 are kept"))
        }
        let state = try NetworkState(safetensors: temporary.path + "/last.safetensors")
        #expect(state.allFinite)
        #expect(try SafetensorsFile(path: temporary.path + "/last.safetensors").metadata["epoch"] == "1")
        #expect(try temporary.text("log.txt").contains("is not finite"))
        #expect(executor.trainCalls.count == 9)
    }

    @Test("a run that failed leaves its folder unlocked, whatever it failed on, while its owner still holds it")
    func unlockedAfterFailure() throws {
        let temporary = TemporaryFolder()
        let executor = FakeExecutor()
        executor.nonFiniteStep = 8
        let first = try RunFolder(temporary.path)
        #expect(throws: TrainingError.self) { _ = try run(first, executor: executor) }
        // An error of the executor, and one of the input.
        for (optimizer, epochs) in [(OptimizerKind.adamw, 3), (.sgd, 0)] {
            let folder = try RunFolder(temporary.path, existing: .resume)
            var configuration = bandConfiguration(epochs: epochs)
            configuration.optimizerKind = optimizer
            let trainer = Trainer(
                configuration: configuration, executor: FakeExecutor(), dataset: bandData(), folder: folder,
                resuming: try folder.resumption())
            #expect(throws: InputError.self) { _ = try trainer.run() }
            _ = try withExtendedLifetime((first, folder)) { try RunFolder(temporary.path, existing: .resume) }
        }
    }

    @Test("what is said about the weights to start from, before the log is open, is in the log")
    func notesOnWeights() throws {
        let temporary = TemporaryFolder()
        let weights = temporary.path + "/five.safetensors"
        try ModelCatalog.network("resnet8", classes: 5, input: [1, 8, 8]).initialState(seed: 3).save(safetensors: weights)
        var configuration = bandConfiguration(epochs: 1)
        configuration.initialWeights = weights
        configuration.initialOptions.resetHead = true
        var notes: [String] = []
        _ = try Trainer(
            configuration: configuration, executor: FakeExecutor(), dataset: bandData(),
            folder: RunFolder(temporary.path + "/run"), observer: { if case .note(let line) = $0 { notes.append(line) } }
        ).run()
        let expected = notes.filter { $0.contains("fc.weight starts anew") }
        #expect(expected.count == 1)
        let log = try temporary.text("run/log.txt").split(separator: "\n").map(String.init)
        #expect(log.filter { $0.contains("starts anew") } == notes.filter { $0.contains("starts anew") })
    }

    @Test("non-finite weights after an epoch's last step are caught although the loss was finite")
    func nonFiniteWeights() throws {
        let temporary = TemporaryFolder()
        let executor = FakeExecutor()
        executor.nonFiniteStep = 3
        #expect(throws: TrainingError.self) { _ = try run(RunFolder(temporary.path), executor: executor) }
        #expect(!temporary.contents.contains("last.safetensors"))
    }

    @Test("a stop finishes the step, saves the weights and skips the test set")
    func interruption() throws {
        let temporary = TemporaryFolder()
        let executor = FakeExecutor()
        var stop = false
        executor.beforeStep = { if $0 == 8 { stop = true } }
        let result = try run(RunFolder(temporary.path), executor: executor, shouldStop: { stop })
        #expect(result.interrupted)
        #expect(executor.trainCalls.count == 8)
        #expect(result.lastTest == nil)
        let file = try SafetensorsFile(path: temporary.path + "/last.safetensors")
        #expect(file.metadata["epoch"] == "2" && file.metadata["step"] == "3")
        #expect(try temporary.text("log.txt").contains("interrupted in epoch 2 after step 3 of 5"))
        #expect(result.lastState == (try executor.studentState()))
    }
}
