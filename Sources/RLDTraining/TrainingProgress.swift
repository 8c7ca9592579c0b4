import RLDGraph
import RLDMethods

/// Where a run is: together with weights and optimiser all that decides how it goes on.
struct TrainingProgress {
    /// The epoch that goes on, from 1; one more than the last when training is over.
    var epoch = 1
    /// Its steps that are done.
    var step = 0
    /// Updates of the parameters that are done, whatever the batch was.
    var updates = 0
    /// Sums over the epoch up to the last logged step.
    var epochSums = StepMetrics()
    /// Sums over the steps since then that were taken from the executor early.
    var pendingSums = StepMetrics()
    /// The first step since then.
    var firstUnread = 1
    var epochs: [EpochRecord] = []
    /// Weights after the best epoch; `file` is the checkpoint that holds them.
    var best: (epoch: Int, score: Double, state: NetworkState, file: String?)
    /// Weights after the last step that was looked at.
    var last: (epoch: Int, state: NetworkState)
    /// Of the processes before this one.
    var secondsBefore = 0.0

    init(initial: NetworkState) {
        best = (0, -1, initial, nil)
        last = (0, initial)
    }

    /// Lets the weights as they are stand for the best until an epoch is evaluated.
    /// - Parameter file: the checkpoint that holds them.
    mutating func standInForBest(file: String) { best = (last.epoch, -1, last.state, file) }

    /// Whether the best has no score of its own.
    var bestStandsIn: Bool { best.epoch > 0 && best.score < 0 }

    mutating func beginNextEpoch() {
        epoch += 1
        step = 0
        epochSums = StepMetrics()
        pendingSums = StepMetrics()
        firstUnread = 1
    }

    /// Restores what a checkpoint knows.
    init(_ resumption: Resumption, initial: NetworkState) {
        let record = resumption.checkpoint.record
        epoch = record.epoch
        step = record.step
        updates = record.updates ?? record.impliedUpdates(accumulation: resumption.configuration.accumulation)
        epochSums = record.epochSums.metrics
        pendingSums = record.pendingSums.metrics
        firstUnread = record.firstUnread
        epochs = record.epochs
        best = (
            record.bestEpoch, record.bestScore.value, resumption.best ?? initial,
            record.bestFile ?? (record.bestEpoch > 0 ? resumption.checkpoint.name : nil)
        )
        last = (record.step == 0 ? record.epoch - 1 : record.epoch, resumption.checkpoint.bestWeights)
        secondsBefore = record.seconds
    }
}
