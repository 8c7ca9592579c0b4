import ArgumentParser
import RLD

struct EvaluateCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "evaluate", abstract: "Accuracy of stored weights on a data set.",
        discussion: """
            Images are normalised and scaled, and classes found by their names, as the weights say that the model was trained.

            Example: rld evaluate --model resnet8 --weights runs/student/best.safetensors --data fashion-mnist
            """)

    @Option(help: "Network.")
    var model: String

    @Option(help: "Weights (.safetensors, PyTorch checkpoint or .npz).", completion: .file())
    var weights: String

    @OptionGroup var reading: WeightArguments

    @Option(help: "Data set as NAME or NAME:PATH.")
    var data: String

    @Option(help: "Which images: test, train, or validation where the data brings some.", completion: .list(Self.parts))
    var part: String = "test"

    @Option(parsing: .unconditional, help: "Only the first so many images.")
    var limit: Int?

    @Option(parsing: .unconditional, help: "Side of the square that the network gets to see (default: as it was trained).")
    var imageSize: Int?

    @Flag(help: "Leave damaged files, labels and pictures out instead of stopping at the first.")
    var skipBroken = false

    @Option(parsing: .unconditional, help: "Images per step.")
    var batchSize = 64

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
        if let limit, limit < 1 { throw InputError("--limit", "must be at least 1, found \(limit)") }
        let file = try TensorFile(weights: weights)
        let trained = ModelMetadata(file.metadata)
        let executor = try makeExecutor(device: common.device)
        let (dataset, notes) = try DatasetCatalog.load(
            data,
            options: DatasetOptions(
                imageSize: imageSize ?? trained.imageSize, skipBroken: skipBroken, residentBytes: executor.residentImageBytes,
                surveyFolder: Environment.cacheFolder("pictures")?.path)
        ).seen(by: trained, source: weights)
        common.warn(notes)
        let tables = ["test": dataset.test, "train": dataset.train, "validation": dataset.validation]
        guard let table = tables[part] ?? nil, table.count > 0 else { throw InputError(data, "has no \(part) images") }
        let network = try dataset.network(model)
        let state = try reading.load(file, for: network, common: common).state
        if !common.quiet {
            Output.error("\(network.id), \(weights), \(data) (\(part)), device \(executor.executorDescription)")
        }
        let staged = executor.mustStage(table)
        try executor.load(table, as: part, staged: staged)
        try executor.prepareStudent(network, state: state)
        let clock = ContinuousClock()
        let start = clock.now
        var correct: [Bool] = []
        let metrics = try executor.evaluate(
            table: part, rows: Array(0..<min(limit ?? table.count, table.count)), transform: dataset.transform,
            batchSize: batchSize, staged: staged ? table : nil, correct: { correct.append($0) })
        let seconds = start.duration(to: clock.now) / .seconds(1)
        let report = Report(
            model: network.id, weights: weights, data: data, part: part, images: metrics.rows, top1: metrics.accuracy,
            top5: metrics.top5Share, loss: metrics.loss,
            device: executor.executorDescription, imagesPerSecond: seconds > 0 ? Double(metrics.rows) / seconds : 0,
            classes: ClassAccuracy.each(of: table, correct: correct))
        if common.json { return try Output.json(report) }
        Output.line(
            "top-1 \(NumberText.percent(report.top1)), top-5 \(NumberText.percent(report.top5)), "
                + "cross-entropy \(NumberText.fixed(report.loss, decimals: 4)), \(report.images) images")
        let weakest = report.classes.filter { $0.images > 0 }.sorted { $0.accuracy < $1.accuracy }.prefix(3)
        Output.line(
            "weakest classes: " + weakest.map { "\($0.name) \(NumberText.percent($0.accuracy))" }.joined(separator: ", "))
    }
}
