import ArgumentParser
import RLD

struct DemoCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "demo", abstract: "Trains a teacher and its students on real images and compares them.",
        discussion: """
            A teacher is trained on the first images of Fashion-MNIST, then the same student alone, with KD and with RLD from
            that teacher. A validation part from outside those images picks each one's best epoch; the test images are looked
            at only when a training is over.

            Example: rld demo --seed 2
            """)

    @Option(help: "Data set as NAME or NAME:PATH.")
    var data = "fashion-mnist"

    @Option(parsing: .unconditional, help: "Training images.")
    var images = 9_000

    @Option(help: "Network of the teacher.")
    var teacher = "resnet14"

    @Option(help: "Network of the students.")
    var student = "resnet8"

    @Option(parsing: .unconditional, help: "Epochs of the teacher.")
    var teacherEpochs = 6

    @Option(parsing: .unconditional, help: "Epochs of each student.")
    var epochs = 4

    @Option(parsing: .unconditional, help: "Images per step.")
    var batchSize = 64

    @Option(parsing: .unconditional, help: "Seed of weights, order and augmentation.")
    var seed: UInt64 = 1

    @Option(help: "Folder for the four runs; nothing is kept without it.", completion: .directory)
    var out: String?

    @Flag(help: "Replace runs that the folder already holds.")
    var overwrite = false

    @OptionGroup var common: CommonOptions

    /// As many images validate, from behind the training images.
    private var validationImages: Int { min(2000, max(images / 5, 1)) }

    private static let table = TextTable([
        .init("network", width: 9), .init("parameters", width: 10, alignment: .right),
        .init("multiply-adds", width: 13, alignment: .right), .init("method", width: 8),
        .init("top-1", width: 8, alignment: .right), .init("images/s", width: 8, alignment: .right),
        .init("seconds", width: 8, alignment: .right),
    ])

    struct Row: Encodable {
        var role: String
        var network: String
        var parameters: Int
        var macs: Int
        var method: String
        /// On the test images, with the weights of the best epoch by validation, and with the last. Shares of one.
        var top1: Double
        var top1Last: Double
        var bestEpoch: Int
        var imagesPerSecond: Double
        var seconds: Double
    }

    func run() throws {
        let dataset = try DatasetCatalog.load(data)
        let folders = try folders()
        let executor = try makeExecutor(device: common.device)
        Interruption.install()
        if !common.quiet {
            Output.error(
                "\(data): first \(images) training images, \(validationImages) others to validate, "
                    + "\(dataset.test.count) to test; seed \(seed)")
            Output.error("device: \(executor.executorDescription)")
        }
        if !common.json { Output.line(Self.table.header) }

        let trained = try train(
            "teacher", teacher, .crossEntropy(CrossEntropy()), epochs: teacherEpochs, dataset, executor, nil, folders["teacher"])
        let frozen = Trainer.Teacher(network: trained.result.network, state: trained.result.bestState)
        var rows = [trained.row]
        for (role, method) in Self.students {
            rows.append(try train(role, student, method, epochs: epochs, dataset, executor, frozen, folders[role]).row)
        }
        if common.json { try Output.json(rows) }
    }

    /// What the students differ in. In so few epochs RLD's terms have their full weight from the start: the authors' warm-up of
    /// 20 epochs would outlast the run.
    private static var students: [(String, Method)] {
        var rld = RefinedLogitDistillation()
        rld.warmupEpochs = 1
        return [
            ("alone", .crossEntropy(CrossEntropy())), ("kd", .knowledgeDistillation(KnowledgeDistillation())),
            ("rld", .refinedLogitDistillation(rld)),
        ]
    }

    private func folders() throws(InputError) -> [String: RunFolder] {
        guard let out else { return [:] }
        var folders: [String: RunFolder] = [:]
        for role in ["teacher"] + Self.students.map(\.0) { folders[role] = try RunFolder("\(out)/\(role)", overwrite: overwrite) }
        return folders
    }

    private func train(
        _ role: String, _ model: String, _ method: Method, epochs: Int, _ dataset: Dataset, _ executor: any NetworkExecutor,
        _ teacher: Trainer.Teacher?, _ folder: RunFolder?
    ) throws -> (row: Row, result: TrainingResult) {
        var configuration = TrainingConfiguration()
        configuration.model = model
        configuration.data = data
        configuration.limit = images
        configuration.validation = Double(validationImages)
        configuration.seed = seed
        configuration.epochs = epochs
        configuration.batchSize = batchSize
        configuration.schedule = Schedule(kind: .cosine)
        configuration.method = method
        configuration.teacherModel = method.needsTeacher ? teacher?.network.id : nil
        configuration.device = common.device
        let name = "\(model), \(role)"
        let display = TrainingDisplay(common: common, title: name, epochs: epochs, showsPlan: false)
        display.say(
            "\(name): \(epochs) epochs, \(method.effectiveDescription), learning rate \(configuration.optimizer.learningRate), "
                + configuration.schedule.effectiveDescription(epochs: epochs))
        let trainer = Trainer(
            configuration: configuration, executor: executor, dataset: dataset, teacher: teacher, folder: folder,
            shouldStop: { Interruption.requested }, observer: display.show)
        let result = try display.during(trainer.run)
        if result.interrupted { throw CommandEnd(code: 130, message: "interrupted while training \(name)") }
        let row = Row(
            role: role, network: result.network.id, parameters: result.network.parameterCount, macs: result.network.multiplyAdds,
            method: method.id, top1: result.bestTest?.accuracy ?? 0, top1Last: result.lastTest?.accuracy ?? 0,
            bestEpoch: result.bestEpoch, imagesPerSecond: result.imagesPerSecond, seconds: result.seconds)
        if !common.json {
            Output.line(
                Self.table.row([
                    row.network, NumberText.compact(row.parameters), NumberText.compact(row.macs, unit: "MAC"),
                    role == "alone" || role == "teacher" ? role : row.method, NumberText.percent(row.top1),
                    NumberText.fixed(row.imagesPerSecond, decimals: 0), NumberText.fixed(row.seconds, decimals: 1),
                ]))
        }
        return (row, result)
    }
}
