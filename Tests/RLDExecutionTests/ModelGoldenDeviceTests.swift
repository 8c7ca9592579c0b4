import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
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
        let plan = try student.plan(batch: labels.count, mode: .training)
        let method = Method.crossEntropy(CrossEntropy())
        let step = try DeviceStep(engine, plan, method: method, labels: labels)

        try plan.write(try golden.trainingImages().values)
        try plan.forward()
        let totals = try step.loss(teacher: nil)
        try plan.backward()
        try student.store.applySGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4, nesterov: false)
        var gradients: [String: [Double]] = [:]
        for parameter in network.parameters {
            gradients[parameter.name] = try engine.read(student.store.gradient(parameter.name, count: parameter.count))
        }
        try golden.expectTrainingStep(
            TrainingStepOutcome(
                loss: totals.loss, logits: try engine.read(plan.output), gradients: gradients, state: student.store.state()),
            .float32(id))
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
