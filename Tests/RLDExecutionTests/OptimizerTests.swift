import Foundation
import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// The optimisers by their definitions, on one weight with a known gradient: the variants that other tools call SGD differ in
/// the second or third step, when the learning rate changes.
@Suite("Optimisers") struct OptimizerTests {
    /// y = w x with x = 1 and d loss / d y = gradient: the weight's gradient is what we say.
    private func run(_ updates: [(update: ParameterUpdate, gradient: Double)]) throws -> Double {
        let network = Network("line", input: [1]) { net, x in net.linear(x, 1, bias: false, name: "fc") }
        var state = NetworkState()
        state["fc.weight"] = Tensor(shape: [1, 1], values: [2])
        let reference = try ReferenceNetwork(network, state: state)
        let updater = ReferenceUpdater()
        for (update, gradient) in updates {
            _ = try reference.forward([1], batch: 1, training: true)
            try reference.backward([gradient])
            _ = updater.apply(update, to: reference)
        }
        return try #require(reference.state["fc.weight"]).values[0]
    }

    private func sgd(_ steps: [(learningRate: Double, gradient: Double)], nesterov: Bool = false) throws -> Double {
        try run(
            steps.enumerated().map { index, step in
                let sgd = SGD(learningRate: step.learningRate, momentum: 0.9, weightDecay: 0.1, nesterov: nesterov)
                return (ParameterUpdate(UpdateRule(.sgd(sgd)), number: index + 1), step.gradient)
            })
    }

    @Test func momentumAcrossALearningRateStep() throws {
        // d1 = 1 + 0.1 * 2 = 1.2; v1 = 1.2; w1 = 2 - 0.5 * 1.2 = 1.4
        // d2 = -1 + 0.14 = -0.86; v2 = 1.08 - 0.86 = 0.22; w2 = 1.4 - 0.05 * 0.22 = 1.389
        expectClose(try sgd([(0.5, 1), (0.05, -1)]), 1.389, .host)
    }

    @Test func nesterov() throws {
        // d1 = 1.2, v1 = 1.2: w1 = 2 - 0.5 * (1.2 + 0.9 * 1.2) = 0.86
        // d2 = -1 + 0.086 = -0.914; v2 = 1.08 - 0.914 = 0.166; w2 = 0.86 - 0.05 * (-0.914 + 0.9 * 0.166) = 0.89823
        expectClose(try sgd([(0.5, 1), (0.05, -1)], nesterov: true), 0.89823, .host)
    }

    @Test func adamW() throws {
        // beta1 0.5, beta2 0.75, epsilon 0.1, decay 0.2, rates 0.1 and 0.05, gradients 1 and -2.
        // t = 1: p = 2 (1 - 0.02) = 1.96; m = 0.5, v = 0.25; m / 0.5 = 1, sqrt(0.25) / sqrt(0.25) = 1; p -= 0.1 / 1.1
        // t = 2: p *= 0.99; m = 0.25 - 1 = -0.75, v = 0.1875 + 1 = 1.1875; m / 0.75 = -1;
        //        sqrt(1.1875 / 0.4375) = 1.6475089...; p += 0.05 / (1.6475089... + 0.1)
        let first = 1.96 - 0.1 / 1.1
        let expected = first * 0.99 + 0.05 / ((1.1875 / 0.4375).squareRoot() + 0.1)
        let found = try run(
            [(0.1, 1.0), (0.05, -2.0)].enumerated().map { index, step in
                let adam = AdamW(learningRate: step.0, beta1: 0.5, beta2: 0.75, epsilon: 0.1, weightDecay: 0.2)
                return (ParameterUpdate(UpdateRule(.adamW(adam)), number: index + 1), step.1)
            })
        expectClose(found, expected, .host)
    }

    @Test func accumulationAndClipping() throws {
        // Shares 3/4 and 1/4 of gradients 4 and -8: 3 - 2 = 1, clipped to length 0.5, less 1e-6; two updates without momentum.
        let rule = UpdateRule(.sgd(SGD(learningRate: 1, momentum: 0)), clipNorm: 0.5, accumulation: 2)
        func pair(_ number: Int) -> [(update: ParameterUpdate, gradient: Double)] {
            [
                (ParameterUpdate(rule, number: number, share: 0.75, begins: true, ends: false), 4),
                (ParameterUpdate(rule, number: number, share: 0.25, begins: false, ends: true), -8),
            ]
        }
        expectClose(try run(pair(1) + pair(2)), 2 - 2 * 0.5 / (1 + 1e-6), .host)
        // A short gradient stays as it is.
        let short = UpdateRule(.sgd(SGD(learningRate: 1, momentum: 0)), clipNorm: 5)
        expectClose(try run([(ParameterUpdate(short, number: 1), 1)]), 1, .host)
    }

    @Test(
        "a device does what the reference does: each optimiser, clipping, accumulation, the average, soft targets",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"), arguments: TestDevice.profiles)
    func device(profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let checks = DeviceChecks.trainingChecks(tiny: false, engine: engine)
        for word in ["AdamW", "batch"] {
            let chosen = checks.filter { $0.name.contains(word) }
            #expect(!chosen.isEmpty, "no check of \(word)")
            for check in chosen {
                let result = try check.run(engine)
                #expect(result.passed, "\(result)")
            }
        }
    }

    @Test(
        "what a device's optimiser remembers comes back to the last bit, the average too",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func deviceState() throws {
        let network = Network("small", input: [1, 4, 4]) { net, x in
            let y = net.relu(net.batchNorm(net.convolution(x, 3, kernel: 3, name: "c"), name: "bn"))
            return net.linear(net.globalAveragePool(y), 3, name: "fc")
        }
        let table = ImageTable(
            channels: 1, height: 4, width: 4, pixels: (0..<12 * 16).map { UInt8($0 * 37 % 256) }, labels: (0..<12).map { $0 % 3 },
            classNames: ["a", "b", "c"])
        let rule = UpdateRule(.adamW(AdamW(learningRate: 0.01)), averageDecay: 0.99, accumulation: 2)
        func step(_ executor: any NetworkExecutor, _ index: Int) throws {
            let first = index % 2 * 6
            try executor.trainStep(
                BatchSelection(
                    table: "t", indices: Array(first..<(first + 6)),
                    transform: ImageTransform(mean: [0.5], deviation: [0.2]), epoch: index),
                method: .crossEntropy(CrossEntropy()), warmup: 1,
                update: ParameterUpdate(rule, number: index / 2 + 1, share: 0.5, begins: index % 2 == 0, ends: index % 2 == 1))
        }
        func fresh() throws -> DeviceExecutor {
            let executor = try DeviceExecutor(TestDevice.device())
            try executor.load(table, as: "t")
            try executor.prepareStudent(network, state: network.initialState(seed: 2))
            try executor.prepareUpdates(rule)
            return executor
        }
        let whole = try fresh()
        for index in 0..<8 { try step(whole, index) }
        // Left in the middle of an update.
        let left = try fresh()
        for index in 0..<5 { try step(left, index) }
        let state = try left.trainingState()
        #expect(state.slots.keys.sorted() == ["accumulated", "average", "first_moment", "second_moment"])
        let resumed = try fresh()
        try step(resumed, 0)
        try resumed.restore(state)
        for index in 5..<8 { try step(resumed, index) }
        #expect(try resumed.trainingState() == whole.trainingState())
        let before = try whole.studentState()
        try whole.exchangeWithAverage()
        #expect(try whole.studentState() != before)
        try whole.exchangeWithAverage()
        #expect(try whole.studentState() == before)
    }
}

/// A moving average that nothing prepared, as in a resumed run that asks for one anew.
struct LateAverageTests {
    private static let network = Network("line", input: [1, 1, 1]) { net, x in net.linear(net.flatten(x), 3, name: "fc") }

    /// The average and the weights after one update, and what is asked of the executor before it.
    private func step(_ executor: any NetworkExecutor, prepared: Bool) throws -> TrainingState {
        let table = ImageTable(
            channels: 1, height: 1, width: 1, pixels: [40, 200, 120], labels: [0, 1, 2], classNames: ["a", "b", "c"])
        let rule = UpdateRule(.sgd(SGD(learningRate: 0.5)), averageDecay: 0.9)
        try executor.load(table, as: "t")
        try executor.prepareStudent(Self.network, state: Self.network.initialState(seed: 4))
        if prepared { try executor.prepareUpdates(rule) }
        try executor.trainStep(
            BatchSelection(table: "t", indices: [0, 1, 2], transform: ImageTransform(mean: [0.5], deviation: [0.2])),
            method: .crossEntropy(CrossEntropy()), warmup: 1, update: ParameterUpdate(rule, number: 1))
        return try executor.trainingState()
    }

    private func check(_ executor: () throws -> any NetworkExecutor, _ bound: Bound) throws {
        let late = try step(executor(), prepared: false)
        #expect(try late == step(executor(), prepared: true))
        let (start, average) = (Self.network.initialState(seed: 4), try #require(late.slots["average"]))
        // d of the first update: 2 / 11.
        for name in start.names {
            let (before, after) = (try #require(start[name]).values, try #require(late.weights[name]).values)
            #expect(before != after)
            expectClose(
                try #require(average[name]).values, zip(before, after).map { (2 * $0 + 9 * $1) / 11 }, bound, name)
        }
    }

    @Test("begins with the weights before the update, on the reference") func reference() throws {
        try check({ ReferenceExecutor() }, .host)
    }

    @Test(
        "begins with the weights before the update, on a device, without waiting for it",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func device() throws {
        try check({ try DeviceExecutor(TestDevice.device()) }, .relative(1e-6, absolute: 1e-7))
        let engine = try DeviceEngine(TestDevice.device())
        let network = Self.network
        let store = try ParameterStore(network, engine: engine, trainable: true, needsInputGradient: [])
        try store.load(network.initialState(seed: 4))
        let waits = engine.context.counters.hostSynchronisations
        try store.apply(ParameterUpdate(UpdateRule(.sgd(SGD(learningRate: 0.5)), averageDecay: 0.9), number: 1))
        #expect(engine.context.counters.hostSynchronisations == waits)
    }
}

/// Cross-entropy with soft targets against its definition.
struct SoftTargetTests {
    @Test func definition() throws {
        let logits = [1.0, -0.5, 2, 0.25, 0, 3]
        let labels: [Int32] = [0, 2]
        for (smoothing, share) in [(0.1, 1.0), (0, 0.7), (0.2, 0.6)] {
            var batch = BatchSelection(table: "", indices: [0, 1], transform: ImageTransform(mean: [], deviation: []))
            batch.labelSmoothing = smoothing
            batch.mixing = share < 1 ? BatchMixing(share: share) : nil
            let method = Method.crossEntropy(CrossEntropy(weight: 0.5))
            var result = try ReferenceLoss.evaluate(method, student: logits, teacher: nil, labels: labels, classes: 3)
            result.soften(batch, method: method, warmup: 1, logits: logits, labels: labels)
            var expected = 0.0
            var gradient: [Double] = []
            for row in 0..<2 {
                let z = Array(logits[row * 3..<row * 3 + 3])
                let sum = z.map { exp($0) }.reduce(0, +)
                for i in 0..<3 {
                    let own = i == Int(labels[row]) ? share : 0
                    let other = i == Int(labels[1 - row]) ? 1 - share : 0
                    let target = (1 - smoothing) * (own + other) + smoothing / 3
                    expected -= target * log(exp(z[i]) / sum) / 2
                    gradient.append(0.5 * (exp(z[i]) / sum - target) / 2)
                }
            }
            expectClose(result.terms[0], expected, .host)
            expectClose(result.total, 0.5 * expected, .host)
            expectClose(result.gradient, gradient, .host)
        }
    }
}
