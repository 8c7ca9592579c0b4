import Foundation
import RLD
import Testing

/// Which images choose the best epoch, when a run ends for want of a better one, and what is said of both.
struct SelectionTests {
    @Test("a run stops early only after an evaluation, that of its last epoch, and says so")
    func stopsAfterEvaluation() throws {
        let temporary = TemporaryFolder()
        var configuration = bandConfiguration(epochs: 30)
        configuration.optimizer.learningRate = 1e-12  // Nothing moves: the first that is evaluated stays the best.
        configuration.evaluateEvery = 5
        configuration.earlyStopping = 3
        var notes: [String] = []
        let result = try trainBands(temporary.path + "/run", configuration) { notes.append($0) }
        #expect(result.bestEpoch == 5 && result.epochs.count == 10 && result.epochs.last?.validationAccuracy != nil)
        let expected = "stopped early after epoch 10: the best, epoch 5, is 5 epochs old (early_stopping: 3)"
        #expect(notes == [expected])
        #expect(try temporary.text("run/log.txt").contains(expected))
    }
}
