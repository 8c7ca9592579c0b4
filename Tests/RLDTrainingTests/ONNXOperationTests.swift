import Foundation
import RLDFormats
import RLDGraph
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// Every operation as an ONNX model, with images and what the reference makes of them, for Tests/Interop/check_onnx.py: another
/// runtime has to compute the same. The networks of the catalogue, which are checked there too, do without some operations.
struct ONNXOperationTests {
    private static let folder = Goldens.folder.deletingLastPathComponent().deletingLastPathComponent()
        .appendingPathComponent(".build/interop/operations").path

    @Test("every operation can be exported")
    func export() throws {
        try FileManager.default.createDirectory(atPath: Self.folder, withIntermediateDirectories: true)
        let cases = OperationCase.all
        #expect(Set(cases.map(\.name)).count == cases.count)
        var exported: Set<String> = []
        for (index, operation) in cases.enumerated() {
            let network = operation.network
            let state = DeviceChecks.randomState(network)
            let count = operation.batch * network.nodes[0].size
            let images = FormulaValues.images("onnx", shape: [operation.batch] + network.inputShape)
            #expect(images.values.count == count)
            let output = try ReferenceNetwork(network, state: state).forward(
                images.values, batch: operation.batch, training: false)
            let shape = [operation.batch] + network.nodes[network.output].shape
            for folds in [false, true] {
                let path = "\(Self.folder)/\(index)\(folds ? ".folded" : "")"
                try AtomicFile.write(
                    ONNXExport(foldsBatchNorm: folds).bytes(network, state: state, model: ModelMetadata()), to: path + ".onnx")
                try TensorFile.write(
                    [
                        StoredTensor("images", images, as: .float32, source: operation.name),
                        StoredTensor("output", Tensor(shape: shape, values: output), as: .float64, source: operation.name),
                    ], metadata: ["name": operation.name + (folds ? ", folded" : "")], to: path + ".safetensors")
            }
            exported.formUnion(network.nodes.map { String($0.operation.label.prefix { !$0.isNumber }) })
        }
        #expect(
            exported.isSuperset(of: [
                "input", "convolution", "depthwise", "grouped", "batch_norm", "linear", "relu", "add", "max_pool", "average_pool",
                "adaptive_average_pool", "global_average_pool", "flatten", "concat", "slice", "channel_shuffle",
            ]))
    }
}
