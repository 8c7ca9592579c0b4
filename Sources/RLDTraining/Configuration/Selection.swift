import RLDDatasets

/// Which images choose the best epoch.
public enum Selection: String, Sendable, Equatable, Codable, CaseIterable {
    /// The validation part; without one the last epoch counts as the best.
    case validation
    /// The test set, as the authors do: the number is then no measure of unseen images.
    case test
    /// None: the last epoch counts as the best.
    case last
}

extension TrainingConfiguration {
    /// Which images really choose the best epoch.
    func selection(_ dataset: Dataset, _ split: DataSplit) -> Selection {
        switch select {
        case .test where dataset.test.count > 0: .test
        case .validation where !split.validation.isEmpty: .validation
        default: .last
        }
    }

    /// Whether an epoch ends with an evaluation on the images that choose the best; the last one always does.
    func evaluates(epoch: Int) -> Bool { epoch % evaluateEvery == 0 || epoch == epochs }

    /// How many epochs do.
    var evaluations: Int { epochs / evaluateEvery + (epochs % evaluateEvery == 0 ? 0 : 1) }
}
