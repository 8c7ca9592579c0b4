import RLDGraph
import RLDMethods

/// Which optimiser, and what the two have beside a learning rate and a weight decay.
public enum OptimizerKind: String, Sendable, Equatable, Codable, CaseIterable {
    case sgd, adamw

    /// Keys of settings that it does not read.
    var ignoredKeys: [String] {
        switch self {
        case .sgd: ["optimizer.beta1", "optimizer.beta2", "optimizer.epsilon"]
        case .adamw: ["optimizer.momentum", "optimizer.nesterov"]
        }
    }
}

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
    /// How gradients move the parameters.
    /// - Parameter learningRate: that of a step; the base rate if nil.
    public func updateRule(learningRate: Double? = nil) -> UpdateRule {
        let rate = learningRate ?? optimizer.learningRate
        let chosen: Optimizer =
            switch optimizerKind {
            case .sgd:
                .sgd(
                    SGD(
                        learningRate: rate, momentum: optimizer.momentum, weightDecay: optimizer.weightDecay,
                        nesterov: optimizer.nesterov))
            case .adamw:
                .adamW(
                    AdamW(learningRate: rate, beta1: beta1, beta2: beta2, epsilon: epsilon, weightDecay: optimizer.weightDecay))
            }
        return UpdateRule(
            chosen, clipNorm: clipNorm > 0 ? clipNorm : nil, averageDecay: averageDecay > 0 ? averageDecay : nil,
            accumulation: accumulation)
    }

    /// One line for a person.
    var optimizerDescription: String {
        var parts = ["learning rate \(optimizer.learningRate)"]
        switch optimizerKind {
        case .sgd: parts.append("momentum \(optimizer.momentum)" + (optimizer.nesterov ? ", Nesterov" : ""))
        case .adamw: parts.append("beta1 \(beta1), beta2 \(beta2), epsilon \(epsilon)")
        }
        parts.append("weight decay \(optimizer.weightDecay)")
        if accumulation > 1 { parts.append("\(accumulation) batches per update") }
        if clipNorm > 0 { parts.append("gradients clipped to length \(clipNorm)") }
        if averageDecay > 0 { parts.append("moving average \(averageDecay)") }
        return (optimizerKind == .sgd ? "SGD, " : "AdamW, ") + parts.joined(separator: ", ")
    }

    func validateOptimizer() throws(InputError) {
        func require(_ good: Bool, _ key: String, _ wanted: String, _ found: some Any) throws(InputError) {
            if !good { throw InputError(key, "must be \(wanted), found \(found)") }
        }
        for (key, value) in [("optimizer.beta1", beta1), ("optimizer.beta2", beta2)] {
            try require(value >= 0 && value < 1, key, "at least 0 and below 1", value)
        }
        try require(epsilon.isFinite && epsilon > 0, "optimizer.epsilon", "finite and more than 0", epsilon)
        try require(clipNorm.isFinite && clipNorm >= 0, "optimizer.clip_norm", "finite and at least 0", clipNorm)
        try require(averageDecay >= 0 && averageDecay < 1, "optimizer.average_decay", "at least 0 and below 1", averageDecay)
        try require(accumulation >= 1, "optimizer.accumulation", "at least 1", accumulation)
        try require(labelSmoothing >= 0 && labelSmoothing < 1, "label_smoothing", "at least 0 and below 1", labelSmoothing)
        try require(evaluateEvery >= 1, "evaluate_every", "at least 1", evaluateEvery)
        try require(earlyStopping >= 0, "early_stopping", "at least 0", earlyStopping)
    }
}
