import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// Networks that have no numeric golden: one training step on a device against the reference. And features, by name.
@Suite("Network steps on a device", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct NetworkStepTests {
    static let ids: [(id: String, extent: Int)] = [("ShuffleV1", 16), ("imagenet_MobileNetV1", 64), ("ResNet18", 8)]

    @Test(arguments: ids, TestDevice.profiles) func stepsAgree(example: (id: String, extent: Int), profile: KernelProfile)
        throws
    {
        let batch = 3
        let network = try ModelCatalog.network(example.id, classes: 10, input: [3, example.extent, example.extent])
        let state = formulaState(for: network, runningVarScale: 1)
        let images = FormulaValues.images("step/images", shape: [batch] + network.inputShape).values
        let labels = FormulaValues.labels("step/labels", count: batch, classes: 10).map(Int32.init)
        let reference = try ReferenceNetwork(network, state: state)
        let expected = try reference.forward(images, batch: batch, training: true)
        let loss = try ReferenceLoss.evaluate(
            .crossEntropy(CrossEntropy()), student: expected, teacher: nil, labels: labels, classes: 10)
        try reference.backward(loss.gradient)

        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let student = try DeviceNetwork(network, state: state, role: .student, engine: engine)
        let plan = try student.plan(batch: batch, mode: .training)
        try plan.write(images)
        try plan.forward()
        // Batch statistics of a few values (3 to 12 at the end of these networks) magnify float32's rounding.
        expectClose(try engine.read(plan.output), expected, .ofMax(1e-4), "\(example.id) logits")
        try engine.write(loss.gradient, to: try #require(plan.outputGradient))
        try plan.backward()
        let largest = network.parameters.map { l2(reference.gradients[$0.name] ?? []) }.max() ?? 0
        let errors = try network.parameters.map { parameter in
            let found = try engine.read(student.store.gradient(parameter.name, count: parameter.count))
            let wanted = try #require(reference.gradients[parameter.name])
            #expect(found.count == wanted.count)
            return l2(zip(found, wanted).map { $0 - $1 }) / max(l2(wanted), 1e-3 * largest)
        }
        // As for deep goldens: a rectifier or two may flip.
        #expect(!errors.isEmpty && errors.allSatisfy { $0 < 3e-2 }, "\(example.id): \(errors)")
        #expect(errors.sorted()[errors.count / 2] < 1e-2)
    }

    /// The executor's features are those of the reference, before and after activation, in both profiles; training goes on after.
    @Test(arguments: ["ShuffleV2", "wrn_16_1", "vgg8"], TestDevice.profiles)
    func featuresAreReadable(id: String, profile: KernelProfile) throws {
        let network = try ModelCatalog.network(id, classes: 5, input: [3, 8, 12])
        let state = formulaState(for: network)
        let images = FormulaValues.images("features", shape: [2] + network.inputShape)
        let names = network.features.keys.sorted()
        func features(_ executor: any NetworkExecutor) throws -> [String: Tensor] {
            try executor.prepareStudent(network, state: state)
            return try executor.studentFeatures(images, named: names)
        }
        let expected = try features(ReferenceExecutor())
        let executor = try DeviceExecutor(TestDevice.device(), profile: profile)
        let found = try features(executor)
        #expect(found.keys.sorted() == names && expected.keys.sorted() == names)
        for name in names {
            let value = try #require(expected[name])
            #expect(value.shape == [2] + network.nodes[try #require(network.features[name])].shape)
            expectClose(try #require(found[name]), value, .ofMax(1e-5), "\(id) \(name)")
        }
        let before = try #require(expected["preact_feats/1"])
        #expect(before.values.contains { $0 < 0 }, "before its activation")
        let error = #expect(throws: InputError.self) { try executor.studentFeatures(images, named: ["pooled_feet"]) }
        #expect(error?.description.contains("did you mean 'pooled_feat'?") == true)
    }

    /// Deep networks at the usual batch: what a training step needs, without running it.
    @Test func deepNetworksFitInAFewGigabytes() throws {
        for (id, limit) in [("resnet110", 2.0), ("ResNet50", 3.0)] {
            let network = try ModelCatalog.network(id, classes: 100)
            let bytes = try NetworkPlan.plannedBytes(
                network.fusingEpilogues(for: .training), batch: 64, mode: .training, on: DeviceEngine(TestDevice.device()))
            #expect(Double(bytes) < limit * 0x1p30, "\(id): \(bytes >> 20) MiB")
            #expect(bytes > 100 << 20)
        }
    }
}
