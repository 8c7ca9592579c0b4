import Foundation
import RLD
import Testing

struct ConfigurationTests {
    private func read(_ yaml: String, set: [String] = []) throws -> (configuration: TrainingConfiguration, warnings: [String]) {
        var reader = ConfigurationReader()
        try reader.read(yaml: yaml, source: "run.yaml")
        for assignment in set { try reader.set(assignment: assignment) }
        return try reader.finish()
    }

    @Test("every setting survives being written and read back")
    func roundTrip() throws {
        var configuration = TrainingConfiguration()
        configuration.model = "resnet20"
        configuration.data = "fashion-mnist:/a folder/with: odd \"names\""
        configuration.limit = 1234
        configuration.validation = 0.125
        configuration.seed = .max
        configuration.epochs = 7
        configuration.batchSize = 33
        configuration.optimizer = SGD(learningRate: 0.1 + 0.2, momentum: 0.8, weightDecay: 1e-5, nesterov: true)
        configuration.schedule = Schedule(kind: .multistep, milestones: [3, 5], factor: 0.2, warmupEpochs: 2)
        configuration.cropPadding = 2
        configuration.flip = false
        var method = RefinedLogitDistillation()
        method.beta = 2.5
        method.standardize = true
        method.warmupEpochs = 3
        configuration.method = .refinedLogitDistillation(method)
        configuration.teacherModel = "resnet14"
        configuration.teacherWeights = "runs/teacher/best.safetensors"
        configuration.logEvery = 9
        configuration.device = "0"
        configuration.precision = .tf32
        configuration.teacherStorage = .half
        let back = try read(configuration.yaml)
        #expect(back.configuration == configuration)
        #expect(back.warnings.isEmpty)
        let decoded = try JSONDecoder().decode(TrainingConfiguration.self, from: JSONEncoder().encode(configuration))
        #expect(decoded == configuration)
        #expect(try read(TrainingConfiguration().yaml).configuration == TrainingConfiguration())
    }

    @Test("later settings win, and --set wins over the file")
    func overrides() throws {
        let (configuration, _) = try read(
            """
            method: rld
            epochs: 5
            schedule: {kind: multistep, milestones: [2, 4]}
            """,
            set: [
                "optimizer.learning_rate=0.1", "method.alpha=2", "epochs=6", "momentum=0.8", "milestones=[3]",
                "method.ce-weight=0.5",
            ])
        #expect(configuration.epochs == 6)
        #expect(configuration.optimizer.learningRate == 0.1)
        #expect(configuration.optimizer.momentum == 0.8)
        #expect(configuration.schedule.milestones == [3])
        #expect(configuration.method.value(of: .alpha) == 2)
        #expect(configuration.method.value(of: .crossEntropyWeight) == 0.5)
        #expect(configuration.method.value(of: .beta) == 8)
    }

    @Test(
        "a wrong key or value is named with its line and what to do",
        arguments: [
            ("epoch: 5", "did you mean 'epochs'?"),
            ("model: resnet8\noptimiser: {momentum: 1}", "run.yaml:2"),
            ("model: resnet8\noptimiser: {momentum: 1}", "did you mean 'optimizer'?"),
            ("optimizer:\n  learning_rat: 1", "did you mean 'optimizer.learning_rate'?"),
            ("optimizer:\n  learning_rat: 1", "run.yaml:2"),
            ("method: rdl", "did you mean 'rld'?"),
            ("method: {id: rld, bta: 1}", "did you mean 'method.beta'?"),
            ("epochs: 0", "epochs: must be at least 1, found 0"),
            ("epochs: five", "epochs (run.yaml:1): must be a whole number, found 'five'"),
            ("optimizer: {learning_rate: -1}", "optimizer.learning_rate: must be finite and more than 0, found -1.0"),
            ("optimizer: {learning_rate: .nan}", "learning_rate"),
            ("batch_size: 0", "batch_size: must be at least 1"),
            ("seed: -1", "seed (run.yaml:1): must be a whole number, at least 0"),
            ("augmentation: {flip: maybe}", "must be true or false, found 'maybe'"),
            ("schedule: {kind: cosin}", "did you mean 'cosine'?"),
            ("schedule: {milestones: [a]}", "whole numbers"),
            ("schedule: {milestones: [0]}", "counted from 1"),
            ("epochs: {a: 1}", "takes a value, not a group"),
            ("validation: 1.5", "a share below 1 or a whole number"),
            ("method: {id: rld, temperature: 0}", "method.temperature (run.yaml:1): must be finite and more than 0"),
            ("- a list", "must hold keys and values"),
            ("epochs: [1", "is not valid YAML"),
            ("epochs: 1\nepochs: 2", "is not valid YAML"),
        ])
    func errors(yaml: String, expected: String) {
        let text = inputErrorText { _ = try read(yaml) }
        #expect(text.contains(expected), "\(text)")
        #expect(!text.contains("\n"))
    }

    @Test("an override that is none says so")
    func badAssignment() {
        #expect(inputErrorText { _ = try read("", set: ["epochs"]) }.contains("is not of the form key=value"))
        #expect(inputErrorText { _ = try read("", set: ["epoch=5"]) }.contains("did you mean 'epochs'?"))
        #expect(inputErrorText { _ = try read("", set: ["epochs=x"]) } == "--set epochs: must be a whole number, found 'x'")
    }

    @Test("README names every key")
    func documentedKeys() throws {
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        let text = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let options = Set(MethodOption.allCases.map { "method.\($0.name.replacing("-", with: "_"))" })
        for key in ConfigurationReader.keys where !options.contains(key) {
            let parts = key.split(separator: ".")
            let rows = text.split(separator: "\n").filter {
                parts.count == 1 ? $0.hasPrefix("| | `") : $0.hasPrefix("| `") && $0.contains("`\(parts[0]).`")
            }
            let words = Set(rows.flatMap { $0.split { !$0.isLetter && !$0.isNumber && $0 != "_" } })
            #expect(words.contains(parts.last ?? ""), "\(key)")
        }
    }

    @Test("a list of anything but single values is refused, not shortened")
    func listsInLists() {
        let text = inputErrorText { _ = try read("schedule: {milestones: [1, [2, 3], {a: 4}]}") }
        #expect(text == "schedule.milestones (run.yaml:1): must be a list of single values, found a list or keys in it")
    }

    @Test(
        "every name comes back from a configuration file as it was",
        arguments: [
            "a\nb", "tab\there", "bell\u{7}", "\u{85}\u{2028}\u{FEFF}", "a\\nb \"c\" \\", "\\u0041", "é 猫 🙂", " spaces ", "1e5",
        ])
    func names(name: String) throws {
        var configuration = TrainingConfiguration()
        configuration.data = name
        #expect(try read(configuration.yaml).configuration.data == name)
    }

    @Test("the preset of a method that has none is warned about")
    func presetWithoutRecipe() throws {
        #expect(
            try read("method: {id: ce, lskd: true}").warnings == ["lskd does nothing: there is no such recipe for method 'ce'"])
        #expect(try read("method: {id: rld, lskd: true}").warnings.count { $0.contains("lskd") } == 0)
    }

    @Test("settings that do nothing are warned about, whatever order they come in")
    func warnings() throws {
        let warnings = try read(
            """
            method: {alpha: 3, id: kd, standardize: true}
            schedule: {kind: cosine, milestones: [3]}
            """
        ).warnings
        #expect(warnings.count == 2)
        #expect(warnings[0].contains("method.alpha (run.yaml:1) does nothing: method 'kd' has no alpha"))
        #expect(warnings[1].contains("schedule.milestones (run.yaml:2) does nothing"))
        #expect(try read("method: rld\nepochs: 5").warnings.first?.contains("reach only 5/20 of their weight") == true)
        #expect(try read("teacher: {model: resnet14}").warnings.count == 1)
        #expect(try read("method: rld\nteacher: {model: resnet14}").warnings.isEmpty)
    }

    @Test("the LSKD preset is applied before explicit options")
    func preset() throws {
        let method = try read("method: {id: rld, lskd: true, beta: 5}").configuration.method
        #expect(method.value(of: .temperature) == 2)
        #expect(method.value(of: .alpha) == 9)
        #expect(method.value(of: .beta) == 5)
        #expect(method.value(of: .standardize) == 1)
    }

    @Test("a missing file is named")
    func missingFile() {
        var reader = ConfigurationReader()
        #expect(inputErrorText { try reader.read(file: "/no/such.yaml") }.hasPrefix("/no/such.yaml: does not exist"))
    }
}
