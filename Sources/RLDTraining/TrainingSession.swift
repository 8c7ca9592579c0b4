import Foundation
import RLDDatasets
import RLDGraph
import RLDMethods

/// One run while it goes on: the loop over epochs and steps.
struct TrainingSession {
    let trainer: Trainer
    let network: Network
    let split: DataSplit
    var progress: TrainingProgress
    private let clock = ContinuousClock()
    private let start: ContinuousClock.Instant
    var pace = TrainingPace()
    /// Of the weights that a fresh run starts from.
    let initialHash: String
    /// Of the teachers' weights, in order.
    var teacherHashes: [String] = []
    var teacherHash: String { teacherHashes.joined(separator: "+") }
    /// By index of the teacher.
    private(set) var teacherCaches: [Int: TeacherCache] = [:]
    let objective: Objective
    /// What was to be said before the log was open.
    var earlyNotes: [String]

    static let trainTable = "train"
    static let validationTable = "validation"
    static let testTable = "test"
    private let feed = ImageFeed()

    var configuration: TrainingConfiguration { trainer.configuration }
    var executor: any NetworkExecutor { trainer.executor }
    /// Since the run began, over all its processes.
    var seconds: Double { progress.secondsBefore + clock.now.seconds(since: start) }
    var stepsPerEpoch: Int { TrainingOrder.steps(split.training.count, batch: configuration.batchSize) }

    /// - Parameters:
    ///   - initial: the weights that a fresh run starts from.
    ///   - notes: what was to be said about them.
    init(trainer: Trainer, network: Network, split: DataSplit, initial: NetworkState, notes: [String]) {
        self.trainer = trainer
        self.network = network
        self.split = split
        earlyNotes = notes
        objective = trainer.configuration.objective
        var sum = Checksum()
        sum.add(initial)
        initialHash = sum.text
        start = clock.now
        progress = trainer.resumption.map { TrainingProgress($0, initial: initial) } ?? TrainingProgress(initial: initial)
    }

    mutating func run(teachers: [(index: Int, teacher: Trainer.Teacher)]) throws -> TrainingResult {
        let own = split.validatesOnOwn ? [Self.validationTable] : []
        for name in [Self.trainTable] + own + [Self.testTable] where table(name).count > 0 {
            try executor.load(table(name), as: name, staged: isStaged(name))
        }
        for (index, teacher) in teachers {
            var sum = Checksum()
            sum.add(teacher.state)
            teacherHashes.append(sum.text)
            try openTeacherCache(index, teacherHash: sum.text)
            // With everything in the cache the teacher stays out of the device's memory.
            if try teacherCaches[index]?.isComplete(split.training) != true {
                try executor.prepareTeacher(teacher.network, state: teacher.state, at: index)
            }
        }
        try executor.prepareStudent(network, state: progress.last.state)
        try executor.prepareUpdates(configuration.updateRule())
        let size = configuration.batchSize
        try executor.prepareSteps(
            training: TrainingOrder.sizes(split.training.count, batch: size),
            evaluation: TrainingOrder.sizes(split.validation.count, batch: size)
                + TrainingOrder.sizes(trainer.dataset.test.count, batch: size),
            objective: objective)
        try restore()
        // Only now: whatever is wrong with the input has been said by this point. Nothing was written, but for the files of a
        // teacher's cache, which hold nothing yet that they did not hold before.
        try trainer.folder?.open(
            configuration: configuration, environment: environment(), resuming: trainer.resumption?.checkpoint)
        try begin()
        try saveStandIn()

        var interrupted = false
        while progress.epoch <= configuration.epochs, !interrupted {
            if stopsEarly {
                let (last, best) = (progress.epoch - 1, progress.best.epoch)
                try note(
                    "stopped early after epoch \(last): the best, epoch \(best), is \(last - best) epochs old (early_stopping: "
                        + "\(configuration.earlyStopping))")
                break
            }
            interrupted = try !trainEpoch()
        }
        var result = TrainingResult(
            network: network, epochs: progress.epochs, bestEpoch: progress.best.epoch, lastState: progress.last.state,
            bestState: progress.best.state, lastTest: nil, bestTest: nil, imagesPerSecond: pace.imagesPerSecond, seconds: seconds,
            interrupted: interrupted, metadata: metadata(epoch: 0))
        if !interrupted {
            result.interrupted = try !test(&result)
            result.seconds = seconds
            if !result.interrupted { try trainer.folder?.finish(result.summary) }
        }
        return result
    }

    // MARK: - Images

    func table(_ name: String) -> ImageTable {
        let data = trainer.dataset
        return name == Self.testTable ? data.test : name == Self.validationTable ? data.validation ?? data.train : data.train
    }

    /// Whether the table's images come to the device batch by batch.
    func isStaged(_ name: String) -> Bool { configuration.stages(table(name), on: executor) }

    /// What brings the images of a pass to the device; nil when they are there.
    func loader(_ pass: ImageFeed.Pass) -> BatchLoader? {
        isStaged(pass.table) ? feed.take(pass, table(pass.table)) : nil
    }

    /// Begins to read for the pass that comes next, once all of the one before is read.
    func begin(_ pass: ImageFeed.Pass?) {
        if let pass, isStaged(pass.table) { feed.begin(pass, table(pass.table)) }
    }

    func trainingPass(epoch: Int) -> ImageFeed.Pass {
        let order = TrainingOrder.indices(split.training, seed: configuration.seed, epoch: epoch)
        return ImageFeed.Pass(
            table: Self.trainTable, batches: TrainingOrder.batches(order, size: configuration.batchSize).map(Array.init))
    }

    func evaluationPass(_ table: String, rows: some Collection<Int>) -> ImageFeed.Pass {
        ImageFeed.Pass(
            table: table, batches: TrainingOrder.batches(Array(rows), size: configuration.batchSize).map(Array.init))
    }

    var testPass: ImageFeed.Pass { evaluationPass(Self.testTable, rows: 0..<trainer.dataset.test.count) }

    // MARK: - One epoch

    /// Trains and evaluates what is left of the current epoch.
    /// - Returns: false when a stop was asked for before it ended.
    private mutating func trainEpoch() throws -> Bool {
        let epoch = progress.epoch
        var pass = trainingPass(epoch: epoch)
        let batches = pass.batches
        let objective = objective.at(epoch: epoch)
        let transform = configuration.trainingTransform(trainer.dataset)
        pass.batches.removeFirst(min(progress.step, batches.count))
        let loader = loader(pass)
        for index in progress.step..<batches.count {
            if trainer.shouldStop() {
                try stop("after step \(index) of \(batches.count)")
                return false
            }
            let update = update(batches, epoch: epoch, index: index)
            pace.begin(at: clock.now)
            var selection = BatchSelection(
                table: Self.trainTable, indices: batches[index], transform: transform, seed: configuration.seed, epoch: epoch)
            selection.pixels = try loader?.next()
            if index == batches.count - 1 { begin(evaluates(epoch: epoch) ? selectionPass : passAfter(epoch: epoch)) }
            selection.labelSmoothing = configuration.labelSmoothing
            selection.mixing = transform.mixing(
                seed: configuration.seed, step: (epoch - 1) * batches.count + index, height: network.inputShape[1],
                width: network.inputShape[2])
            try useTeacherCaches(&selection)
            try executor.trainStep(selection, objective: objective, update: update)
            progress.step = index + 1
            if update.ends { progress.updates += 1 }
            if progress.step % configuration.logEvery == 0 || progress.step == batches.count {
                try readSteps(warmup: objective.warmup, learningRate: learningRate(epoch: epoch, step: index))
            }
            let done = (epoch - 1) * batches.count + progress.step
            if configuration.checkpointEvery > 0, done % configuration.checkpointEvery == 0, progress.step < batches.count {
                try checkpointWithinEpoch()
            }
        }
        return try endEpoch(learningRate: learningRate(epoch: epoch, step: batches.count - 1))
    }

    /// Batches that are added up for one update share its learning rate, that of the first of them.
    private func learningRate(epoch: Int, step: Int) -> Double {
        let size = configuration.accumulation
        return configuration.schedule.learningRate(
            base: configuration.optimizer.learningRate, epoch: epoch, step: step / size * size, stepsPerEpoch: stepsPerEpoch,
            epochs: configuration.epochs)
    }

    /// What the step on a batch does with its gradient. The last update of an epoch may have fewer batches than the others.
    private func update(_ batches: [[Int]], epoch: Int, index: Int) -> ParameterUpdate {
        let size = configuration.accumulation
        let first = index / size * size
        let group = batches[first..<min(first + size, batches.count)]
        let images = group.reduce(0) { $0 + $1.count }
        return ParameterUpdate(
            configuration.updateRule(learningRate: learningRate(epoch: epoch, step: index)),
            number: progress.updates + 1, share: Double(batches[index].count) / Double(images),
            begins: index == first, ends: index == group.endIndex - 1)
    }

    private mutating func openTeacherCache(_ index: Int, teacherHash: String) throws {
        guard let folder = configuration.teacherCache else { return }
        teacherCaches[index] = try TeacherCache(
            folder, teacherHash: teacherHash, dataHash: trainer.dataHash,
            transform: configuration.trainingTransform(trainer.dataset),
            labels: trainer.dataset.train.labels, classes: network.classes, draws: configuration.teacherCacheDraws,
            type: configuration.teacherCacheType, precision: configuration.precision,
            storage: configuration.teacherStorage)
    }

    /// Replays an augmentation that the caches know, or asks each teacher once and stores what it says.
    private func useTeacherCaches(_ selection: inout BatchSelection) throws {
        guard let first = teacherCaches.values.first else { return }
        selection.seed = TeacherCache.seed
        selection.epoch = first.draw(epoch: selection.epoch)
        for (index, cache) in teacherCaches.sorted(by: { $0.key < $1.key }) {
            selection.teacherLogits[index] =
                try cache.logits(selection.indices, draw: selection.epoch)
                ?? cache.store(
                    try executor.teacherLogits(selection, of: index), of: selection.indices, draw: selection.epoch)
        }
    }

    /// Takes the metrics of the steps since the last reading, without reporting them yet.
    mutating func takePending() throws {
        let metrics = try executor.takeMetrics()
        pace.end(at: clock.now, images: metrics.rows)
        progress.pendingSums = progress.pendingSums + metrics
        try requireFinite(
            metrics.isFinite, "loss", firstStep: min(progress.firstUnread, max(progress.step, 1)), step: max(progress.step, 1))
    }

    /// Takes and reports them.
    private mutating func readSteps(warmup: Double, learningRate: Double) throws {
        try takePending()
        let metrics = progress.pendingSums
        progress.pendingSums = StepMetrics()
        progress.firstUnread = progress.step + 1
        progress.epochSums = progress.epochSums + metrics
        let stepsDone = (progress.epoch - 1) * stepsPerEpoch + progress.step
        let stepsLeft = configuration.epochs * stepsPerEpoch - stepsDone
        let record = StepRecord(
            epoch: progress.epoch, step: progress.step, steps: stepsPerEpoch, learningRate: learningRate, warmup: warmup,
            images: metrics.rows, loss: metrics.loss, terms: metrics.terms(named: objective.termNames),
            accuracy: metrics.accuracy, top5: metrics.top5Share, imagesPerSecond: pace.lastImagesPerSecond, seconds: seconds,
            secondsLeft: seconds / Double(stepsDone) * Double(stepsLeft))
        try trainer.folder?.append(record)
        trainer.observer(.steps(record))
    }

    /// Evaluates, keeps the weights, and goes on to the next epoch.
    /// - Returns: false when a stop was asked for before that was done.
    private mutating func endEpoch(learningRate: Double) throws -> Bool {
        let epoch = progress.epoch
        let selection = selection
        let evaluates = evaluates(epoch: epoch)
        var found: StepMetrics?
        try executor.exchangeWithAverage()
        if evaluates {
            found = try evaluate(selectionPass, next: passAfter(epoch: epoch))
            guard found != nil else {
                try executor.exchangeWithAverage()
                try stop("before its evaluation")
                return false
            }
        }
        try requireFinite(found?.isFinite ?? true, "\(selection.rawValue) loss", firstStep: stepsPerEpoch, step: stepsPerEpoch)
        let state = try executor.studentState()
        try executor.exchangeWithAverage()
        try requireFinite(state.allFinite, "state of the weights", firstStep: stepsPerEpoch, step: stepsPerEpoch)
        progress.last = (epoch, state)
        let score = found?.accuracy ?? Double(epoch)
        let isBest = (evaluates || selection == .last) && score > progress.best.score
        let previousBest = progress.best.file
        if isBest { progress.best = (epoch, score, state, CheckpointFolder.name(epoch: epoch + 1, step: 0)) }
        let metrics = progress.epochSums
        let (validation, test) = selection == .test ? (nil, found) : (found, nil)
        let record = EpochRecord(
            epoch: epoch, epochs: configuration.epochs, learningRate: learningRate, trainLoss: metrics.loss,
            trainAccuracy: metrics.accuracy, terms: metrics.terms(named: objective.termNames),
            validationLoss: validation?.loss, validationAccuracy: validation?.accuracy, validationTop5: validation?.top5Share,
            testLoss: test?.loss, testAccuracy: test?.accuracy, testTop5: test?.top5Share, imagesPerSecond: pace.imagesPerSecond,
            seconds: seconds, best: isBest)
        progress.epochs.append(record)
        progress.beginNextEpoch()
        if let folder = trainer.folder {
            try folder.save(state, as: "last.safetensors", metadata: metadata(epoch: epoch))
            if isBest { try folder.save(state, as: "best.safetensors", metadata: metadata(epoch: epoch)) }
            try folder.append(record)
            try folder.note(record.text)
            try writeCheckpoint(keeping: previousBest)
        }
        trainer.observer(.epoch(record))
        return true
    }

    func requireFinite(_ good: Bool, _ what: String, firstStep: Int, step: Int) throws {
        guard !good else { return }
        let last = progress.last
        let kept =
            last.epoch == 0
            ? "no weights were saved yet"
            : "the weights of epoch \(last.epoch) are kept" + (trainer.folder.map { " in \($0.path)" } ?? "")
        let error = TrainingError.nonFinite(what: what, epoch: progress.epoch, firstStep: firstStep, step: step, kept: kept)
        try trainer.folder?.note(error.description)
        throw error
    }
}
