import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import RLDTraining
import TestSupport
import Testing

/// Frozen teachers whose activations are stored as half: whole networks against the authors' numbers, and the memory saved. Each
/// kernel alone is among the device checks.
@Suite("Half activations of teachers", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct TeacherStorageTests {
    /// Error of a logit over the largest: each activation is off by up to 2^-11, most by half of that and either way.
    static let bound = 2e-3

    @Test(arguments: ["resnet8x4", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV2"], TestDevice.profiles)
    func logitsStayNearTheGoldens(id: String, profile: KernelProfile) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let images = try golden.evaluationImages()
        let expected = try #require(golden.evaluation).logits.flatMap { $0 }
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let teacher = try DeviceNetwork(network, state: state, role: .teacher, engine: engine, storage: .half)
        let plan = try teacher.plan(batch: images.shape[0], mode: .inference)
        try plan.write(images.values)
        try plan.forward()
        let found = try engine.read(plan.output)
        expectClose(found, expected, .ofMax(Self.bound), "\(id) \(profile)")
        let error = DeviceChecks.relativeError(found, expected)
        // Really stored as half, and the same to the last bit again.
        #expect(error > 1e-5)
        print("half activations, \(id) \(profile): \(error) of the largest logit")
        try plan.forward()
        #expect(try engine.read(plan.output) == found)
    }

    /// Images, vectors and logits stay float32; so do the weights that some kernels pack on the way, and what Winograd's algorithm has
    /// between its launches, which is left out here.
    @Test(arguments: ["resnet32x4", "vgg13", "wrn_40_2"]) func activationsTakeHalfTheMemory(id: String) throws {
        let original = try ModelCatalog.network(id, classes: 100)
        let network = original.foldingBatchNorm().network.fusingEpilogues(for: .inference)
        let engine = try DeviceEngine(
            TestDevice.device(), profile: .gpu,
            tuning: ChosenTuning(Tuning(tiles: ["winograd_channels": 0]), source: "of a test"))
        func bytes(_ storage: TeacherStorage) throws -> Int {
            try NetworkPlan.plannedBytes(network, batch: 64, mode: .inference, storage: storage, on: engine)
        }
        let image = 4 * 64 * network.inputShape.reduce(1, *)
        let (full, half) = (try bytes(.float32) - image, try bytes(.half) - image)
        #expect(Double(half) < 0.51 * Double(full), "\(id): \(half >> 10) of \(full >> 10) KiB")
    }
}
