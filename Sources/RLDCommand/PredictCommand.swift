import ArgumentParser
import RLD

struct PredictCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "predict", abstract: "Logits of stored weights for a file of images.",
        discussion: """
            The images file holds 'images' [N, C, H, W], already normalised; the output holds 'logits' [N, classes], float32.

            Example: rld predict --model resnet8 --classes 10 --weights runs/student/best.safetensors \
            --images images.safetensors --output logits.safetensors
            """)

    @Option(help: "Network.")
    var model: String

    @Option(parsing: .unconditional, help: "Number of classes.")
    var classes: Int

    @Option(help: "Weights (.safetensors).", completion: .file())
    var weights: String

    @Option(help: "Images (.safetensors).", completion: .file())
    var images: String

    @Option(help: "Where to write the logits (.safetensors).", completion: .file())
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
        let input = try SafetensorsFile(path: images).tensor("images")
        guard input.shape.count == 4, input.count > 0 else {
            throw InputError(images, "tensor 'images': expected shape [N, C, H, W] with N at least 1, found \(input.shape)")
        }
        let network = try ModelCatalog.network(model, classes: classes, input: Array(input.shape[1...]))
        let state = try NetworkState(weights: weights, for: network)
        let executor = try makeExecutor(device: common.device)
        try executor.prepareStudent(network, state: state)
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
        let items = kept.keys.sorted().map { name in
            SafetensorsItem(name, Tensor(shape: [count] + (shapes[name] ?? []), values: kept[name] ?? []))
        }
        try SafetensorsFile.write(
            [SafetensorsItem("logits", Tensor(shape: [count, classes], values: logits))] + items, to: output)
        let report = Report(images: count, classes: classes, output: output, device: executor.executorDescription)
        if common.json { return try Output.json(report) }
        if !common.quiet { Output.line("\(count) x \(classes) logits in \(output), computed on \(report.device)") }
    }
}
