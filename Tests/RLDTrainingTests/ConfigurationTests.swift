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

    @Test("mixed images beside a method without a cross-entropy with soft labels are warned about")
    func mixedLabels() throws {
        #expect(try read("method: la\naugmentation: {mixup: 0.2}").warnings.contains { $0.contains("larger share") })
        #expect(try !read("method: kd\naugmentation: {mixup: 0.2}").warnings.contains { $0.contains("larger share") })
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

    @Test("the LSKD preset of the command line multiplies what a file says, and files that spell everything out do not undo it")
    func presetOverFile() throws {
        func method(_ yaml: String, _ set: [String] = ["method.lskd=true"]) throws -> String {
            try read(yaml, set: set).configuration.method.effectiveDescription
        }
        #expect(
            try method("method: {id: rld, ce_weight: 1, alpha: 1, beta: 6, temperature: 4, standardize: false, warm_up: 0}")
                == "rld: ce-weight 1, alpha 9, beta 54, temperature 2, confidence-temperature 2, standardize true, warm-up 0")
        #expect(
            try method("method: {id: kd, ce_weight: 0.1, kd_weight: 0.9, temperature: 4}")
                == "kd: ce-weight 0.1, kd-weight 9, temperature 2, standardize true")
        #expect(try method("method: {id: dkd, beta: 6}", ["method.lskd=true", "method.beta=5"]).contains("alpha 9, beta 5,"))
        #expect(try method("method: {id: kd, lskd: true, temperature: 3}", []).contains("kd-weight 9, temperature 3"))
        #expect(try method("method: {id: kd, lskd: true}", ["method.lskd=false"]).contains("temperature 4, standardize false"))
        // A run that has it already is not multiplied again.
        #expect(try read("method: {id: rld, standardize: true}", set: ["method.lskd=true"]).warnings[0].contains("already"))
        // As the authors' program: ALPHA and BETA times 9.
        let authors = "DISTILLER: {TYPE: DKD}\nDKD: {ALPHA: 1, BETA: 6, T: 4}"
        #expect(try method(authors).contains("alpha 9, beta 54, temperature 2, standardize true"))
    }

    @Test("what a file set for one method does not count for another that the command line names; what it set for none does")
    func otherMethod() throws {
        let kd = try read("method: {id: kd, ce_weight: 0.1, kd_weight: 0.9, temperature: 3}", set: ["method=rld"])
        #expect(kd.configuration.method.effectiveDescription == Method.defaults.first { $0.id == "rld" }?.effectiveDescription)
        let warning = "what was set for method 'kd' does not count for 'rld': method.ce_weight (run.yaml:1), "
        #expect(kd.warnings.count == 1 && kd.warnings[0].hasPrefix(warning), "\(kd.warnings)")
        let own = try read("method: {temperature: 3}", set: ["method=kd", "method.kd_weight=2"]).configuration.method
        #expect(own.effectiveDescription.contains("kd-weight 2, temperature 3"))
        let same = try read("method: {id: kd, temperature: 3}", set: ["method=kd"])
        #expect(same.configuration.method.value(of: .temperature) == 3 && same.warnings.isEmpty)
        let terms = try read(
            "terms: {a: {method: kd, temperature: 3}, b: {method: ce}}", set: ["terms.a.method=dkd"])
        #expect(terms.configuration.terms[0].method.value(of: .temperature) == 4)
    }

    @Test("an optimiser that is chosen brings its usual rate and decay, but for what was given")
    func optimizerDefaults() throws {
        let plain = try read("optimizer: {kind: adamw}").configuration.optimizer
        #expect(plain.learningRate == 1e-3 && plain.weightDecay == 1e-2)
        let given = try read("optimizer: {kind: adamw, learning_rate: 0.02}").configuration
        #expect(given.optimizer.learningRate == 0.02 && given.optimizer.weightDecay == 1e-2)
        var reader = ConfigurationReader(given)
        try reader.set("epochs", to: "7")
        #expect(try reader.finish().configuration.optimizer == given.optimizer)
        #expect(try read("").configuration.optimizer == TrainingConfiguration().optimizer)
    }

    @Test("the plan says when the rate never changes")
    func constantRate() throws {
        func line(_ yaml: String) throws -> String {
            try #require(read(yaml).configuration.effectiveDescription.first { $0.hasPrefix("schedule") })
        }
        #expect(try line("epochs: 5") == "schedule   x 0.1 after epochs 150, 180, 210, beyond this run's 5: constant")
        #expect(try line("epochs: 151") == "schedule   x 0.1 after epochs 150, 180, 210")
        #expect(try line("epochs: 30\nschedule: {kind: step}").hasSuffix("after every 30 epochs, beyond this run's 30: constant"))
        #expect(try !line("epochs: 31\nschedule: {kind: step}").contains("constant"))
    }

    @Test("a missing file is named")
    func missingFile() {
        var reader = ConfigurationReader()
        #expect(inputErrorText { try reader.read(file: "/no/such.yaml") }.hasPrefix("/no/such.yaml: does not exist"))
    }
}
