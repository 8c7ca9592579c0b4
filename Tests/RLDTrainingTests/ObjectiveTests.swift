import Foundation
import RLD
import TestSupport
import Testing

/// Several distillation terms and several teachers: as configuration, in a step, in a run.
struct ObjectiveTests {
    private func read(_ yaml: String, set: [String] = []) throws -> (configuration: TrainingConfiguration, warnings: [String]) {
        var reader = ConfigurationReader()
        try reader.read(yaml: yaml, source: "run.yaml")
        for assignment in set { try reader.set(assignment: assignment) }
        return try reader.finish()
    }

    private static let recipe = """
        epochs: 40
        teachers:
          small: {model: resnet14, weights: small.safetensors, weight: 0.25}
          big: {model: resnet20, weights: "big one.pth", key: model.student, weight: 0.75}
        terms:
          soft: {method: kd, weight: 0.5, teacher: small, ce_weight: 0, temperature: 2}
          main: {alpha: 2, method: rld}
        """

    // MARK: - Configuration

    @Test("terms and teachers are read in any order, printed as they count, and survive being written")
    func reading() throws {
        let (recipe, warnings) = try read(Self.recipe)
        #expect(warnings.isEmpty, "\(warnings)")
        #expect(try read(recipe.yaml).configuration == recipe, "\(recipe.yaml)")
        let (same, _) = try read(
            "epochs: 40",
            set: [
                "terms.main.method=rld", "teachers.small.model=resnet14", "terms.main.alpha=2", "terms.soft.temperature=2",
                "terms.soft.method=kd", "terms.soft.weight=0.5", "terms.soft.ce-weight=0", "terms.soft.teacher=small",
                "teachers.small.weights=small.safetensors", "teachers.small.weight=0.25", "teachers.big.weights=big one.pth",
                "teachers.big.key=model.student", "teachers.big.model=resnet20", "teachers.big.weight=0.75",
            ])
        #expect(same == recipe)

        let objective = recipe.objective
        #expect(objective.components.map(\.name) == ["main@big", "main@small", "soft"])
        #expect(objective.components.map(\.weight) == [0.75, 0.25, 0.5])
        #expect(objective.components.map(\.teacher) == [0, 1, 1] && objective.id == "rld+kd" && objective.teachers == [0, 1])
        #expect(
            objective.termNames == [
                "main@big.ce", "main@big.scd", "main@big.mcd", "main@small.ce", "main@small.scd", "main@small.mcd", "soft.ce",
                "soft.kd",
            ])
        #expect(objective.at(epoch: 5).components.map(\.warmup) == [0.25, 0.25, 1])
        let lines = recipe.effectiveDescription
        for wanted in [
            "term       main@big: weight 0.75, teacher big, rld: ce-weight 1, alpha 2, beta 8",
            "term       soft: weight 0.5, teacher small, kd: ce-weight 0, kd-weight 0.9, temperature 2",
            "teacher    big: resnet20, weights big one.pth",
        ] { #expect(lines.contains { $0.hasPrefix(wanted) }, "\(lines)") }

        // One method from two teachers: equal shares of one, so that the cross-entropy keeps its weight.
        let (two, _) = try read("method: kd\nteachers: {a: {model: resnet8}, b: {model: resnet14}}")
        #expect(two.objective.components.map(\.name) == ["a", "b"] && two.objective.components.map(\.weight) == [0.5, 0.5])
        // Two terms from the one teacher of `teacher`.
        let (terms, _) = try read("teacher: {model: resnet14}\nterms: {a: {method: kd}, b: {method: ce, weight: 2}}")
        #expect(terms.objective.components.map(\.weight) == [1, 2] && terms.objective.teachers == [0])
    }

    @Test(
        "what cannot be is named",
        arguments: [
            ("terms: {a: {weight: 2}}", "terms.a.method: is missing"),
            ("terms: {a: {method: kdd}}", "did you mean 'kd'?"),
            ("terms: {a: {method: kd, temprature: 2}}", "did you mean 'temperature'?"),
            ("terms: {a: {method: kd, weight: x}}", "terms.a.weight (run.yaml:1): must be a number, found 'x'"),
            ("terms: {a: {method: kd, weight: -1}}", "terms.a.weight: must be finite and at least 0"),
            ("terms: {a: {method: kd, weight: 1e10}}", "terms.a.weight: must be from 0 to 1e9"),
            ("terms: {a: {method: kd, weight: 0}}", "terms: have no weight above 0"),
            ("terms: {a: {method: kd, temperature: 0}}", "terms.a.temperature (run.yaml:1): must be finite and more than 0"),
            ("terms: {a: {method: kd, teacher: big}}", "terms.a.teacher 'big': is unknown"),
            ("terms: {a: kd}", "terms.a"),
            ("teachers: {a: {modle: resnet8}}", "did you mean 'model'?"),
            ("teacher: {model: resnet8}\nteachers: {a: {model: resnet8}}\nmethod: kd", "exclude each other"),
            (
                "teachers: {a: {model: resnet8}, b: {model: resnet8}}\nterms: {x: {method: kd, teacher: a}}",
                "teachers.b: is used by no term"
            ),
            ("terms: {\"a b\": {method: kd}}", "letters, digits and _"),
        ])
    func errors(yaml: String, expected: String) {
        let text = inputErrorText { _ = try read(yaml) }
        #expect(text.contains(expected), "\(text)")
    }

    @Test func whatDoesNothingIsWarnedAbout() throws {
        let warnings = try read(
            """
            epochs: 5
            method: {id: dkd, beta: 2}
            teachers: {a: {model: resnet8, weight: 0.5}}
            terms: {x: {method: kd, alpha: 3}, y: {method: rld}}
            """
        ).warnings
        for wanted in [
            "method.beta (run.yaml:2) does nothing: the run has terms",
            "terms.x.alpha (run.yaml:4) does nothing: method 'kd' has no",
            "teachers.a.weight (run.yaml:3) does nothing", "terms.y.warm_up is 20 epochs and the run has 5",
        ] { #expect(warnings.contains { $0.contains(wanted) }, "\(warnings)") }
    }

    // MARK: - A step

    private let network = Network("tiny", input: [1, 8, 8]) { net, x in
        let y = net.relu(net.batchNorm(net.convolution(x, 3, kernel: 3, stride: 2, name: "conv"), name: "bn"))
        return net.linear(net.globalAveragePool(y), 4, name: "fc")
    }

    private var rld: Method { .refinedLogitDistillation(RefinedLogitDistillation()) }

    private var objective: Objective {
        var kd = KnowledgeDistillation()
        kd.temperature = 2
        return Objective(components: [
            .init(name: "main", rld, weight: 0.75, teacher: 1, warmup: 0.5),
            .init(name: "soft", .knowledgeDistillation(kd), weight: 0.5, teacher: 0),
            .init(name: "again", .knowledgeDistillation(kd), weight: 0.25, teacher: 1),
            .init(name: "right", .labelRevision(LabelRevision()), weight: 0.1, teacher: 0),
        ])
    }

    private func step(_ executor: any NetworkExecutor, _ objective: Objective, steps: Int = 1) throws -> (
        NetworkState, StepMetrics
    ) {
        try executor.load(bandData().train, as: "train")
        for index in 0..<2 {
            try executor.prepareTeacher(network, state: network.initialState(seed: UInt64(20 + index)), at: index)
        }
        try executor.prepareStudent(network, state: network.initialState(seed: 1))
        try executor.prepareSteps(training: [10], evaluation: [10], objective: objective)
        for epoch in 1...steps {
            var batch = BatchSelection(table: "train", indices: Array(epoch..<epoch + 10), transform: bandData().transform)
            (batch.seed, batch.epoch, batch.labelSmoothing) = (3, epoch, 0.1)
            try executor.trainStep(
                batch, objective: objective, update: ParameterUpdate(UpdateRule(.sgd(SGD(learningRate: 0.1))), number: epoch))
        }
        let metrics = try executor.takeMetrics()
        return (try executor.studentState(), metrics)
    }

    private func largestDifference(_ a: NetworkState, _ b: NetworkState) -> Double {
        a.names.reduce(0) { worst, name in
            let (x, y) = (a[name]?.values ?? [], b[name]?.values ?? [])
            // Not `max`, which may lose a nan.
            return zip(x, y).reduce(x.count == y.count ? worst : .infinity) { worst, pair in
                let difference = abs(pair.0 - pair.1)
                return difference.isNaN ? .infinity : max(worst, difference)
            }
        }
    }

    @Test("loss and gradient are the weighted sums of the components'")
    func weightedSums() throws {
        let start = network.initialState(seed: 1)
        let (together, metrics) = try step(ReferenceExecutor(), objective)
        var expected = start
        var (total, terms): (Double, [Double]) = (0, [])
        for part in objective.components {
            let (alone, sums) = try step(
                ReferenceExecutor(), Objective(components: [.init(part.method, teacher: part.teacher, warmup: part.warmup)]))
            total += part.weight * sums.totalSum
            terms += sums.termSums
            #expect((sums.rows, sums.top1, sums.top5) == (metrics.rows, metrics.top1, metrics.top5))
            for tensor in network.stateTensors where !tensor.name.contains("running") && !tensor.name.contains("num_batches") {
                guard let a = alone[tensor.name], let b = start[tensor.name], var sum = expected[tensor.name] else { continue }
                for i in sum.values.indices { sum.values[i] += part.weight * (a.values[i] - b.values[i]) }
                expected[tensor.name] = sum
            }
            #expect(largestDifference(alone, together) > 1e-4)
        }
        for name in expected.names where name.contains("running") || name.contains("num_batches") {
            expected[name] = together[name]
        }
        #expect(largestDifference(expected, together) < 1e-12)
        #expect(abs(metrics.totalSum - total) < 1e-11 && metrics.termSums == terms)
    }

    @Test(
        "a device does as the reference, in either profile, and repeats to the last bit",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"), arguments: TestDevice.profiles)
    func device(profile: KernelProfile) throws {
        let (expected, sums) = try step(ReferenceExecutor(), objective, steps: 3)
        let (found, metrics) = try step(DeviceExecutor(TestDevice.device(), profile: profile), objective, steps: 3)
        #expect(largestDifference(expected, found) < 2e-5)
        #expect(metrics.termSums.count == sums.termSums.count && metrics.rows == 30 && metrics.top1 == sums.top1)
        for (a, b) in zip([metrics.totalSum] + metrics.termSums, [sums.totalSum] + sums.termSums) {
            #expect(abs(a - b) < 1e-4 * abs(b) + 1e-5)
        }
        let (again, sameMetrics) = try step(DeviceExecutor(TestDevice.device(), profile: profile), objective, steps: 3)
        #expect(again == found && sameMetrics == metrics)
    }

    // MARK: - A run

    private func configuration(cache: String? = nil) throws -> TrainingConfiguration {
        var configuration = try read(
            """
            teachers: {a: {model: tiny}, b: {model: tiny}}
            terms: {main: {method: rld, warm_up: 3}, soft: {method: kd, weight: 0.5, teacher: b}}
            """
        ).configuration
        let small = bandConfiguration(epochs: 3)
        (configuration.epochs, configuration.batchSize, configuration.validation) = (small.epochs, 16, 20)
        (configuration.logEvery, configuration.limit, configuration.checkpointEvery) = (2, 60, 2)
        configuration.teacherCache = cache
        return configuration
    }

    private func train(
        _ path: String?, _ configuration: TrainingConfiguration, _ executor: any NetworkExecutor, resume: Bool = false,
        stopAt: Int? = nil, teacherSeed: UInt64 = 8
    ) throws -> TrainingResult {
        let folder = try path.map { try RunFolder($0, existing: resume ? .resume : .refuse) }
        var asked = 0
        func teacher(_ seed: UInt64) -> Trainer.Teacher { .init(network: network, state: network.initialState(seed: seed)) }
        return try Trainer(
            configuration: configuration, executor: executor, dataset: bandData(), network: network,
            teachers: ["a": teacher(7), "b": teacher(teacherSeed)], folder: folder, resuming: folder?.resumption(),
            shouldStop: {
                asked += 1
                return stopAt.map { asked > $0 } ?? false
            }
        ).run()
    }

    @Test("a run with terms and teachers resumes to the last bit, and its records name every term")
    func resumes() throws {
        let temporary = TemporaryFolder()
        let whole = try train(temporary.path + "/whole", configuration(), ReferenceExecutor())
        for moment in [1, 5, 9] {
            let path = "\(temporary.path)/at\(moment)"
            #expect(try train(path, configuration(), ReferenceExecutor(), stopAt: moment).interrupted)
            let resumed = try train(path, configuration(), ReferenceExecutor(), resume: true)
            #expect(resumed.lastState == whole.lastState && resumed.epochs.map(\.trainLoss) == whole.epochs.map(\.trainLoss))
        }
        let names = try configuration().objective.termNames
        let steps = try RunMetrics(temporary.path + "/whole").steps
        #expect(steps.allSatisfy { Set($0.terms.keys) == Set(names) } && names.contains("main@b.mcd"))
        let weights = try configuration().objective
        for step in steps {
            let factors = weights.at(epoch: step.epoch).components.flatMap { part in
                part.method.termWeights(warmup: part.warmup).map { part.weight * $0 }
            }
            let sum = zip(names, factors).reduce(0) { $0 + (step.terms[$1.0] ?? .nan) * $1.1 }
            #expect(abs(sum - step.loss) < 1e-12 * max(1, abs(sum)))
        }
        #expect(try String(contentsOfFile: temporary.path + "/whole/metrics.csv", encoding: .utf8).contains(",term_soft.kd"))
        let values = try configuration().values
        #expect(values["terms.soft.weight"] == "0.5" && values["method.id"] == nil)
    }

    @Test("another teacher, term or weight on resume is refused unless it is named")
    func changed() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        _ = try train(path, configuration(), FakeExecutor(), stopAt: 6)
        let text = inputErrorText { _ = try train(path, configuration(), FakeExecutor(), resume: true, teacherSeed: 9) }
        #expect(text.contains("teacher: is another than the run began with") && text.contains("--allow-change"), "\(text)")
        func merge(_ assignments: [String], allowing: [String] = []) throws -> TrainingConfiguration {
            var reader = ConfigurationReader()
            for (key, value) in try configuration().values where key.hasPrefix("te") { try reader.set(key, to: value) }
            for assignment in assignments { try reader.set(assignment: assignment) }
            let folder = try RunFolder(path, existing: .resume)
            defer { folder.close() }
            var resumption = try #require(try folder.resumption())
            return try resumption.merge(reader.finish().configuration, keys: reader.givenKeys, allowing: allowing)
        }
        #expect(try merge([]).terms == configuration().terms)
        #expect(
            inputErrorText { _ = try merge(["terms.soft.weight=2"]) }.contains("terms.soft.weight is 0.5 in the run and 2 now"))
        #expect(try merge(["terms.soft.weight=2"], allowing: ["terms.soft"]).terms[1].weight == 2)
        #expect(inputErrorText { _ = try merge(["terms.new.method=ce"]) }.contains("terms.new.method is not set in the run"))
        #expect(try merge(["terms.new.method=ce"], allowing: ["terms"]).terms.map(\.name) == ["main", "new", "soft"])
    }

    @Test("terms that change on a resume get their columns beside the old ones, and a kill at any moment of that loses no row")
    func changedColumns() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        func table() throws -> [[String: String]] {
            let rows = try String(contentsOfFile: path + "/metrics.csv", encoding: .utf8).split(separator: "\n")
                .map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
            #expect(rows.allSatisfy { $0.count == rows[0].count })
            return rows.dropFirst().map { row in
                Dictionary(uniqueKeysWithValues: zip(rows[0], row).filter { !$0.1.isEmpty })
            }
        }
        func lines() throws -> Int {
            try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").count
        }
        var old = try configuration()
        old.checkpointEvery = 0
        // Four steps of an epoch, two readings, two batches to validate: left after the first step of the second epoch.
        #expect(try train(path, old, FakeExecutor(), stopAt: 7).interrupted)
        let before = try table()
        #expect(before.count == 3 && before[0]["term_soft.kd"] != nil && before[0]["term_new.ce"] == nil)

        var changed = old
        changed.terms = [
            TermSettings(name: "main", method: old.terms[0].method),
            TermSettings(name: "new", method: .crossEntropy(CrossEntropy())),
        ]
        func resume(dying: Bool) throws {
            let executor = FakeExecutor()
            // The end of the epoch: a row was written by then, no checkpoint.
            if dying { executor.nonFiniteStep = 3 }
            let folder = try RunFolder(path, existing: .resume)
            var resumption = try #require(try folder.resumption())
            resumption.allowed = ["terms"]
            func teacher(_ seed: UInt64) -> Trainer.Teacher { .init(network: network, state: network.initialState(seed: seed)) }
            _ = try Trainer(
                configuration: changed, executor: executor, dataset: bandData(), network: network,
                teachers: ["a": teacher(7), "b": teacher(8)], folder: folder, resuming: resumption
            ).run()
        }
        #expect(throws: TrainingError.self) { try resume(dying: true) }
        let header = try String(contentsOfFile: path + "/metrics.csv", encoding: .utf8).split(separator: "\n")[0]
        #expect(header.hasSuffix("term_soft.kd,term_new.ce"), "\(header)")
        #expect(try table().count == 4 && Array(table().prefix(3)) == before)
        // A row that a kill cut off.
        let handle = try #require(FileHandle(forWritingAtPath: path + "/metrics.csv"))
        handle.seekToEndOfFile()
        handle.write(Data("step,2,9".utf8))
        try handle.close()
        try resume(dying: false)
        let (rows, count) = (try table(), try lines())
        #expect(rows.count == count && Array(rows.prefix(3)) == before, "\(rows.count) rows, \(count) lines")
        #expect(rows.last { $0["kind"] == "step" }?["term_new.ce"] != nil)
        #expect(rows.last { $0["kind"] == "step" }?["term_soft.kd"] == nil)
        #expect(rows.filter { $0["kind"] == "epoch" }.map { $0["epoch"] } == ["1", "2", "3"])
        let metrics = try RunMetrics(path)
        #expect(metrics.epochs.map { Set($0.terms.keys).contains("new.ce") } == [false, true, true])
    }

    @Test("the cache holds the logits of every teacher; with all of them in it, none is asked")
    func cached() throws {
        let temporary = TemporaryFolder()
        var recipe = try configuration(cache: temporary.path)
        recipe.teacherCacheDraws = 1
        let first = FakeExecutor()
        _ = try train(nil, recipe, first)
        // 60 images less 20 for validation, or the 40 beyond the limit: in batches of 16, each teacher once.
        #expect(first.teacherCalls == 2 * first.trainCalls.count / 3 && first.teachers.count == 2)
        #expect(first.trainCalls.allSatisfy { $0.batch.teacherLogits[0] != $0.batch.teacherLogits[1] })
        let second = FakeExecutor()
        recipe.seed = 5
        _ = try train(nil, recipe, second)
        #expect(second.teacherCalls == 0 && second.teachers.isEmpty)
        #expect(second.trainCalls.allSatisfy { $0.batch.teacherLogits.count == 2 })
        // A new teacher is asked, the other is not.
        let third = FakeExecutor()
        _ = try train(nil, recipe, third, teacherSeed: 77)
        #expect(third.teacherCalls == first.teacherCalls / 2 && third.teachers.count == 1)
    }
}
