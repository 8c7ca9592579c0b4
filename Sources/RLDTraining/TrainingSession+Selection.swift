/// Which epochs are evaluated, on what, and when a run ends for want of a better one.
extension TrainingSession {
    /// Which images really choose the best epoch.
    var selection: Selection { configuration.selection(trainer.dataset, split) }

    /// Whether the epoch ends with an evaluation.
    func evaluates(epoch: Int) -> Bool { selection != .last && configuration.evaluates(epoch: epoch) }

    /// The evaluation that may end an epoch.
    var selectionPass: ImageFeed.Pass {
        selection == .test
            ? testPass
            : evaluationPass(split.validatesOnOwn ? Self.validationTable : Self.trainTable, rows: split.validation)
    }

    func passAfter(epoch: Int) -> ImageFeed.Pass {
        epoch < configuration.epochs ? trainingPass(epoch: epoch + 1) : testPass
    }

    /// Whether the best is so old that the run ends. Only at the end of an epoch that was evaluated: others say nothing, and the
    /// last weights of a run are compared too.
    var stopsEarly: Bool {
        guard configuration.earlyStopping > 0, selection != .last, progress.best.epoch > 0, progress.step == 0,
            let last = progress.epochs.last, last.isEvaluated
        else { return false }
        return last.epoch - progress.best.epoch >= configuration.earlyStopping
    }
}
