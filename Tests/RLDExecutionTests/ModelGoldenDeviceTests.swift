import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import TestSupport
import Testing

/// The authors' numbers against the device, in both kernel profiles.
@Suite("Model goldens on a device", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct ModelGoldenDeviceTests {
    static let ids = [
        "resnet20", "resnet8x4", "wrn_16_2", "wrn_40_2", "vgg8", "MobileNetV2", "ShuffleV2", "ResNet50", "imagenet_ResNet18",
    ]

    /// All networks on the cpu kernels; on the gpu kernels, which are slow on a CPU, one of each family.
    static let steps: [(id: String, profile: KernelProfile)] =
        (ids.dropLast().map { ($0, .cpu) }
        + ["resnet8x4", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV2", "ResNet50"].map { ($0, .gpu) })
        .filter { TestDevice.profiles.contains($0.profile) }

    @Test(arguments: ids, TestDevice.profiles) func evaluation(id: String, profile: KernelProfile) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let images = try golden.evaluationImages().values
        let batch = images.count / golden.input.reduce(1, *)
        let tolerance = ModelTolerance.float32(id)
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)

        // As a student (running statistics), as a folded teacher, and unfused with every feature visible.
        for role in [DeviceNetwork.Role.student, .teacher] {
            let plan = try DeviceNetwork(network, state: state, role: role, engine: engine).plan(batch: batch, mode: .inference)
            try plan.write(images)
            try plan.forward()
            try golden.expectLogits(try engine.read(plan.output), tolerance)
        }
        let store = try ParameterStore(network, engine: engine, trainable: false, needsInputGradient: [])
        try store.load(state)
        let plan = try NetworkPlan(network, store: store, batch: batch, mode: .inference, keeping: Set(network.features.values))
        try plan.write(images)
        try plan.forward()
        try golden.expectLogits(try engine.read(plan.output), tolerance)
        for (name, node) in network.features { try golden.expectFeature(name, try plan.value(of: node), tolerance) }
    }

    /// One step against the golden, and its backward pass against the reference that follows the device's rectified values.
    ///
    /// A rectifier whose input is 0 within rounding may fall on the other side than in the golden, and with it a share of all
    /// gradients before it: 3e-2 is allowed for that. Following the device, the reference has the same signs, and
    /// every gradient of every network agrees to 1e-4 of its norm.
    @Test(arguments: steps) func trainingStep(id: String, profile: KernelProfile) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let labels = try golden.trainingLabels()
        let images = try golden.trainingImages().values
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let student = try DeviceNetwork(network, state: state, role: .student, engine: engine)
        let rectified = Set(
            student.network.nodes.indices.filter {
                student.network.nodes[$0].operation == .relu || student.network.nodes[$0].operation.epilogue.relu
            })
        let plan = try NetworkPlan(
            student.network, store: student.store, batch: labels.count, mode: .training, keeping: rectified)
        let method = Method.crossEntropy(CrossEntropy())
        let step = try DeviceStep(engine, plan, method: method, labels: labels)

        try plan.write(images)
        try plan.forward()
        let totals = try step.loss(teacher: nil)
        let outputGradient = try engine.read(try #require(plan.outputGradient))
        try plan.backward()
        let sgd = SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)
        try student.store.apply(ParameterUpdate(UpdateRule(.sgd(sgd)), number: 1))
        var gradients: [String: [Double]] = [:]
        for parameter in network.parameters {
            gradients[parameter.name] = try engine.read(student.store.gradient(parameter.name, count: parameter.count))
        }
        let values = Dictionary(uniqueKeysWithValues: try rectified.map { ($0, try plan.value(of: $0)) })

        // The largest network's blocks are those of the others: once is enough.
        if id != "ResNet50" || profile == .cpu {
            let reference = try ReferenceNetwork(student.network, state: state)
            try reference.forward(images, batch: labels.count, training: true) { node, value in
                guard let found = values[node] else { return value }
                expectClose(found, value, .ofMax(2e-5), "\(id) \(profile) \(student.network.nodes[node].name)")
                return found
            }
            try reference.backward(outputGradient)
            let largest = reference.gradients.values.map { l2($0) }.max() ?? 0
            for (name, expected) in reference.gradients {
                let found = try #require(gradients[name])
                #expect(found.count == expected.count)
                let error = l2(zip(found, expected).map { $0 - $1 })
                let size = max(l2(expected), 1e-3 * largest)
                #expect(error <= 1e-4 * size, "\(id) \(profile) gradient of \(name): \(error / size)")
            }
        }
        try golden.expectTrainingStep(
            TrainingStepOutcome(
                loss: totals.loss, logits: try engine.read(plan.output), gradients: gradients, state: student.store.state()),
            try tolerance(id, student.network, state: state, images: images, batch: labels.count, values))
    }

    /// The shallow networks' bound, unless a rectifier has fallen on the other side of 0.
    private func tolerance(
        _ id: String, _ network: Network, state: NetworkState, images: [Double], batch: Int, _ values: [Network.NodeID: [Double]]
    ) throws -> ModelTolerance {
        let tolerance = ModelTolerance.float32(id)
        guard tolerance.gradient < ModelTolerance.flipped.gradient else { return tolerance }
        let reference = try ReferenceNetwork(network, state: state)
        try reference.forward(images, batch: batch, training: true)
        let agree = values.allSatisfy { node, found in
            zip(found, reference.value(of: node)).allSatisfy { ($0 > 0) == ($1 > 0) }
        }
        return agree ? tolerance : .flipped
    }
}

/// The loss of one batch between a plan's forward and backward passes.
struct DeviceStep {
    let engine: DeviceEngine
    let plan: NetworkPlan
    let method: Method
    let labels: Buffer
    let rows: Int
    let loss: FusedLoss
    let accumulator: LossAccumulator

    init(_ engine: DeviceEngine, _ plan: NetworkPlan, method: Method, labels: [Int32]) throws {
        self.engine = engine
        self.plan = plan
        self.method = method
        rows = labels.count
        self.labels = try Buffer(engine.context, bytes: 4 * labels.count, label: "labels")
        try engine.queue.write(labels, to: self.labels)
        loss = try FusedLoss(
            method, rows: rows, classes: plan.network.classes, programs: engine.programs, profile: engine.profile)
        accumulator = try LossAccumulator(on: engine.queue, context: engine.context)
    }

    func write(labels values: [Int32]) throws { try engine.queue.write(values, to: labels) }

    /// Writes the output's gradient and returns the batch's sums.
    func loss(teacher: DeviceSlice?, warmup: Double = 1) throws -> StepMetrics {
        try accumulator.reset(on: engine.queue)
        try loss.enqueue(
            method, warmup: warmup, student: plan.output, teacher: teacher, labels: DeviceSlice(labels),
            gradient: plan.outputGradient, into: accumulator, on: engine.queue)
        return try accumulator.read(method, on: engine.queue).metrics
    }
}
