import ArgumentParser
import RLD

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate", abstract: "Accuracy of stored weights on a data set.",
        discussion: """
            Images are normalised and scaled, and classes found by their names, as the weights say that the model was trained.

            Example: rld evaluate --model resnet8 --weights runs/student/best.safetensors --data fashion-mnist
            """)

    @Option(help: "Network (default: as the weights say).")
    var model: String?

    @Option(help: "Weights (.safetensors, PyTorch checkpoint or .npz).", completion: .file())
    var weights: String

    @OptionGroup var reading: WeightArguments

    @Option(help: "Data set as NAME or NAME:PATH.")
    var data: String

    @Option(help: "Which images: test, train, or validation where the data brings some.", completion: .list(Self.parts))
    var part: String = "test"

    @Option(parsing: .unconditional, help: "Only so many of the images, the same ones every time.")
    var limit: Int?

    @Option(parsing: .unconditional, help: "Side of the square that the network gets to see (default: as it was trained).")
    var imageSize: Int?

    @Option(help: "Mean per channel of pixels in 0...1, with commas (default: as it was trained).")
    var mean: String?

    @Option(help: "Deviation per channel of pixels in 0...1, with commas (default: as it was trained).")
    var deviation: String?

    @Flag(help: "Leave damaged files, labels and pictures out instead of stopping at the first.")
    var skipBroken = false

    @Option(parsing: .unconditional, help: "Images per step.")
    var batchSize = 64

    @Option(
        help: "Also write 'logits' [N, classes] and 'labels' [N] (.safetensors or .npz), for 'rld loss'.", completion: .file())
    var logits: String?

    @OptionGroup var common: CommonOptions

    private static let parts = ["test", "train", "validation"]

    struct Report: Encodable {
        var model: String
        var weights: String
        var data: String
        var part: String
        var images: Int
        /// Shares of one.
        var top1: Double
        var top5: Double
        /// Cross-entropy, mean.
        var loss: Double
        var device: String
        var imagesPerSecond: Double
        var classes: [ClassAccuracy]
    }

    func run() throws {
        guard batchSize >= 1 else { throw InputError("--batch-size", "must be at least 1, found \(batchSize)") }
        guard Self.parts.contains(part) else { throw InputError.unknown("part", part, known: Self.parts) }
        if let logits { try TensorFile.checkWritable(logits) }
        if let limit, limit < 1 { throw InputError("--limit", "must be at least 1, found \(limit)") }
        let file = try TensorFile(weights: weights)
        var trained = ModelMetadata(file.metadata)
        let id = try trained.network(named: model, of: weights)
        if mean != nil || deviation != nil { (trained.mean, trained.deviation) = ([], []) }
        let executor = try makeExecutor(device: common.device)
        var options = DatasetOptions(
            imageSize: imageSize ?? trained.imageSize, skipBroken: skipBroken, residentBytes: executor.residentImageBytes,
            surveyFolder: Environment.cacheFolder("pictures")?.path)
        options.mean = try mean.map { text throws(InputError) in try NumberList.parse(text, "--mean").map(Double.init) }
        options.deviation = try deviation.map { text throws(InputError) in
            try NumberList.parse(text, "--deviation").map(Double.init)
        }
        let (dataset, notes) = try DatasetCatalog.load(data, options: options).seen(by: trained, source: weights)
        common.warn(notes)
        let tables = ["test": dataset.test, "train": dataset.train, "validation": dataset.validation]
        guard let table = tables[part] ?? nil, table.count > 0 else { throw InputError(data, "has no \(part) images") }
        let network = try dataset.network(id)
        let state = try reading.load(file, for: network, common: common).state
        if !common.quiet {
            Output.error("\(network.id), \(weights), \(data) (\(part)), device \(executor.executorDescription)")
        }
        let staged = executor.mustStage(table)
        try executor.load(table, as: part, staged: staged)
        try executor.prepareStudent(network, state: state)
        let rows = rows(of: table)
        let clock = ContinuousClock()
        let start = clock.now
        var correct: [Bool] = []
        let metrics = try executor.evaluate(
            table: part, rows: rows, transform: dataset.transform,
            batchSize: batchSize, staged: staged ? table : nil, correct: { correct.append($0) })
        let seconds = clock.now.seconds(since: start)
        if let logits {
            let values = try executor.studentLogits(
                table: part, rows: rows, transform: dataset.transform, batchSize: batchSize, staged: staged ? table : nil)
            let labels = rows.map { Double(table.labels[$0]) }
            try TensorFile.write(
                [
                    StoredTensor(
                        "logits", Tensor(shape: [rows.count, network.classes], values: values.map(Double.init)), as: .float32,
                        source: logits),
                    StoredTensor("labels", Tensor(shape: [rows.count], values: labels), as: .int64, source: logits),
                ], to: logits)
        }
        let report = Report(
            model: network.id, weights: weights, data: data, part: part, images: metrics.rows, top1: metrics.accuracy,
            top5: metrics.top5Share, loss: metrics.loss,
            device: executor.executorDescription, imagesPerSecond: seconds > 0 ? Double(metrics.rows) / seconds : 0,
            classes: ClassAccuracy.each(of: rows.map { table.labels[$0] }, names: table.classNames, correct: correct))
        if common.json { return try Output.json(report) }
        Output.line(
            "top-1 \(NumberText.percent(report.top1)), top-5 \(NumberText.percent(report.top5)), "
                + "cross-entropy \(NumberText.fixed(report.loss, decimals: 4)), \(report.images) images")
        let weakest = report.classes.filter { $0.images > 0 }.sorted { $0.accuracy < $1.accuracy }.prefix(3)
        Output.line(
            "weakest classes: " + weakest.map { "\($0.name) \(NumberText.percent($0.accuracy))" }.joined(separator: ", "))
    }

    /// A part of a set lies class by class in its folders: the first so many would be one class's.
    private func rows(of table: ImageTable) -> [Int] {
        guard let limit, limit < table.count else { return Array(0..<table.count) }
        return CounterRandom.permutation(of: table.count, seed: 0, stream: 0xE7A1_0000).prefix(limit).sorted()
    }
}
