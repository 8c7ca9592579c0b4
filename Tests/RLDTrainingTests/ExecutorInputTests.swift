import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// What executors refuse, the reference and a device with the same words: they must neither trap nor compute something else.
@Suite("Inputs of executors") struct ExecutorInputTests {
    struct Maker: Sendable, CustomTestStringConvertible {
        let testDescription: String
        let make: @Sendable () throws -> any NetworkExecutor
    }

    static let makers =
        [Maker(testDescription: "reference") { ReferenceExecutor() }]
        + (TestDevice.enabled
            ? TestDevice.profiles.map { profile in
                Maker(testDescription: profile.rawValue) {
                    try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile))
                }
            } : [])

    private static let table = ImageTable(
        channels: 2, height: 4, width: 4, pixels: (0..<4 * 32).map { UInt8($0 * 37 % 256) }, labels: [0, 1, 2, 1],
        classNames: ["a", "b", "c"])
    private static let network = Network("small", input: [2, 4, 4]) { net, x in
        net.linear(net.globalAveragePool(net.batchNorm(net.convolution(x, 3, kernel: 3, name: "c"), name: "n")), 3, name: "fc")
    }

    private func prepared(_ make: Maker, _ table: ImageTable = Self.table) throws -> any NetworkExecutor {
        let executor = try make.make()
        try executor.load(table, as: "train", staged: false)
        try executor.prepareStudent(Self.network, state: Self.network.initialState(seed: 1))
        return executor
    }

    private func batch(
        _ indices: [Int] = [0, 1, 2], channels: Int = 2, deviations: Int = 2, change: (inout BatchSelection) -> Void = { _ in }
    ) -> BatchSelection {
        var batch = BatchSelection(
            table: "train", indices: indices,
            transform: ImageTransform(
                mean: Array(repeating: 0.5, count: channels), deviation: Array(repeating: 0.25, count: deviations)))
        change(&batch)
        return batch
    }

    private func message(_ executor: any NetworkExecutor, _ batch: BatchSelection) -> String {
        do {
            try executor.trainStep(batch, method: Method.defaults[0], warmup: 1, optimizer: SGD(learningRate: 0.1))
            return "none"
        } catch { return "\(error)" }
    }

    @Test(arguments: makers) func batchesThatCannotBeAreRefused(_ make: Maker) throws {
        let executor = try prepared(make)
        #expect(message(executor, batch([0, 4])).contains("batch: image index 4 is outside 0..<4"))
        #expect(message(executor, batch([-1])).contains("image index -1"))
        #expect(message(executor, batch([])).contains("batch: has no images"))
        #expect(
            message(executor, batch(channels: 1)).contains(
                "normalisation: has means of 1 channels and deviations of 2, the images have 2"))
        #expect(message(executor, batch(deviations: 3)).contains("has means of 2 channels and deviations of 3"))
        #expect(message(executor, batch { $0.transform.size = 6 }).contains("images: are [2, 6, 6], the network takes [2, 4, 4]"))
        #expect(try executor.studentState() == Self.network.initialState(seed: 1), "nothing was trained")
        #expect(message(executor, batch()) == "none")
    }

    /// Images that stay in their files have no pixels here unless each batch brings its own.
    @Test(arguments: makers) func streamsMustBeStaged(_ make: Maker) throws {
        let stream = ImageStream(contentHash: "x", histograms: []) { _ in Array(repeating: 7, count: 32) }
        let table = ImageTable(
            channels: 2, height: 4, width: 4, stream: stream, labels: [0, 1, 2], classNames: ["a", "b", "c"])
        let executor = try prepared(make)
        let error = #expect(throws: InputError.self) { try executor.load(table, as: "train", staged: false) }
        #expect(error?.description.contains("image table 'train': stays in its files") == true)
        let empty = ImageTable(channels: 2, height: 4, width: 4, pixels: [], labels: [], classNames: ["a", "b", "c"])
        let another = #expect(throws: InputError.self) { try executor.load(empty, as: "train", staged: false) }
        #expect(another?.description.contains("image table 'train': is empty") == true)
        try executor.load(table, as: "train", staged: true)
        #expect(message(executor, batch()).contains("brings 0 bytes of pixels, needed are 96"))
        #expect(message(executor, batch { $0.pixels = Array(repeating: 7, count: 96) }) == "none")
    }

    /// The same number of values in another order of extents is another image.
    @Test(arguments: makers) func imagesOfAnotherShapeAreRefused(_ make: Maker) throws {
        let executor = try prepared(make)
        for shape in [[1, 4, 4, 2], [2, 4, 4], [0, 2, 4, 4], []] {
            let images = Tensor(shape: shape, repeating: 0)
            let error = #expect(throws: InputError.self) { try executor.studentLogits(images) }
            #expect(error?.description.contains("images: have shape \(shape), the network takes [N] + [2, 4, 4]") == true)
            #expect(throws: InputError.self) { try executor.studentFeatures(images, named: []) }
        }
        #expect(try executor.studentLogits(Tensor(shape: [2, 2, 4, 4], repeating: 0)).shape == [2, 3])
    }

    /// Sums of one method's terms cannot go on with another's.
    @Test(arguments: makers) func metricsOfAnotherMethodMustBeTaken(_ make: Maker) throws {
        let executor = try prepared(make)
        try executor.prepareTeacher(Self.network, state: Self.network.initialState(seed: 2))
        func step(_ id: String) throws {
            try executor.trainStep(
                batch(), method: try Method.make(id: id).method, warmup: 1, optimizer: SGD(learningRate: 0.1))
        }
        try step("rld")
        let error = #expect(throws: InputError.self) { try executor.evaluateStep(batch()) }
        #expect(error?.description.contains("metrics: of rld have not been taken; call takeMetrics") == true)
        #expect(throws: InputError.self) { try step("kd") }
        try step("rld")
        #expect(try executor.takeMetrics().termSums.count == 3)
        try executor.evaluateStep(batch())
        #expect(try executor.takeMetrics().termSums.count == 1)
        try step("kd")
    }

    /// A teacher that sees other images or knows other classes, and logits that are not one per row and class.
    @Test(arguments: makers) func teachersMustFit(_ make: Maker) throws {
        let executor = try prepared(make)
        func step(_ change: (inout BatchSelection) -> Void = { _ in }) -> String {
            var batch = batch()
            change(&batch)
            do {
                try executor.trainStep(
                    batch, method: try Method.make(id: "rld").method, warmup: 1, optimizer: SGD(learningRate: 0.1))
                return "none"
            } catch { return "\(error)" }
        }
        #expect(step().contains("teacher: is not prepared; prepare it before the first step"))
        let other = Network("other", input: [2, 4, 4]) { net, x in net.linear(net.globalAveragePool(x), 4, name: "fc") }
        try executor.prepareTeacher(other, state: other.initialState(seed: 2))
        #expect(step().contains("teacher other: maps [2, 4, 4] to 4 classes, the student [2, 4, 4] to 3"))
        #expect(
            step { $0.teacherLogits = [0: Array(repeating: 1, count: 8)] }
                .contains("teacher logits: are 8 values for 3 rows of 3 classes"))
        #expect(step { $0.teacherLogits = [0: Array(repeating: 1, count: 9)] } == "none")
    }

    @Test(arguments: makers) func whatAnOptimizerRemembersMustFit(_ make: Maker) throws {
        let executor = try prepared(make)
        #expect(message(executor, batch()) == "none")
        let good = try executor.trainingState()
        func refused(_ change: (inout NetworkState) -> Void) -> String {
            var state = good
            var slot = state.slots["momentum"] ?? NetworkState()
            change(&slot)
            state.slots["momentum"] = slot
            do {
                try executor.restore(state)
                return "none"
            } catch { return "\(error)" }
        }
        #expect(
            refused { $0["fc.bias"] = Tensor(shape: [2], repeating: 0) }.contains(
                "momentum: fc.bias: expected shape [3], found [2]"))
        #expect(refused { $0["fc.scale"] = Tensor(shape: [3], repeating: 0) }.contains("momentum: unexpected fc.scale"))
        #expect(refused { $0["fc.bias"] = nil } == "none", "what is absent starts from 0")
        var other = good
        other.slots["momentun"] = other.slots["momentum"]
        let error = #expect(throws: InputError.self) { try executor.restore(other) }
        #expect(error?.description.contains("did you mean 'momentum'?") == true)
        try executor.restore(good)
        #expect(try executor.trainingState() == good)
    }

    /// A layer that the output does not read has no gradient, and stays as it is whatever the update does.
    @Test(arguments: makers) func layersThatNothingReadsStay(_ make: Maker) throws {
        let network = Network("aside", input: [2, 4, 4]) { net, x in
            _ = net.convolution(x, 3, kernel: 1, name: "aside")
            return net.linear(net.globalAveragePool(x), 3, name: "fc")
        }
        let executor = try make.make()
        try executor.load(Self.table, as: "train", staged: false)
        let fresh = network.initialState(seed: 1)
        try executor.prepareStudent(network, state: fresh)
        var rule = UpdateRule(.sgd(SGD(learningRate: 0.1, weightDecay: 0.1)), clipNorm: 1, averageDecay: 0.9)
        rule.accumulation = 2
        for (begins, ends) in [(true, false), (false, true)] {
            try executor.trainStep(
                batch(), method: Method.defaults[0], warmup: 1,
                update: ParameterUpdate(rule, number: 1, share: 0.5, begins: begins, ends: ends))
            let state = try executor.trainingState()
            #expect(state.weights["aside.weight"] == fresh["aside.weight"])
            #expect((state.weights["fc.weight"] != fresh["fc.weight"]) == ends)
        }
    }

    /// A network without any parameter that its output reads has nothing to train, and trains.
    @Test(arguments: makers) func nothingToTrainIsNoError(_ make: Maker) throws {
        let network = Network("still", input: [2, 4, 4]) { net, x in
            _ = net.convolution(x, 3, kernel: 1, name: "aside")
            return net.globalAveragePool(x)
        }
        let executor = try make.make()
        var table = Self.table
        (table.labels, table.classNames) = ([0, 1, 0, 1], ["a", "b"])
        try executor.load(table, as: "train", staged: false)
        try executor.prepareStudent(network, state: network.initialState(seed: 1))
        let rule = UpdateRule(.sgd(SGD(learningRate: 0.1, weightDecay: 0.1)), clipNorm: 1, averageDecay: 0.9)
        try executor.trainStep(
            batch([0, 1, 3]), method: Method.defaults[0], warmup: 1, update: ParameterUpdate(rule, number: 1))
        #expect(try executor.takeMetrics().rows == 3)
        #expect(try executor.studentState() == network.initialState(seed: 1))
    }

    /// A table's labels are its classes; -100 is none, whatever losses on stored logits take it for.
    @Test(arguments: makers, [-100, -1, 3] as [Int32]) func labelsOfATableAreItsClasses(_ make: Maker, label: Int32) throws {
        var table = Self.table
        table.labels[1] = label
        let error = #expect(throws: InputError.self) { try make.make().load(table, as: "train", staged: false) }
        #expect(error?.description == "image table 'train': image 1 has label \(label), expected 0..<3")
    }

    /// What a network has no logit for would be nan.
    @Test(arguments: makers) func classesMustFit(_ make: Maker) throws {
        var table = Self.table
        table.classNames += ["d"]
        let executor = try prepared(make, table)
        #expect(message(executor, batch()).contains("images: have 4 classes, the network 3"))
        let image = Network("image", input: [2, 4, 4]) { net, x in net.convolution(x, 3, kernel: 3, name: "c") }
        for prepare in [executor.prepareStudent, { try executor.prepareTeacher($0, state: $1) }] {
            let error = #expect(throws: InputError.self) { try prepare(image, image.initialState(seed: 1)) }
            #expect(error?.description == "network image: gives [3, 4, 4] per image; expected [classes]")
        }
    }

    /// Numbers that would trap, or be computed with in silence.
    @Test(arguments: makers) func numbersThatCannotBeAreRefused(_ make: Maker) throws {
        let executor = try prepared(make)
        let changes: [(String, (inout BatchSelection) -> Void)] = [
            ("batch: is of epoch -1", { $0.epoch = -1 }),
            ("batch: labelSmoothing is 3.0", { $0.labelSmoothing = 3 }),
            ("batch: labelSmoothing is nan", { $0.labelSmoothing = .nan }),
            ("mixing: has the box [1]", { $0.mixing = BatchMixing(share: 0.5, box: [1]) }),
            ("mixing: has the box [0, 0, 5, 1]", { $0.mixing = BatchMixing(share: 0.5, box: [0, 0, 5, 1]) }),
            ("mixing: has the box [\(Int.max), 0, 1, 1]", { $0.mixing = BatchMixing(share: 0.5, box: [.max, 0, 1, 1]) }),
            ("mixing: has a share of 7.0", { $0.mixing = BatchMixing(share: 7) }),
            ("transform: resizedCrop is nan", { $0.transform.resizedCrop = .nan }),
            ("transform: resizedCrop is 2.0", { $0.transform.resizedCrop = 2 }),
            ("transform: cropPadding is -1", { $0.transform.cropPadding = -1 }),
            ("transform: cropPadding is \(1 << 40)", { $0.transform.cropPadding = 1 << 40 }),
            ("transform: brightness is -1.0", { $0.transform.brightness = -1 }),
            ("transform: centreCrop is 0.0", { $0.transform.centreCrop = 0 }),
            ("normalisation: of channel 1 is by mean 0.5 and deviation 0.0", { $0.transform.deviation[1] = 0 }),
            ("normalisation: of channel 0 is by mean nan", { $0.transform.mean[0] = .nan }),
        ]
        for (problem, change) in changes {
            let found = message(executor, batch(change: change))
            #expect(found.contains(problem), "\(found)")
        }
        #expect(try executor.studentState() == Self.network.initialState(seed: 1), "nothing was trained")
        for size in [0, -4] {
            let plan = #expect(throws: InputError.self) {
                try executor.prepareSteps(training: [size], evaluation: [], method: Method.defaults[0])
            }
            let pass = #expect(throws: InputError.self) {
                try executor.evaluate(table: "train", rows: [0], transform: batch().transform, batchSize: size)
            }
            for error in [plan, pass] { #expect(error?.description == "batch size: is \(size), expected at least 1") }
        }
    }

    /// Objectives and updates that would leave nan weights, or move them by what an earlier step left.
    @Test(arguments: makers) func stepsThatCannotBeAreRefused(_ make: Maker) throws {
        let executor = try prepared(make)
        var flat = KnowledgeDistillation()
        flat.temperature = 0
        let sgd = UpdateRule(.sgd(SGD(learningRate: 0.1)))
        let entropy = Objective(Method.defaults[0])
        func update(_ change: (inout ParameterUpdate) -> Void) -> ParameterUpdate {
            var update = ParameterUpdate(sgd, number: 1)
            change(&update)
            return update
        }
        let adamW = UpdateRule(.adamW(AdamW(learningRate: 0.1)))
        let cases: [(String, Objective, ParameterUpdate)] = [
            ("objective: has no components", Objective(components: []), update { _ in }),
            ("temperature", Objective(.knowledgeDistillation(flat)), update { _ in }),
            ("warm-up factor: must be", Objective(Method.defaults[0], warmup: -1), update { _ in }),
            ("scale: must be finite", Objective(components: [.init(Method.defaults[0], weight: .nan)]), update { _ in }),
            ("weight of component ''", Objective(components: [.init(Method.defaults[0], weight: -1)]), update { _ in }),
            ("update: has the number 0", entropy, update { ($0.rule, $0.number) = (adamW, 0) }),
            ("update: takes a share of inf", entropy, update { $0.share = .infinity }),
            ("optimizer: learning rate is nan", entropy, update { $0.rule.optimizer = .sgd(SGD(learningRate: .nan)) }),
            ("optimizer: momentum is 1.0", entropy, update { $0.rule.optimizer = .sgd(SGD(learningRate: 1, momentum: 1)) }),
            ("optimizer: beta2 is 1.5", entropy, update { $0.rule.optimizer = .adamW(AdamW(learningRate: 1, beta2: 1.5)) }),
            ("optimizer: clip norm is -1.0", entropy, update { $0.rule.clipNorm = -1 }),
            ("optimizer: average decay is 1.0", entropy, update { $0.rule.averageDecay = 1 }),
            ("optimizer: accumulation is 0", entropy, update { $0.rule.accumulation = 0 }),
        ]
        for (problem, objective, update) in cases {
            let error = #expect(throws: InputError.self) { try executor.trainStep(batch(), objective: objective, update: update) }
            #expect(error?.description.contains(problem) == true, "\(error?.description ?? "")")
        }
        #expect(try executor.studentState() == Self.network.initialState(seed: 1), "nothing was trained")
        #expect(message(executor, batch()) == "none")
    }

    /// A student is not evaluated into what it was trained on, by whatever method.
    @Test(arguments: makers) func evaluationsHaveSumsOfTheirOwn(_ make: Maker) throws {
        let executor = try prepared(make)
        #expect(throws: InputError.self) { try executor.lastEvaluated(rows: 2) }
        #expect(message(executor, batch()) == "none")
        let trained = try executor.trainingState()
        let error = #expect(throws: InputError.self) {
            try executor.evaluate(table: "train", rows: [0, 1], transform: batch().transform, batchSize: 2)
        }
        #expect(error?.description.contains("metrics: of ce have not been taken; call takeMetrics") == true)
        #expect(try executor.takeMetrics().rows == 3)
        #expect(try executor.evaluate(table: "train", rows: [0, 1], transform: batch().transform, batchSize: 2).rows == 2)
        #expect(try executor.lastEvaluated(rows: 2).count == 2)
        let rows = #expect(throws: InputError.self) { try executor.lastEvaluated(rows: 3) }
        #expect(rows?.description == "rows: 3 of the last evaluation step; it had 2")
        try executor.evaluateStep(batch())
        #expect(message(executor, batch()).contains("metrics: of an evaluation have not been taken"))
        #expect(try executor.trainingState() == trained, "a step that is refused changes nothing")
    }

    @Test func backwardNeedsAForward() throws {
        let network = try ReferenceNetwork(Self.network, state: Self.network.initialState(seed: 1))
        let error = #expect(throws: InputError.self) { try network.backward([0, 0, 0]) }
        #expect(error?.description.contains("run forward first") == true)
    }
}
