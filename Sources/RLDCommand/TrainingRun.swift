import Foundation
import RLD

/// One training run as `train` and `distill` start it: configuration from all its sources, run folder, progress, result.
struct TrainingRun {
    var common: CommonOptions
    var options: RunOptions

    /// - Parameters:
    ///   - base: the subcommand's defaults. - settings: what its own options gave.
    func run(base: TrainingConfiguration, settings: [(key: String, option: String, value: String?)]) throws {
        var reader = ConfigurationReader(base)
        if let file = options.config { try reader.read(file: file) }
        try reader.take(settings + options.settings + [("device", "--device", common.device)])
        for assignment in options.assignments { try reader.set(assignment: assignment) }
        let (configuration, warnings) = try reader.finish()
        common.warn(warnings)

        let folder = try RunFolder(options.out, overwrite: options.overwrite)
        let dataset = try DatasetCatalog.load(configuration.data)
        let executor = try makeExecutor(device: configuration.device)
        Interruption.install()
        let display = TrainingDisplay(common: common, title: "", epochs: configuration.epochs)
        let result = try Trainer(
            configuration: configuration, executor: executor, dataset: dataset, folder: folder,
            shouldStop: { Interruption.requested }, observer: display.show
        ).run()
        display.finish()
        if result.interrupted {
            throw CommandEnd(code: 130, message: "interrupted; the weights so far are in \(folder.file("last.safetensors"))")
        }
        try report(result, folder: folder)
    }

    private func report(_ result: TrainingResult, folder: RunFolder) throws {
        if common.json {
            try Output.json(
                Summary(
                    model: result.network.id, out: folder.path, epochs: result.epochs.count, bestEpoch: result.bestEpoch,
                    last: result.lastTest, best: result.bestTest, imagesPerSecond: result.imagesPerSecond, seconds: result.seconds
                ))
            return
        }
        for test in [result.lastTest, result.bestTest] { if let test { Output.line(test.text) } }
        Output.line(
            "\(NumberText.compact(result.imagesPerSecond.rounded())) images/s, "
                + "\(NumberText.duration(result.seconds)); run in \(folder.path)"
        )
    }

    private struct Summary: Encodable {
        var model: String
        var out: String
        var epochs: Int
        var bestEpoch: Int
        var last: TestRecord?
        var best: TestRecord?
        var imagesPerSecond: Double
        var seconds: Double
    }
}

/// Shows a run on the terminal.
final class TrainingDisplay {
    private let common: CommonOptions
    private let title: String
    private let showsPlan: Bool
    private let progress: ProgressLine
    private let epochs: Int

    /// - Parameter showsPlan: whether the effective settings are printed before the run.
    init(common: CommonOptions, title: String, epochs: Int, showsPlan: Bool = true) {
        self.common = common
        self.title = title
        self.epochs = epochs
        self.showsPlan = showsPlan
        progress = .standardError(quiet: common.quiet)
    }

    func show(_ event: TrainingEvent) {
        switch event {
        case .begins(let lines): if showsPlan { for line in lines { progress.note(line) } }
        case .steps(let record):
            progress.show(
                ProgressState(
                    title: title, epoch: record.epoch, epochs: epochs, step: record.step, steps: record.steps,
                    loss: record.loss, accuracy: record.accuracy, imagesPerSecond: record.imagesPerSecond,
                    secondsLeft: record.secondsLeft))
        case .epoch(let record): progress.note(title.isEmpty ? record.text : "\(title): \(record.text)")
        case .test: break
        case .note(let line): progress.note(line)
        }
    }

    func say(_ line: String) { progress.note(line) }

    func finish() { progress.clear() }
}
