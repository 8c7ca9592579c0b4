import RLDGraph
import RLDMethods

/// Passes over the validation part and the test set.
extension TrainingSession {
    /// - Parameters:
    ///   - next: the pass after this one.
    ///   - correct: gets whether each row's label was the first largest logit, in the order of the rows.
    /// - Returns: nil when a stop was asked for before the last batch.
    func evaluate(
        _ pass: ImageFeed.Pass, next: ImageFeed.Pass? = nil, correct: ((Bool) -> Void)? = nil
    ) throws -> StepMetrics? {
        let isWhole = try executor.evaluate(
            table: pass.table, batches: pass.batches, transform: trainer.dataset.transform, loader: loader(pass),
            shouldStop: trainer.shouldStop, afterReading: { begin(next) }, correct: correct)
        let metrics = try executor.takeMetrics()
        return isWhole ? metrics : nil
    }

    /// The test set, once for the last and once for the best weights; the executor is left holding the best.
    /// - Returns: false when a stop was asked for before that was done.
    func test(_ result: inout TrainingResult) throws -> Bool {
        let pass = testPass
        guard !pass.batches.isEmpty else {
            try note("the data has no test images")
            try executor.prepareStudent(network, state: progress.best.state)
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
        let test = trainer.dataset.test
        let classes = ClassAccuracy.each(of: test.labels, names: test.classNames, correct: correct)
        result.bestTest = try record("best", epoch: progress.best.epoch, ofBest, classes)
        try trainer.folder?.append(classes: classes, epoch: progress.best.epoch)
        return true
    }
}
