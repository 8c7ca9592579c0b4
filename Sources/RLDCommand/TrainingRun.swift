import Foundation
import RLD

/// One training run as `train` and `distill` start it: configuration from all its sources, run folder, progress, result.
struct TrainingRun {
    var common: CommonOptions
    var options: RunOptions

    /// - Parameters:
    ///   - base: the subcommand's defaults. - settings: what its own options gave.
    func run(base: TrainingConfiguration, settings: [(key: String, option: String, value: String?)]) throws {
        guard !(options.resume && options.overwrite) else {
            throw InputError("--resume", "and --overwrite exclude each other")
        }
        if options.dryRun { return try plan(base: base, settings: settings) }
        let folder = try runFolder()
        var resumption = try folder.resumption()
        let configuration = try configuration(base: base, settings: settings, resumption: &resumption)
        if let resumption, let result = folder.result, resumption.configuration == configuration {
            if !common.quiet { Output.error("the run in \(folder.path) is finished; its result:") }
            return try report(RunSummary(json: result, source: folder.file("result.json")), folder: folder)
        }
        // With the choices that the run began with, so that it goes on to the last bit.
        let executor = try makeExecutor(
            device: configuration.device, tuning: resumption?.tuning, precision: configuration.precision,
            teacherStorage: configuration.teacherStorage)
        let dataset = try load(configuration, for: executor)
        Interruption.install()
        let display = TrainingDisplay(common: common, title: "", epochs: configuration.epochs)
        let trainer = Trainer(
            configuration: configuration, executor: executor, dataset: dataset, folder: folder, resuming: resumption,
            shouldStop: { Interruption.requested }, observer: display.show)
        let result: TrainingResult
        do {
            result = try display.during(trainer.run)
        } catch let error as DeviceError where folder.holdsCheckpoint {
            throw DeviceError(
                error.code, "\(error.message) (--resume goes on from the newest checkpoint in \(folder.path))",
                status: error.status)
        }
        if result.interrupted {
            throw CommandEnd(
                code: 130,
                message: "interrupted; the weights so far are in \(folder.file("last.safetensors")), --resume goes on from here")
        }
        try report(result.summary, folder: folder)
    }

    private func runFolder() throws(InputError) -> RunFolder {
        guard let out = options.out else { throw InputError("--out", "is missing", advice: "name the folder of the run") }
        return try RunFolder(out, existing: options.resume ? .resume : options.overwrite ? .overwrite : .refuse)
    }

    private func load(_ configuration: TrainingConfiguration, for executor: any NetworkExecutor) throws -> Dataset {
        try DatasetCatalog.load(
            configuration.data,
            options: configuration.datasetOptions(for: executor, surveyFolder: Environment.cacheFolder("pictures")?.path))
    }

    /// Defaults, then the file, then `--set`, then options; with a run to go on with, its configuration and what may change.
    private func configuration(
        base: TrainingConfiguration, settings: [(key: String, option: String, value: String?)], resumption: inout Resumption?
    ) throws -> TrainingConfiguration {
        // What is not given is the run's, and what is given is judged beside it.
        var reader = ConfigurationReader(resumption?.configuration ?? base)
        if let file = options.config { try reader.read(file: file) }
        for assignment in options.assignments { try reader.set(assignment: assignment) }
        try reader.set(authors: options.overrides)
        try reader.take(settings + options.settings + [("device", "--device", common.device)])
        let (given, warnings) = try reader.finish()
        common.warn(warnings)
        if options.resume, resumption == nil, !reader.givenKeys.contains("data") {
            throw InputError(
                "--resume", "\(options.out ?? "") holds no run to go on with",
                advice: "name another --out, or give --data and --model to begin one there")
        }
        let merged = try resumption?.merge(given, keys: reader.givenKeys, allowing: options.allowChange) ?? given
        return try merged.namingTeachers()
    }

    /// What a run, or the rest of one, would do and how long it would take.
    private func plan(base: TrainingConfiguration, settings: [(key: String, option: String, value: String?)]) throws {
        // Locked until this is over.
        let folder = options.resume ? try runFolder() : nil
        defer { folder?.close() }
        var resumption = try folder?.resumption()
        let configuration = try configuration(base: base, settings: settings, resumption: &resumption)
        let executor = try makeExecutor(
            device: configuration.device, tuning: resumption?.tuning, precision: configuration.precision,
            teacherStorage: configuration.teacherStorage)
        let dataset = try load(configuration, for: executor)
        let estimate = try Trainer(
            configuration: configuration, executor: executor, dataset: dataset, resuming: resumption
        ).estimate()
        if common.json { return try Output.json(estimate) }
        for line in estimate.plan { Output.line(line) }
        Output.line(
            "\(estimate.steps) steps of about \(NumberText.fixed(estimate.secondsPerStep, decimals: 3)) s and \(estimate.evaluations) "
                + "evaluations of about \(NumberText.fixed(estimate.secondsPerEvaluation, decimals: 1)) s: "
                + "\(NumberText.duration(estimate.seconds)) in all")
    }

    private func report(_ result: RunSummary, folder: RunFolder) throws {
        if common.json {
            try Output.json(
                Summary(
                    model: result.model, out: folder.path, epochs: result.epochs, bestEpoch: result.bestEpoch, last: result.last,
                    best: result.best, imagesPerSecond: result.imagesPerSecond, seconds: result.seconds))
            return
        }
        for test in [result.last, result.best] { if let test { Output.line(test.text) } }
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

    /// Runs what is shown here, and leaves the terminal at the beginning of a line however it ends.
    func during<Result>(_ run: () throws -> Result) rethrows -> Result {
        defer { progress.clear() }
        return try run()
    }
}
