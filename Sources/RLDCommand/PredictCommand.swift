import ArgumentParser
import RLD

struct PredictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict", abstract: "Logits of stored weights for a file of images.",
        discussion: """
            The images file (.safetensors, .npz or .npy) holds 'images' [N, C, H, W]: numbers that are already normalised, or \
            uint8 pixels, which are normalised as the weights' metadata says. The output holds 'logits' [N, classes], float32.

            Example: rld predict --model resnet8 --classes 10 --weights runs/student/best.safetensors \
            --images images.safetensors --output logits.safetensors
            """)

    @Option(help: "Network (default: as the weights say).")
    var model: String?

    @Option(parsing: .unconditional, help: "Number of classes (default: as the weights have).")
    var classes: Int?

    @Option(help: "Weights (.safetensors, PyTorch checkpoint or .npz).", completion: .file())
    var weights: String

    @OptionGroup var reading: WeightArguments

    @Option(help: "Images (.safetensors, .npz or .npy).", completion: .file())
    var images: String

    @Option(help: "Where to write the logits (.safetensors, .npz or .npy).", completion: .file())
    var output: String

    @Option(parsing: .unconditional, help: "Images per step.")
    var batchSize = 64

    @Option(
        parsing: .upToNextOption,
        help: "Also write these intermediate values, for example pooled_feat feats/3 ('rld models NAME' lists them).")
    var features: [String] = []

    @OptionGroup var common: CommonOptions

    struct Report: Encodable {
        var images: Int
        var classes: Int
        var output: String
        var device: String
    }

    func run() throws {
        guard batchSize >= 1 else { throw InputError("--batch-size", "must be at least 1, found \(batchSize)") }
        let stored = try TensorFile(path: images).stored(preferring: "images")
        try TensorFile.checkWritable(output)
        guard stored.shape.count == 4, stored.count > 0 else {
            throw InputError(
                images, "tensor 'images': expected shape [N, C, H, W] with N at least 1, found \(shapeText(stored.shape))")
        }
        let file = try TensorFile(weights: weights)
        let trained = ModelMetadata(file.metadata)
        if let channels = trained.input.first, stored.shape[1] != channels {
            throw InputError(
                images, "tensor 'images': expected \(channels) channels as [N, C, H, W], found \(shapeText(stored.shape))",
                advice: stored.shape[3] == channels ? "move the channels before height and width" : "")
        }
        let network = try ModelCatalog.network(
            trained.network(named: model, of: weights), classes: classes, weights: file, key: reading.key,
            input: Array(stored.shape[1...]))
        let loaded = try reading.load(file, for: network, common: common)
        let input = try normalised(stored, metadata: ModelMetadata(loaded.metadata))
        let executor = try makeExecutor(device: common.device)
        try executor.prepareStudent(network, state: loaded.state)
        let count = input.shape[0]
        let size = input.count / count
        var logits: [Double] = []
        var kept: [String: [Double]] = [:]
        let shapes = try network.features(named: features).mapValues { network.nodes[$0].shape }
        for start in stride(from: 0, to: count, by: batchSize) {
            let end = min(start + batchSize, count)
            let batch = Tensor(
                shape: [end - start] + input.shape[1...], values: Array(input.values[(start * size)..<(end * size)]))
            logits += try executor.studentLogits(batch).values
            guard !features.isEmpty else { continue }
            for (name, value) in try executor.studentFeatures(batch, named: features) { kept[name, default: []] += value.values }
        }
        let classes = network.classes
        kept["logits"] = logits
        var items: [StoredTensor] = []
        for name in ["logits"] + kept.keys.filter({ $0 != "logits" }).sorted() {
            let tensor = Tensor(shape: [count] + (shapes[name] ?? [classes]), values: kept[name] ?? [])
            items.append(try StoredTensor(name, tensor, as: .float32, source: output))
        }
        try TensorFile.write(items, to: output)
        let report = Report(images: count, classes: classes, output: output, device: executor.executorDescription)
        if common.json { return try Output.json(report) }
        if !common.quiet { Output.line("\(count) x \(classes) logits in \(output), computed on \(report.device)") }
    }

    /// Pixels become what the network was trained on; other numbers stay as they are.
    private func normalised(_ images: StoredTensor, metadata: ModelMetadata) throws(InputError) -> Tensor {
        var tensor = try images.tensor(source: self.images)
        guard images.type == .uint8 else { return tensor }
        let (channels, plane) = (images.shape[1], images.shape[2] * images.shape[3])
        guard metadata.mean.count == channels, metadata.deviation.count == channels else {
            throw InputError(
                self.images, "holds uint8 pixels, and \(weights) does not say how to normalise \(channels) channels",
                advice: "give normalised float32 images")
        }
        for index in tensor.values.indices {
            let channel = index / plane % channels
            tensor.values[index] =
                (tensor.values[index] / 255 - Double(metadata.mean[channel])) / Double(metadata.deviation[channel])
        }
        return tensor
    }
}
