import Foundation
import RLD
import TestSupport
import Testing

/// Which images choose the best epoch, when a run ends for want of a better one, and what is said of both.
struct SelectionTests {
    @Test("a run stops early only after an evaluation, that of its last epoch, and says so")
    func stopsAfterEvaluation() throws {
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration(epochs: 30)
        configuration.optimizer.learningRate = 1e-12  // Nothing moves: the first that is evaluated stays the best.
        configuration.evaluateEvery = 5
        configuration.earlyStopping = 3
        var notes: [String] = []
        let result = try trainBands(temporary.path + "/run", configuration) { notes.append($0) }
        #expect(result.bestEpoch == 5 && result.epochs.count == 10 && result.epochs.last?.validationAccuracy != nil)
        let expected = "stopped early after epoch 10: the best, epoch 5, is 5 epochs old (early_stopping: 3)"
        #expect(notes == [expected])
        #expect(try temporary.text("run/log.txt").contains(expected))
    }

    @Test(
        "a run that goes on with other images to choose by forgets the best, whose score counts no more",
        arguments: ["select=test", "validation=30", "limit=90"])
    func otherImages(change: String) throws {
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration(epochs: 2)
        configuration.limit = 100
        _ = try trainBands(temporary.path + "/run", configuration)
        configuration.epochs = 4
        configuration.optimizer.learningRate = 5000  // Never as good again.
        let same = temporary.path + "/same"
        try FileManager.default.copyItem(atPath: temporary.path + "/run", toPath: same)
        var notes: [String] = []
        #expect(try trainBands(same, configuration, resume: true) { notes.append($0) }.bestEpoch <= 2)
        #expect(!notes.contains { $0.contains("chosen anew") })

        var reader = ConfigurationReader(configuration)
        try reader.set(assignment: change)
        let changed = try reader.finish().configuration
        let result = try trainBands(temporary.path + "/run", changed, resume: true) { notes.append($0) }
        #expect(notes.filter { $0.contains("the best epoch is chosen anew") }.count == 1, "\(notes)")
        let scores = result.epochs.suffix(2).map { $0.validationAccuracy ?? $0.testAccuracy ?? -1 }
        #expect(result.bestEpoch == (scores[1] > scores[0] ? 4 : 3))
        let file = try SafetensorsFile(path: temporary.path + "/run/best.safetensors")
        #expect(file.metadata["epoch"] == "\(result.bestEpoch)")
    }

    @Test("from the last epoch to the validation part: the number of an epoch is no score")
    func fromLast() throws {
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration(epochs: 2)
        configuration.select = .last
        _ = try trainBands(temporary.path + "/run", configuration)
        (configuration.epochs, configuration.select) = (4, .validation)
        let result = try trainBands(temporary.path + "/run", configuration, resume: true)
        #expect(result.bestEpoch >= 3)
    }

    @Test("a finished run with other images to choose by and nothing left to train has its last epoch as the best")
    func finished() throws {
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration(epochs: 4)
        configuration.schedule = Schedule(kind: .multistep, milestones: [2], factor: 3000)
        let first = try trainBands(temporary.path + "/run", configuration)
        #expect(first.bestEpoch < 4)
        configuration.select = .test
        let second = try trainBands(temporary.path + "/run", configuration, resume: true)
        #expect(second.bestEpoch == 4 && second.bestState == second.lastState)
        #expect(second.bestTest?.epoch == 4 && second.bestTest?.loss == first.lastTest?.loss)
        #expect(try SafetensorsFile(path: temporary.path + "/run/best.safetensors").metadata["epoch"] == "4")
    }

    @Test("a share of no image is refused, 0 is not")
    func noImages() throws {
        let text = inputErrorText { _ = try DataSplit(count: 100, limit: nil, validation: 0.004) }
        #expect(text.contains("validation: is a share of 0.004, which of 100 images is none"), "\(text)")
        #expect(inputErrorText { _ = try DataSplit(count: 1000, limit: 100, validation: 0.004) }.contains("of 100 images"))
        #expect(try DataSplit(count: 100, limit: nil, validation: 0.006).validation.count == 1)
        #expect(try DataSplit(count: 100, limit: nil, validation: 0).validation.isEmpty)
    }

    @Test("settings of evaluations that never are get a warning, but not where a run wrote them down")
    func warnings() throws {
        func warnings(_ assignments: [String]) throws -> [String] {
            var reader = ConfigurationReader()
            for assignment in assignments { try reader.set(assignment: assignment) }
            return try reader.finish().warnings
        }
        let given = ["early_stopping=3", "evaluate_every=2"]
        #expect(try warnings(given).isEmpty)
        #expect(try warnings(given + ["validation=0", "select=test"]).isEmpty)
        for nothing in ["validation=0", "select=last"] {
            let found = try warnings(given + [nothing])
            #expect(found.count == 2, "\(found)")
            for key in ["early_stopping", "evaluate_every"] {
                #expect(found.contains { $0.contains("\(key) does nothing: nothing is selected") }, "\(found)")
            }
            var reader = ConfigurationReader()
            try reader.set(assignment: nothing)
            var again = ConfigurationReader()
            try again.read(yaml: reader.finish().configuration.yaml, source: "config.yaml")
            #expect(try again.finish().warnings.isEmpty)
        }
    }

    @Test("the plan names the images that really choose")
    func plan() throws {
        let temporary = TemporaryFolder()
        func best(
            _ name: String, data: Dataset = bandData(), _ change: (inout TrainingConfiguration) -> Void
        ) throws -> String {
            var configuration = bandConfiguration(epochs: 1)
            configuration.earlyStopping = 2
            change(&configuration)
            _ = try trainBands("\(temporary.path)/\(name)", configuration, data: data)
            let log = try temporary.text("\(name)/log.txt").split(separator: "\n").map(String.init)
            return log.first { $0.hasPrefix("best ") } ?? ""
        }
        #expect(try best("a") { _ in } == "best       chosen on the validation part; stops when it is 2 epochs old")
        let nothing = "best       chosen on nothing: the last epoch (early_stopping does nothing)"
        #expect(try best("b") { $0.validation = 0 } == nothing)
        #expect(try best("c", data: bandData(test: 0)) { $0.select = .test } == nothing)
        #expect(try best("d") { $0.select = .test }.contains("the TEST set; stops"))
    }
}
