import RLDDatasets

/// Which images choose the best epoch.
public enum Selection: String, Sendable, Equatable, CaseIterable {
    /// The validation part; without one the last epoch counts as the best.
    case validation
    /// The test set, as the authors do: the number is then no measure of unseen images.
    case test
    /// None: the last epoch counts as the best.
    case last
}

extension TrainingConfiguration {
    /// Whether nothing is evaluated before the end, whatever the data.
    var selectsNothing: Bool { select == .last || select == .validation && validation == 0 }

    /// How the best epoch comes about, for a person.
    /// - Parameter selection: which images really choose it.
    func selectionDescription(_ selection: Selection) -> String {
        guard selection != .last else {
            return "nothing: the last epoch" + (earlyStopping > 0 ? " (early_stopping does nothing)" : "")
        }
        return (selection == .test ? "the TEST set" : "the validation part")
            + (evaluateEvery > 1 ? ", every \(evaluateEvery) epochs" : "")
            + (earlyStopping > 0 ? "; stops when it is \(earlyStopping) epochs old" : "")
    }

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
