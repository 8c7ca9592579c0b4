import Foundation
import RLD
import TestSupport
import Testing

/// Runs that are left at some moment and gone on with must end as if nothing had happened.
struct ResumeTests {
    /// metrics.jsonl without what a clock decides.
    private func metrics(_ path: String) throws -> [[String: String]] {
        try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            return (object.filter { !["seconds", "seconds_left", "images_per_second"].contains($0.key) }).mapValues { value in
                // With sorted keys: a dictionary's own text has another order in each process.
                let data =
                    (try? JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys])) ?? Data()
                return String(decoding: data, as: UTF8.self)
            }
        }
    }

    private var recipe: TrainingConfiguration {
        var configuration = bandConfiguration(epochs: 3)
        configuration.schedule = Schedule(kind: .cosine)
        return configuration
    }

    @Test("a run stopped before any of its steps, or during an evaluation, goes on to the same weights and the same metrics")
    func everyMoment() throws {
        let temporary = TemporaryFolder()
        let expected = try trainBands(temporary.path + "/whole", recipe)
        let lines = try metrics(temporary.path + "/whole")
        // 3 epochs of 5 steps, 2 evaluation batches each, and the test set: one question before each.
        for moment in 0..<25 {
            let path = temporary.path + "/at\(moment)"
            let first = try trainBands(path, recipe, stopAt: moment)
            #expect(first.interrupted)
            let second = try trainBands(path, recipe, resume: true)
            #expect(!second.interrupted)
            #expect(second.lastState == expected.lastState && second.bestState == expected.bestState, "\(moment)")
            #expect(second.bestEpoch == expected.bestEpoch && second.bestTest == expected.bestTest)
            let found = try metrics(path)
            #expect(found == lines, "\(moment): \(found.count) lines, \(lines.count) expected")
        }
    }

    @Test("updates are counted on where a run goes on, with another batch size too")
    func updateNumbers() throws {
        let temporary = TemporaryFolder()
        var configuration = recipe
        configuration.accumulation = 2
        let whole = FakeExecutor()
        _ = try trainBands(temporary.path + "/whole", configuration, executor: whole)
        // 3 epochs of 5 batches in groups of 2, 2 and 1.
        let numbers = [1, 1, 2, 2, 3, 4, 4, 5, 5, 6, 7, 7, 8, 8, 9]
        #expect(whole.updates.map(\.number) == numbers)
        let path = temporary.path + "/left"
        let first = FakeExecutor()
        _ = try trainBands(path, configuration, executor: first, stopAt: 9)
        let rest = FakeExecutor()
        _ = try trainBands(path, configuration, executor: rest, resume: true)
        #expect((first.updates + rest.updates).map(\.number) == numbers && !rest.updates.isEmpty)
        // Larger batches from here: fewer of them, counted on.
        let other = temporary.path + "/other"
        let small = FakeExecutor()
        _ = try trainBands(other, recipe, executor: small, stopAt: 9)
        var larger = recipe
        larger.batchSize *= 2
        let executor = FakeExecutor()
        _ = try trainBands(other, larger, executor: executor, resume: true, allowing: ["batch_size"])
        let done = try #require(small.updates.last?.number)
        #expect(done > 5 && executor.updates.map(\.number) == Array(done + 1...done + executor.updates.count))
    }

    @Test("momentum comes back to the last bit on the reference")
    func momentum() throws {
        let temporary = TemporaryFolder()
        var configuration = recipe
        configuration.limit = 24
        configuration.batchSize = 10
        configuration.validation = 4
        configuration.epochs = 2
        let expected = try trainBands(temporary.path + "/whole", configuration, executor: ReferenceExecutor())
        let path = temporary.path + "/left"
        _ = try trainBands(path, configuration, executor: ReferenceExecutor(), stopAt: 2)
        let found = try trainBands(path, configuration, executor: ReferenceExecutor(), resume: true)
        #expect(found.lastState == expected.lastState)
    }

    @Test("checkpoints within an epoch are written every so many steps; the newest k and the best are kept")
    func kept() throws {
        let temporary = TemporaryFolder()
        var configuration = recipe
        configuration.epochs = 4
        configuration.checkpointEvery = 3
        configuration.checkpointKeep = 3
        configuration.optimizer.learningRate = 1e-12  // Nothing moves: the first epoch stays the best.
        let result = try trainBands(temporary.path + "/run", configuration)
        #expect(result.bestEpoch == 1)
        let names = try FileManager.default.contentsOfDirectory(atPath: temporary.path + "/run/checkpoints").sorted()
        #expect(
            names == [
                "epoch-0001.safetensors", "epoch-0003.safetensors", "epoch-0004-step-000003.safetensors",
                "epoch-0004.safetensors",
            ])
    }

    @Test("a damaged checkpoint is passed over and set aside; with none left the run says so")
    func damaged() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        let expected = try trainBands(temporary.path + "/whole", recipe)
        _ = try trainBands(path, recipe, stopAt: 16)
        let folder = path + "/checkpoints/"
        let newest = try #require(try FileManager.default.contentsOfDirectory(atPath: folder).sorted().last)
        for (offset, name) in [(60, "header"), (-5, "values")] {
            var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: folder + newest)))
            bytes[offset > 0 ? offset : bytes.count + offset] ^= 0x11
            try Data(bytes).write(to: URL(fileURLWithPath: folder + newest))
            var notes: [String] = []
            let copy = temporary.path + "/" + name
            try FileManager.default.copyItem(atPath: path, toPath: copy)
            let found = try trainBands(copy, recipe, resume: true) { notes.append($0) }
            #expect(found.lastState == expected.lastState)
            #expect(notes.contains { $0.contains("passed over") && $0.contains(newest) }, "\(notes)")
            #expect(FileManager.default.fileExists(atPath: copy + "/checkpoints/" + newest + ".damaged"))
        }
        for name in try FileManager.default.contentsOfDirectory(atPath: folder) {
            try Data("x".utf8).write(to: URL(fileURLWithPath: folder + name))
        }
        let text = inputErrorText { _ = try trainBands(path, recipe, resume: true) }
        #expect(text.contains("no checkpoint that is whole") && text.contains("--overwrite"), "\(text)")
    }

    @Test("a checkpoint of a later version is named as one, whatever its record looks like, and never passed over")
    func laterVersion() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        _ = try trainBands(path, recipe, stopAt: 6)
        let folder = path + "/checkpoints/"
        for name in try FileManager.default.contentsOfDirectory(atPath: folder).sorted().reversed() {
            let record = #"{"version": 7, "epoch": {"of": "another form"}}"#
            try SafetensorsFile.write([], metadata: ["format": "rld-checkpoint", "record": record], to: folder + name)
            let text = inputErrorText { _ = try trainBands(path, recipe, resume: true) }
            #expect(text.contains("is of version 7, this program reads version 1; go on with"), "\(text)")
            #expect(FileManager.default.fileExists(atPath: folder + name))
        }
    }

    @Test(
        "the log of a run that goes on says that the device is tuned otherwise",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func otherTuning() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        func executor(_ tuning: Tuning) throws -> DeviceExecutor {
            let chosen = ChosenTuning(tuning, source: "of a test")
            return try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), tuning: chosen))
        }
        _ = try trainBands(path, recipe, executor: executor(Tuning()), stopAt: 3)
        _ = try trainBands(path, recipe, executor: executor(Tuning(tiles: ["group_channels": 16])), resume: true, stopAt: 1)
        let log = try String(contentsOfFile: path + "/log.txt", encoding: .utf8)
        #expect(log.contains("this device is tuned otherwise"), "\(log)")
    }

    @Test("a changed setting is refused unless it is named, other data and another teacher too")
    func changed() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        _ = try trainBands(path, recipe, stopAt: 8)
        func merge(_ assignments: [String], allowing: [String] = []) throws -> TrainingConfiguration {
            var reader = ConfigurationReader()
            for assignment in assignments { try reader.set(assignment: assignment) }
            let folder = try RunFolder(path, existing: .resume)
            defer { folder.close() }
            var resumption = try #require(try folder.resumption())
            return try resumption.merge(reader.finish().configuration, keys: reader.givenKeys, allowing: allowing)
        }
        let stored = try merge([])
        var named = recipe
        named.data = "bands"
        #expect(stored == named, "a data set in memory is recorded by its own name")
        #expect(try merge(["epochs=3", "momentum=0.9", "validation=auto", "augmentation.flip="]) == stored)
        #expect(try merge(["checkpoint.every=7"]).checkpointEvery == 7)
        let text = inputErrorText { _ = try merge(["epochs=5", "seed=4", "momentum=0.9"], allowing: ["seed"]) }
        #expect(text.contains("epochs is 3 in the run and 5 now") && text.contains("--allow-change epochs"), "\(text)")
        #expect(!text.contains("seed"))
        #expect(inputErrorText { _ = try merge(["precision=tf32"]) }.contains("precision is float32 in the run and tf32 now"))
        let changed = try merge(
            ["epochs=5", "method=kd", "method.temperature=3"], allowing: ["epochs", "method.id", "temperature"])
        #expect(changed.epochs == 5 && changed.method.id == "kd" && changed.method.value(of: .temperature) == 3)
        #expect(inputErrorText { _ = try merge([], allowing: ["epoch"]) }.contains("did you mean 'epochs'?"))

        let folder = try RunFolder(path, existing: .resume)
        let other = Dataset(
            name: "bands", path: "", train: bandImages(count: 100, seed: 5), test: bandImages(count: 40, seed: 2),
            transform: bandData().transform)
        let hash = inputErrorText {
            _ = try Trainer(
                configuration: recipe, executor: FakeExecutor(), dataset: other, folder: folder, resuming: folder.resumption()
            ).run()
        }
        #expect(hash.contains("data: has changed") && hash.contains("--allow-change data"), "\(hash)")
    }

    @Test("environment.json tells what every part of a run ran on, once each")
    func environments() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        func stored() throws -> [String: Any] {
            let data = try Data(contentsOf: URL(fileURLWithPath: path + "/environment.json"))
            return try #require(try JSONSerialization.jsonObject(with: data) as? [String: Any])
        }
        _ = try trainBands(path, recipe, stopAt: 5)
        let first = try stored()
        _ = try trainBands(path, recipe, resume: true, stopAt: 2)
        #expect(try NSDictionary(dictionary: stored()) == NSDictionary(dictionary: first))
        var other = first
        (other["commit"], other["executor"]) = ("another", "another device")
        try JSONSerialization.data(withJSONObject: other).write(to: URL(fileURLWithPath: path + "/environment.json"))
        for _ in 0..<2 {
            _ = try trainBands(path, recipe, resume: true, stopAt: 2)
            let found = try stored()
            let earlier = found["earlier"] as? [[String: Any]]
            #expect(earlier?.count == 1 && earlier?[0]["commit"] as? String == "another")
            #expect(found["commit"] as? String == first["commit"] as? String && found["executor"] as? String == "fake")
        }
    }

    @Test("the preset for standardised logits given again on resume changes nothing")
    func presetAgain() throws {
        let temporary = TemporaryFolder()
        var reader = ConfigurationReader(recipe)
        for assignment in ["method.id=rld", "method.lskd=true"] { try reader.set(assignment: assignment) }
        var configuration = try reader.finish().configuration
        configuration.method = configuration.method.applyingLSKD()
        let given = try reader.finish().configuration
        #expect(given.method.value(of: .alpha) == 9)
        let network = try bandData().network("resnet8")
        let teacher = Trainer.Teacher(network: network, state: network.initialState(seed: 3))
        let folder = try RunFolder(temporary.path + "/run")
        var asked = 0
        _ = try Trainer(
            configuration: given, executor: FakeExecutor(), dataset: bandData(), teacher: teacher, folder: folder,
            shouldStop: {
                asked += 1
                return asked > 4
            }
        ).run()
        let again = try RunFolder(temporary.path + "/run", existing: .resume)
        var resumption = try #require(try again.resumption())
        #expect(try resumption.merge(given, keys: reader.givenKeys, allowing: []).method == given.method)
    }

    @Test("what is given on resume is judged beside the run's settings, not the program's")
    func overridesOnResume() throws {
        let temporary = TemporaryFolder()
        var wide = recipe
        (wide.epochs, wide.method) = (300, .crossEntropy(CrossEntropy()))
        wide.terms = [
            TermSettings(name: "soft", method: .crossEntropy(CrossEntropy())), TermSettings(name: "plain", method: wide.method),
        ]
        _ = try trainBands(temporary.path + "/run", wide, stopAt: 4)
        let folder = try RunFolder(temporary.path + "/run", existing: .resume)
        func merged(_ assignments: [String], allowing: [String] = []) throws -> (TrainingConfiguration, [String]) {
            var resumption = try #require(try folder.resumption())
            var reader = ConfigurationReader(resumption.configuration)
            for assignment in assignments { try reader.set(assignment: assignment) }
            let (given, warnings) = try reader.finish()
            return (try resumption.merge(given, keys: reader.givenKeys, allowing: allowing), warnings)
        }
        // A part of one term, and a number that only the run's length allows.
        let (changed, warnings) = try merged(
            ["terms.soft.weight=0.7", "schedule.warmup_epochs=260"], allowing: ["terms.soft.weight", "schedule.warmup_epochs"])
        #expect(changed.terms.first { $0.name == "soft" }?.weight == 0.7 && changed.schedule.warmupEpochs == 260)
        #expect(changed.terms.count == 2 && warnings.isEmpty, "\(warnings)")
        #expect(try merged(["terms.soft.weight=1"]).0 == merged([]).0)
        let odd = "a \"b\" \\n\n\u{7}c"
        #expect(try merged(["device=\(odd)"], allowing: ["device"]).0.device == odd)
        #expect(
            inputErrorText { _ = try merged(["terms.soft.weight=0.7"]) }.contains("terms.soft.weight is 1 in the run and 0.7 now")
        )
    }

    @Test("two runs cannot use one folder at a time; the lock ends with its holder")
    func lock() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        _ = try trainBands(path, recipe, stopAt: 8)
        do {
            let holder = try RunFolder(path, existing: .resume)
            #expect(inputErrorText { _ = try RunFolder(path, existing: .resume) }.contains("is in use by another rld process"))
            holder.close()
        }
        #expect(try !trainBands(path, recipe, resume: true).interrupted)
    }

    @Test("a run without a checkpoint begins anew, but never over weights that it would lose")
    func beginsAnew() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        #expect(try trainBands(path, recipe, resume: true).epochs.count == 3)
        try FileManager.default.removeItem(atPath: path + "/checkpoints")
        #expect(inputErrorText { _ = try trainBands(path, recipe, resume: true) }.contains("a run without checkpoints"))
    }
}
