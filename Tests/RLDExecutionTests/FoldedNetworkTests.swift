import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDModels
import RLDReference
import Synchronization
import TestSupport
import Testing

/// A frozen network with batch norm folded and everything fused gives the logits of the network as it was written.
@Suite("Folded networks") struct FoldedNetworkTests {
    static let ids = Array(ModelCatalog.ids.prefix(32))
    /// One network of each family: what the gpu profile computes, slowly on a CPU.
    static let families: Set = ["resnet8x4", "wrn_16_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet18", "ResNet50"]
    /// Error of a logit over the largest logit.
    static let referenceBound = 1e-10
    static let deviceBound = 2e-5

    /// Small images and few classes: folding knows neither.
    private func example(_ id: String) throws -> (network: Network, state: NetworkState, images: [Double]) {
        let extent = id.hasPrefix("imagenet_") ? 64 : 16
        let network = try ModelCatalog.network(id, classes: 10, input: [3, extent, extent])
        return (
            network, formulaState(for: network), FormulaValues.images("folding", shape: [1, 3, extent, extent]).values
        )
    }

    private static let knownLogits = Mutex<[String: [Double]]>([:])

    /// The network's as it was written; both tests of a network need them.
    private func plainLogits(_ id: String) throws -> [Double] {
        if let known = Self.knownLogits.withLock({ $0[id] }) { return known }
        let (network, state, images) = try example(id)
        let logits = try ReferenceNetwork(network, state: state).forward(images, batch: 1, training: false)
        Self.knownLogits.withLock { $0[id] = logits }
        return logits
    }

    @Test(arguments: ids) func everyNetworkFolds(id: String) throws {
        let (network, state, images) = try example(id)
        let plain = try plainLogits(id)
        let folded = network.foldingBatchNorm(state: state)
        let fused = try ReferenceNetwork(folded.network.fusingEpilogues(for: .inference), state: folded.state)
        #expect(fused.network.nodes.count < network.nodes.count)
        expectClose(try fused.forward(images, batch: 1, training: false), plain, .ofMax(Self.referenceBound), id)
    }

    @Test(
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"),
        arguments: ids.flatMap { id in
            KernelProfile.allCases.filter { $0 == .cpu || families.contains(id) }.map { (id, $0) }
        })
    func everyNetworkFoldsOnADevice(id: String, profile: KernelProfile) throws {
        let (network, state, images) = try example(id)
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let plan = try DeviceNetwork(network, state: state, role: .teacher, engine: engine).plan(batch: 1, mode: .inference)
        try plan.write(images)
        try plan.forward()
        try expectClose(engine.read(plan.output), plainLogits(id), .ofMax(Self.deviceBound), "\(id), \(profile)")
    }
}
