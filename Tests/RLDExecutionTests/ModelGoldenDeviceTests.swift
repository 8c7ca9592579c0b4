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

    @Test(arguments: ids, KernelProfile.allCases) func evaluation(id: String, profile: KernelProfile) throws {
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

    @Test(arguments: ids.dropLast(), KernelProfile.allCases) func trainingStep(id: String, profile: KernelProfile) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let labels = try golden.trainingLabels()
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let student = try DeviceNetwork(network, state: state, role: .student, engine: engine)
        let rectified = student.network.nodes.indices.filter {
            student.network.nodes[$0].operation == .relu || student.network.nodes[$0].operation.epilogue.relu
        }
        let plan = try NetworkPlan(
            student.network, store: student.store, batch: labels.count, mode: .training, keeping: Set(rectified))
        let method = Method.crossEntropy(CrossEntropy())
        let step = try DeviceStep(engine, plan, method: method, labels: labels)
        let images = try golden.trainingImages().values

        try plan.write(images)
        try plan.forward()
        let totals = try step.loss(teacher: nil)
        let outputGradient = try engine.read(try #require(plan.outputGradient))
        try plan.backward()
        try student.store.applySGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4, nesterov: false)
        var gradients: [String: [Double]] = [:]
        for parameter in network.parameters {
            gradients[parameter.name] = try engine.read(student.store.gradient(parameter.name, count: parameter.count))
        }

        let flips = ModelTolerance.isShallow(id)
            ? try flippedRectifiers(
                id, plan, rectified, state: state, images: images, outputGradient: outputGradient, gradients: gradients) : 0
        try golden.expectTrainingStep(
            TrainingStepOutcome(
                loss: totals.loss, logits: try engine.read(plan.output), gradients: gradients, state: student.store.state()),
            flips == 0 ? .float32(id) : .float32Deep)
    }

    /// In a shallow network hardly a rectifier has an input within rounding of 0. Where one has, it may fall on the other side: the
    /// gradient is then compared with the reference's under the device's signs at the usual bound, and with the golden at the
    /// bound for such a case (goldens README, section 7).
    /// - Returns: how many flipped.
    private func flippedRectifiers(
        _ id: String, _ plan: NetworkPlan, _ rectified: [Network.NodeID], state: NetworkState, images: [Double],
        outputGradient: [Double], gradients: [String: [Double]]
    ) throws -> Int {
        let reference = try ReferenceNetwork(plan.network, state: state)
        try reference.forward(images, batch: plan.batch, training: true)
        var flips = 0
        for node in rectified {
            let (found, expected) = (try plan.value(of: node), reference.value(of: node))
            let largest = expected.reduce(0) { max($0, abs($1)) }
            for (a, b) in zip(found, expected) where (a > 0) != (b > 0) {
                flips += 1
                #expect(max(a, b) <= 1e-5 * largest, "\(id): a rectifier of \(plan.network.nodes[node].name) flips far from 0")
            }
            reference.replace(valueOf: node, with: found)
        }
        #expect(flips <= 5, "\(id): \(flips) rectifiers flip")
        try reference.backward(outputGradient)
        let largest = reference.gradients.values.map { l2($0) }.max() ?? 0
        for (name, expected) in reference.gradients {
            let bound = ModelTolerance.float32(id).gradient * max(l2(expected), 1e-3 * largest)
            expectClose(
                gradients[name] ?? [], expected, .each(Array(repeating: bound, count: expected.count)), "\(id) \(name), device's signs")
        }
        return flips
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
