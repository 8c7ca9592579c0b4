import Foundation
import RLDDatasets
import RLDFormats
import RLDGraph
import RLDMethods

/// The state of one run while it goes on.
struct TrainingSession {
    let trainer: Trainer
    let network: Network
    let split: DataSplit
    private let dataHash: String
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    private var pace = TrainingPace()
    private var epochs: [EpochRecord] = []
    private var last: (epoch: Int, state: NetworkState)
    private var best: (epoch: Int, accuracy: Double, state: NetworkState)

    private static let trainTable = "train"
    private static let testTable = "test"

    private var configuration: TrainingConfiguration { trainer.configuration }
    private var executor: any NetworkExecutor { trainer.executor }
    private var seconds: Double { clock.now - start }
    private var stepsPerEpoch: Int { (split.training.count + configuration.batchSize - 1) / configuration.batchSize }

    init(trainer: Trainer, network: Network, split: DataSplit) {
        self.trainer = trainer
        self.network = network
        self.split = split
        dataHash = trainer.dataset.contentHash
        start = clock.now
        let initial = network.initialState(seed: trainer.configuration.seed)
        last = (0, initial)
        best = (0, -1, initial)
    }

    mutating func run(teacher: Trainer.Teacher?) throws -> TrainingResult {
        try executor.load(trainer.dataset.train, as: Self.trainTable)
        if trainer.dataset.test.count > 0 { try executor.load(trainer.dataset.test, as: Self.testTable) }
        if let teacher { try executor.prepareTeacher(teacher.network, state: teacher.state) }
        try executor.prepareStudent(network, state: last.state)
        let size = configuration.batchSize
        try executor.prepareSteps(
            training: TrainingOrder.sizes(split.training.count, batch: size),
            evaluation: TrainingOrder.sizes(split.validation.count, batch: size)
                + TrainingOrder.sizes(trainer.dataset.test.count, batch: size),
            method: configuration.method)
        // Only now: whatever is wrong with the input has been said by this point, and nothing was written.
        try trainer.folder?.open(configuration: configuration, environment: environment())
        try begin()

        var interrupted = false
        for epoch in 1...configuration.epochs {
            guard try train(epoch: epoch) else {
                interrupted = true
                break
            }
        }
        var result = TrainingResult(
            network: network, epochs: epochs, bestEpoch: best.epoch, lastState: last.state, bestState: best.state,
            lastTest: nil, bestTest: nil, imagesPerSecond: pace.imagesPerSecond, seconds: seconds, interrupted: interrupted)
        if !interrupted { try test(&result) }
        result.seconds = seconds
        return result
    }

    // MARK: - One epoch

    /// - Returns: false when a stop was asked for before the epoch ended.
    private mutating func train(epoch: Int) throws -> Bool {
        let order = TrainingOrder.indices(split.training, seed: configuration.seed, epoch: epoch)
        let batches = TrainingOrder.batches(order, size: configuration.batchSize)
        let warmup = configuration.method.warmup(epoch: epoch)
        var optimizer = configuration.optimizer
        var epochMetrics = StepMetrics()
        var firstUnread = 1
        for (index, batch) in batches.enumerated() {
            let step = index + 1
            if trainer.shouldStop() {
                try stop(epoch: epoch, firstUnread: firstUnread, step: index)
                return false
            }
            optimizer.learningRate = configuration.schedule.learningRate(
                base: configuration.optimizer.learningRate, epoch: epoch, step: index, stepsPerEpoch: batches.count,
                epochs: configuration.epochs)
            pace.begin(at: clock.now)
            let selection = BatchSelection(
                table: Self.trainTable, indices: Array(batch), transform: trainTransform, seed: configuration.seed, epoch: epoch)
            try executor.trainStep(selection, method: configuration.method, warmup: warmup, optimizer: optimizer)
            guard step % configuration.logEvery == 0 || step == batches.count else { continue }
            let metrics = try executor.takeMetrics()
            pace.end(at: clock.now, images: metrics.rows)
            try requireFinite(metrics.isFinite, "loss", epoch: epoch, firstStep: firstUnread, step: step)
            firstUnread = step + 1
            epochMetrics = epochMetrics + metrics
            try report(metrics, epoch: epoch, step: step, warmup: warmup, learningRate: optimizer.learningRate)
        }
        try end(epoch: epoch, metrics: epochMetrics, learningRate: optimizer.learningRate)
        return true
    }

    private var trainTransform: ImageTransform {
        var transform = trainer.dataset.transform
        transform.cropPadding = configuration.cropPadding ?? transform.cropPadding
        transform.horizontalFlip = configuration.flip ?? transform.horizontalFlip
        return transform
    }

    private func report(_ metrics: StepMetrics, epoch: Int, step: Int, warmup: Double, learningRate: Double) throws {
        let stepsLeft = (configuration.epochs - epoch + 1) * stepsPerEpoch - step
        let stepsDone = (epoch - 1) * stepsPerEpoch + step
        let record = StepRecord(
            epoch: epoch, step: step, steps: stepsPerEpoch, learningRate: learningRate, warmup: warmup, images: metrics.rows,
            loss: metrics.loss, terms: metrics.terms(named: configuration.method.termNames), accuracy: metrics.accuracy,
            top5: metrics.top5Share, imagesPerSecond: pace.lastImagesPerSecond, seconds: seconds,
            secondsLeft: seconds / Double(stepsDone) * Double(stepsLeft))
        try trainer.folder?.append(record)
        trainer.observer(.steps(record))
    }

    private mutating func end(epoch: Int, metrics: StepMetrics, learningRate: Double) throws {
        let validation = split.validation.isEmpty ? nil : try evaluate(Self.trainTable, rows: split.validation)
        try requireFinite(
            validation?.isFinite ?? true, "validation loss", epoch: epoch, firstStep: stepsPerEpoch, step: stepsPerEpoch)
        let state = try executor.studentState()
        try requireFinite(
            state.allFinite, "state of the weights", epoch: epoch, firstStep: stepsPerEpoch, step: stepsPerEpoch)
        last = (epoch, state)
        let accuracy = validation?.accuracy ?? Double(epoch)
        let isBest = accuracy > best.accuracy
        if isBest { best = (epoch, accuracy, state) }
        let record = EpochRecord(
            epoch: epoch, epochs: configuration.epochs, learningRate: learningRate, trainLoss: metrics.loss,
            trainAccuracy: metrics.accuracy, terms: metrics.terms(named: configuration.method.termNames),
            validationLoss: validation?.loss, validationAccuracy: validation?.accuracy, validationTop5: validation?.top5Share,
            imagesPerSecond: pace.imagesPerSecond, seconds: seconds, best: isBest)
        epochs.append(record)
        if let folder = trainer.folder {
            try folder.save(state, as: "last.safetensors", metadata: metadata(epoch: epoch))
            if isBest { try folder.save(state, as: "best.safetensors", metadata: metadata(epoch: epoch)) }
            try folder.append(record)
            try folder.note(record.text)
        }
        trainer.observer(.epoch(record))
    }

    /// Saves the weights as they are after the steps so far of an unfinished epoch.
    private mutating func stop(epoch: Int, firstUnread: Int, step: Int) throws {
        let metrics = try executor.takeMetrics()
        try requireFinite(metrics.isFinite, "loss", epoch: epoch, firstStep: firstUnread, step: max(step, firstUnread))
        let state = try executor.studentState()
        try requireFinite(
            state.allFinite, "state of the weights", epoch: epoch, firstStep: firstUnread, step: max(step, firstUnread))
        last = (epoch, state)
        try trainer.folder?.save(
            state, as: "last.safetensors", metadata: metadata(epoch: epoch).merging(["step": "\(step)"]) { $1 })
        try note("interrupted in epoch \(epoch) after step \(step) of \(stepsPerEpoch); the weights are saved as they are")
    }

    private func requireFinite(_ good: Bool, _ what: String, epoch: Int, firstStep: Int, step: Int) throws {
        guard !good else { return }
        let kept =
            last.epoch == 0
            ? "no weights were saved yet"
            : "the weights of epoch \(last.epoch) are kept" + (trainer.folder.map { " in \($0.path)" } ?? "")
        let error = TrainingError.nonFinite(what: what, epoch: epoch, firstStep: firstStep, step: step, kept: kept)
        try trainer.folder?.note(error.description)
        throw error
    }

    // MARK: - Evaluation

    private func evaluate(_ table: String, rows: [Int]) throws -> StepMetrics {
        try executor.evaluate(
            table: table, rows: rows, transform: trainer.dataset.transform.evaluation, batchSize: configuration.batchSize)
    }

    /// The test set, once for the last and once for the best weights.
    private func test(_ result: inout TrainingResult) throws {
        let rows = Array(0..<trainer.dataset.test.count)
        guard !rows.isEmpty else { return try note("the data has no test images") }
        func record(_ weights: String, epoch: Int, _ metrics: StepMetrics) throws -> TestRecord {
            let record = TestRecord(
                weights: weights, epoch: epoch, images: metrics.rows, loss: metrics.loss, accuracy: metrics.accuracy,
                top5: metrics.top5Share)
            try trainer.folder?.append(record)
            try trainer.folder?.note(record.text)
            trainer.observer(.test(record))
            return record
        }
        let ofLast = try evaluate(Self.testTable, rows: rows)
        result.lastTest = try record("last", epoch: last.epoch, ofLast)
        var ofBest = ofLast
        if best.epoch != last.epoch {
            try executor.prepareStudent(network, state: best.state)
            ofBest = try evaluate(Self.testTable, rows: rows)
        }
        result.bestTest = try record("best", epoch: best.epoch, ofBest)
    }

    // MARK: - Words

    private func begin() throws {
        let lines =
            configuration.effectiveDescription + [
                "images     \(split.training.count) to train on, \(split.validation.count) to validate, "
                    + "\(trainer.dataset.test.count) to test",
                "device     \(executor.executorDescription)",
            ]
        for line in lines { try trainer.folder?.note(line) }
        trainer.observer(.begins(lines))
    }

    private func note(_ line: String) throws {
        try trainer.folder?.note(line)
        trainer.observer(.note(line))
    }

    private func metadata(epoch: Int) -> [String: String] {
        let transform = trainer.dataset.transform
        let model = ModelMetadata(
            model: network.id, classes: network.classes, input: network.inputShape, mean: transform.mean.map(Double.init),
            deviation: transform.deviation.map(Double.init), classNames: trainer.dataset.classNames)
        return model.text.merging([
            "epoch": "\(epoch)", "seed": "\(configuration.seed)", "method": configuration.method.id, "data": configuration.data,
            "data_hash": dataHash, "config": configuration.yaml,
        ]) { $1 }
    }

    private func environment() -> RunEnvironment {
        RunEnvironment(
            executor: executor.executorDescription, data: configuration.data, dataHash: dataHash,
            trainingImages: split.training.count, validationImages: split.validation.count, testImages: trainer.dataset.test.count
        )
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
