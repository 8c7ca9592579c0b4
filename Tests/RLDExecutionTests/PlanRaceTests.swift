import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import TestSupport
import Testing

/// A training step, replayed: what two work-groups share by mistake shows as results that change (see `FusedLossRaceTests`).
@Suite("Plans repeat bit for bit", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct PlanRaceTests {
    @Test(arguments: ["resnet8", "MobileNetV2", "ShuffleV1"], TestDevice.profiles)
    func replaysAreBitEqual(id: String, profile: KernelProfile) throws {
        let batch = 8
        let network = try ModelCatalog.network(id, classes: 10, input: [3, 16, 16])
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let student = try DeviceNetwork(network, state: formulaState(for: network), role: .student, engine: engine)
        let plan = try student.plan(batch: batch, mode: .training)
        let step = try DeviceStep(
            engine, plan, method: .crossEntropy(CrossEntropy()), labels: (0..<batch).map { Int32($0 % 10) })
        try plan.write(FormulaValues.images("race", shape: [batch, 3, 16, 16]).values)
        func replay() throws -> [[Double]] {
            try plan.forward()
            _ = try step.loss(teacher: nil)
            try plan.backward()
            return try [engine.read(plan.output)]
                + network.parameters.map { try engine.read(student.store.gradient($0.name, count: $0.count)) }
        }
        let first = try replay()
        #expect(first.allSatisfy { $0.allSatisfy(\.isFinite) })
        let different = try (0..<6).count { _ in try replay() != first }
        #expect(different == 0, "\(id), \(profile): \(different) of 6 replays differ")
    }
}
