import RLDExecution
import RLDGraph
import RLDMethods

/// Leaving a run and coming back to it.
extension TrainingSession {
    /// Puts executor and progress where the checkpoint says.
    mutating func restore() throws {
        guard let resumption = trainer.resumption else { return }
        let record = resumption.checkpoint.record
        try resumption.check(dataHash: trainer.dataHash, teacherHash: teacherHash)
        try resumption.checkpoint.state.weights.validate(for: network, source: resumption.checkpoint.path)
        if let stored = record.tuning, let tuning, tuning.tuning != stored {
            earlyNotes.append(
                "this device is tuned otherwise (\(tuning.description)) than the run was (\(stored.hash)): results go on within "
                    + "rounding, not to the last bit")
        }
        try executor.restore(resumption.checkpoint.state)
        restoreBest(resumption)
        // A changed batch size or limit makes other steps: the epoch begins again, on the weights as they are.
        if record.stepsPerEpoch != stepsPerEpoch, progress.step > 0 {
            progress.epoch -= 1
            progress.beginNextEpoch()
        }
        // Sums of other terms cannot be gone on with.
        if hasOtherTerms, progress.step > 0 {
            (progress.epochSums, progress.pendingSums) = (StepMetrics(), StepMetrics())
            progress.firstUnread = progress.step + 1
        }
    }

    /// What was the best so far may be lost, or not be it any more.
    private mutating func restoreBest(_ resumption: Resumption) {
        let epoch = progress.best.epoch
        guard epoch > 0 else { return }
        let isOfOtherImages = choosesOnOtherImages(resumption)
        if isOfOtherImages {
            earlyNotes.append("the best epoch is chosen anew from here on: the score of epoch \(epoch) is of other images")
        } else if let error = resumption.bestError {
            earlyNotes.append(
                resumption.best == nil
                    ? "the best weights (epoch \(epoch)) are lost: \(error); the best epoch is chosen anew from here on"
                    : "the best weights (epoch \(epoch)) were taken from best.safetensors: \(error)")
        }
        if isOfOtherImages || resumption.best == nil { progress.standInForBest(file: resumption.checkpoint.name) }
    }

    /// Whether scores of the run so far are none of the images that choose the best now.
    private func choosesOnOtherImages(_ resumption: Resumption) -> Bool {
        let (before, data) = (resumption.configuration, trainer.dataset)
        guard let former = try? DataSplit(data, limit: before.limit, validation: before.validation) else { return true }
        let formerSelection = before.selection(data, former)
        if (formerSelection, selection) == (.last, .last) { return false }
        return formerSelection != selection || trainer.dataHash != resumption.checkpoint.record.dataHash
            || selection == .validation
                && (former.validation, former.validatesOnOwn) != (split.validation, split.validatesOnOwn)
    }

    /// Keeps what stands for the best where the best is looked for.
    func saveStandIn() throws {
        guard progress.bestStandsIn else { return }
        try trainer.folder?.save(
            progress.best.state, as: "best.safetensors", metadata: metadata(epoch: progress.best.epoch))
    }

    /// Whether the run that goes on had other terms of its loss.
    var hasOtherTerms: Bool {
        trainer.resumption.map { $0.configuration.objective.termNames != objective.termNames } ?? false
    }

    /// The choices among kernels that the executor computes with.
    var tuning: ChosenTuning? { (executor as? DeviceExecutor)?.tuning }

    /// The state as it is after the steps so far of an unfinished epoch.
    mutating func checkpointWithinEpoch() throws {
        try takePending()
        if trainer.folder != nil { try writeCheckpoint(keeping: nil) }
    }

    /// - Parameter previousBest: a checkpoint that an older one refers to and that is kept once more.
    func writeCheckpoint(keeping previousBest: String?) throws {
        guard let folder = trainer.folder else { return }
        let state = try executor.trainingState()
        try requireFinite(
            state.weights.allFinite, "state of the weights", firstStep: progress.firstUnread, step: max(progress.step, 1))
        let name = CheckpointFolder.name(epoch: progress.epoch, step: progress.step)
        let record = CheckpointRecord(
            configuration: configuration.yaml, epoch: progress.epoch, step: progress.step, stepsPerEpoch: stepsPerEpoch,
            updates: progress.updates, epochSums: ExactMetrics(progress.epochSums),
            pendingSums: ExactMetrics(progress.pendingSums),
            firstUnread: progress.firstUnread, epochs: progress.epochs, bestEpoch: progress.best.epoch,
            bestScore: ExactDouble(progress.best.score), bestFile: progress.best.file == name ? nil : progress.best.file,
            seconds: seconds, fileLengths: try folder.growingFiles(), dataHash: trainer.dataHash, teacherHash: teacherHash,
            executor: executor.executorDescription, tuning: tuning?.tuning)
        try Checkpoint(path: folder.checkpoints.file(name), record: record, state: state).write()
        folder.checkpoints.prune(
            keeping: configuration.checkpointKeep, and: Set([progress.best.file, previousBest].compactMap { $0 }))
    }

    /// Saves everything after the steps so far of an unfinished epoch.
    mutating func stop(_ place: String) throws {
        try takePending()
        try executor.exchangeWithAverage()
        let state = try executor.studentState()
        try executor.exchangeWithAverage()
        try requireFinite(
            state.allFinite, "state of the weights", firstStep: progress.firstUnread, step: max(progress.step, 1))
        progress.last = (progress.epoch, state)
        try trainer.folder?.save(
            state, as: "last.safetensors", metadata: metadata(epoch: progress.epoch).merging(["step": "\(progress.step)"]) { $1 })
        if progress.step > 0 || progress.epoch > 1 { try writeCheckpoint(keeping: nil) }
        try note("interrupted in epoch \(progress.epoch) \(place); everything is saved")
    }
}
