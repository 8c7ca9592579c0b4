import Foundation
import RLDExecution
import RLDFormats
import RLDGraph
import RLDMethods

/// Evaluation, and what a run says.
extension TrainingSession {
    /// - Parameters:
    ///   - next: the pass after this one.
    ///   - correct: gets whether each row's label was the first largest logit, in the order of the rows.
    /// - Returns: nil when a stop was asked for before the last batch.
    func evaluate(
        _ pass: ImageFeed.Pass, next: ImageFeed.Pass? = nil, correct: ((Bool) -> Void)? = nil
    ) throws -> StepMetrics? {
        let loader = loader(pass)
        for (index, batch) in pass.batches.enumerated() {
            if trainer.shouldStop() {
                _ = try executor.takeMetrics()
                return nil
            }
            var selection = BatchSelection(
                table: pass.table, indices: batch, transform: trainer.dataset.transform.evaluation)
            selection.pixels = try loader?.next()
            if index == pass.batches.count - 1 { begin(next) }
            try executor.evaluateStep(selection)
            if let correct { try executor.lastEvaluated(rows: batch.count).forEach(correct) }
        }
        return try executor.takeMetrics()
    }

    /// The test set, once for the last and once for the best weights.
    /// - Returns: false when a stop was asked for before that was done.
    func test(_ result: inout TrainingResult) throws -> Bool {
        let pass = testPass
        guard !pass.batches.isEmpty else {
            try note("the data has no test images")
            return true
        }
        func record(_ weights: String, epoch: Int, _ metrics: StepMetrics, _ classes: [ClassAccuracy]? = nil) throws -> TestRecord
        {
            let record = TestRecord(
                weights: weights, epoch: epoch, images: metrics.rows, loss: metrics.loss, accuracy: metrics.accuracy,
                top5: metrics.top5Share, selectedOn: selection.rawValue, classes: classes)
            try trainer.folder?.append(record)
            try trainer.folder?.note(record.text)
            trainer.observer(.test(record))
            return record
        }
        // The executor holds the weights of the run; what was evaluated all along may be their average.
        if configuration.averageDecay > 0 { try executor.prepareStudent(network, state: progress.last.state) }
        var correct: [Bool] = []
        let isBestLast = progress.best.epoch == progress.last.epoch
        guard let ofLast = try evaluate(pass, next: isBestLast ? nil : pass, correct: { correct.append($0) }) else {
            return false
        }
        var ofBest = ofLast
        if !isBestLast {
            try executor.prepareStudent(network, state: progress.best.state)
            correct = []
            guard let metrics = try evaluate(pass, correct: { correct.append($0) }) else { return false }
            ofBest = metrics
        }
        result.lastTest = try record("last", epoch: progress.last.epoch, ofLast)
        let classes = ClassAccuracy.each(of: trainer.dataset.test, correct: correct)
        result.bestTest = try record("best", epoch: progress.best.epoch, ofBest, classes)
        try trainer.folder?.append(classes: classes, epoch: progress.best.epoch)
        return true
    }

    func begin() throws {
        let lines =
            configuration.effectiveDescription + [
                split.description(trainer.dataset),
                "device     \(executor.executorDescription)",
            ] + streamingDescription
            + (executor.plannedBytes.map { ["memory     \(($0 + (1 << 20) - 1) >> 20) MiB on the device"] } ?? [])
        for line in lines { try trainer.folder?.note(line) }
        trainer.observer(.begins(lines))
        for line in trainer.dataset.notes { try note(line) }
        if let own = trainer.dataset.validation, !split.validatesOnOwn {
            try note("the \(own.count) images of the data's own validation part are not used: validation was given")
        }
        for error in trainer.dataset.skipped.prefix(20) { try note("left out: \(error)") }
        if !trainer.dataset.skipped.isEmpty { try note("\(trainer.dataset.skipped.count) damaged files were left out") }
        guard let resumption = trainer.resumption else { return }
        for error in resumption.broken { try note("passed over a checkpoint: \(error)") }
        trainer.folder?.checkpoints.setAside(resumption.broken)
        let record = resumption.checkpoint.record
        try note("resumed from \(resumption.checkpoint.path): \(resumption.checkpoint.place)")
        if record.stepsPerEpoch != stepsPerEpoch, record.step > 0 {
            try note(
                "an epoch has \(stepsPerEpoch) steps now and had \(record.stepsPerEpoch): epoch \(record.epoch) begins again")
        }
        if hasOtherTerms, progress.step > 0 {
            try note("the loss has other terms than before: the numbers of epoch \(progress.epoch) count from here on")
        }
        if record.executor != executor.executorDescription {
            try note("the run computed on \(record.executor) before: the numbers go on, but not to the last bit")
        }
    }

    private var streamingDescription: [String] {
        guard isStaged(Self.trainTable) else { return [] }
        let table = trainer.dataset.train
        let place =
            table.stream == nil ? "in memory" : "in their files, read by \(ProcessInfo.processInfo.activeProcessorCount) threads"
        return ["streaming  \(table.bytes >> 20) MiB of images stay \(place), and reach the device batch by batch"]
    }

    func note(_ line: String) throws {
        try trainer.folder?.note(line)
        trainer.observer(.note(line))
    }

    /// What goes with saved weights: all that export and later use need to know of the model, and where it came from.
    func metadata(epoch: Int) -> [String: String] {
        let transform = trainer.dataset.transform
        let model = ModelMetadata(
            model: network.id, classes: network.classes, input: network.inputShape, mean: transform.mean,
            deviation: transform.deviation, classNames: trainer.dataset.classNames)
        return model.text.merging([
            "epoch": "\(epoch)", "seed": "\(configuration.seed)", "method": objective.id, "data": configuration.data,
            "data_hash": trainer.dataHash, "config": configuration.yaml,
        ]) { $1 }
    }

    func environment() -> RunEnvironment {
        let device = (executor as? DeviceExecutor)?.device
        return RunEnvironment(
            executor: executor.executorDescription, device: device?.name, platform: device?.platformName,
            driver: device?.driverVersion, opencl: device?.version, data: configuration.data, dataHash: trainer.dataHash,
            trainingImages: split.training.count, validationImages: split.validation.count,
            testImages: trainer.dataset.test.count, classNames: trainer.dataset.classNames,
            skippedFiles: trainer.dataset.skipped.map(\.description))
    }
}

/// Images and seconds of the training loop, the first reading of a run left out when there are more.
struct TrainingPace {
    private var began: ContinuousClock.Instant?
    private var first: (images: Int, seconds: Double)?
    private var images = 0
    private var seconds = 0.0
    private(set) var lastImagesPerSecond = 0.0

    mutating func begin(at now: ContinuousClock.Instant) { if began == nil { began = now } }

    mutating func end(at now: ContinuousClock.Instant, images count: Int) {
        guard let start = began else { return }
        began = nil
        let elapsed: Double = now - start
        lastImagesPerSecond = elapsed > 0 ? Double(count) / elapsed : 0
        if first == nil {
            first = (count, elapsed)
        } else {
            images += count
            seconds += elapsed
        }
    }

    var imagesPerSecond: Double {
        if seconds > 0 { return Double(images) / seconds }
        guard let first, first.seconds > 0 else { return 0 }
        return Double(first.images) / first.seconds
    }
}

/// Seconds between two instants.
func - (later: ContinuousClock.Instant, earlier: ContinuousClock.Instant) -> Double {
    earlier.duration(to: later) / .seconds(1)
}
