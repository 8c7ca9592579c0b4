import RLDGraph

/// Writes a network with its weights as an ONNX model (opset 17) that other runtimes load: input `images` [N, C, H, W], output
/// `logits` [N, classes], float32, any N.
public struct ONNXExport: Sendable {
    public enum Normalization: String, Sendable, CaseIterable {
        /// The model takes normalised images; mean and deviation stand in its metadata.
        case metadata
        /// The model takes pixels scaled to 0...1 and normalises them itself.
        case nodes
    }

    /// Whether batch norms are folded into the convolutions before them.
    public var foldsBatchNorm: Bool
    public var normalization: Normalization
    /// What goes into the model's metadata beside what describes the model; `format` and `config` are left out.
    public var metadata: [String: String]
    /// Commit or version of the program, for the model's header.
    public var version: String

    static let opset: Int64 = 17
    /// The IR version that came with opset 17.
    static let irVersion: Int64 = 8
    /// Protocol buffers end here.
    private static let maximumBytes = Int(Int32.max)

    public init(
        foldsBatchNorm: Bool = true, normalization: Normalization = .metadata, metadata: [String: String] = [:],
        version: String = ""
    ) {
        self.foldsBatchNorm = foldsBatchNorm
        self.normalization = normalization
        self.metadata = metadata
        self.version = version
    }

    /// The bytes of the model file.
    /// - Parameters:
    ///   - state: valid for the network.
    ///   - model: mean, deviation and class names, for metadata and nodes.
    /// - Throws: when the state does not fit, the normalisation is asked for as nodes and not known, or the model is larger than
    ///   2 GiB.
    public func bytes(_ network: Network, state: NetworkState, model: ModelMetadata) throws(InputError) -> [UInt8] {
        try state.validate(for: network, source: "state")
        var model = model
        model.model = network.id
        model.classes = network.classes
        model.input = network.inputShape
        guard model.classNames.isEmpty || model.classNames.count == network.classes else {
            throw InputError("class names", "\(model.classNames.count) names for \(network.classes) classes")
        }
        let channels = network.inputShape[0]
        guard model.mean.isEmpty || model.mean.count == channels && model.deviation.count == channels else {
            throw InputError("normalisation", "mean and deviation of \(model.mean.count) channels for images of \(channels)")
        }
        guard normalization == .metadata || !model.mean.isEmpty else {
            throw InputError(
                "normalisation", "is not known, so no nodes can do it",
                advice: "give mean and deviation, or weights whose metadata holds them")
        }
        let (exported, values) = foldsBatchNorm ? network.foldingBatchNorm(state: state) : (network, state)
        var graph = ONNXGraph(network: exported, state: values)
        try graph.build(normalization: normalization == .nodes ? (model.mean, model.deviation) : nil)

        var message = ONNXModelProto()
        message.irVersion = Self.irVersion
        message.producerName = "rld"
        message.producerVersion = version
        message.graph = graph.message
        var opset = ONNXOperatorSetIdProto()
        opset.domain = ""
        opset.version = Self.opset
        message.opsetImport = [opset]
        var texts = metadata.filter { $0.key != "format" && $0.key != "config" }.merging(model.text) { $1 }
        texts["normalization"] = normalization == .nodes ? "included" : model.mean.isEmpty ? nil : "expected"
        message.metadataProps = texts.sorted { $0.key < $1.key }.map { key, value in
            var entry = ONNXStringStringEntryProto()
            (entry.key, entry.value) = (key, value)
            return entry
        }
        let size = message.graph.initializer.reduce(0) { $0 + $1.rawData.count }
        do {
            guard size < Self.maximumBytes else { throw InputError("model", "is larger than 2 GiB, which ONNX files cannot be") }
            return try message.serializedBytes()
        } catch {
            throw error as? InputError ?? InputError("model", "cannot be written as ONNX: \(error)")
        }
    }
}
