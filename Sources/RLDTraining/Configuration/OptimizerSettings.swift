import RLDGraph
import RLDMethods

/// Which optimiser, and what the two have beside a learning rate and a weight decay.
public enum OptimizerKind: String, Sendable, Equatable, CaseIterable {
    case sgd, adamw

    /// Keys of settings that it does not read.
    var ignoredKeys: [String] {
        switch self {
        case .sgd: ["optimizer.beta1", "optimizer.beta2", "optimizer.epsilon"]
        case .adamw: ["optimizer.momentum", "optimizer.nesterov"]
        }
    }
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

    /// Takes the usual rate and decay of another optimiser than it had (PyTorch's of AdamW; the authors' of SGD), but for keys that
    /// were given.
    mutating func takeOptimizerDefaults(except given: Set<String>) {
        let authors = TrainingConfiguration().optimizer
        let (rate, decay) = optimizerKind == .adamw ? (1e-3, 1e-2) : (authors.learningRate, authors.weightDecay)
        if !given.contains("optimizer.learning_rate") { optimizer.learningRate = rate }
        if !given.contains("optimizer.weight_decay") { optimizer.weightDecay = decay }
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
        try Setting.require(
            optimizer.learningRate.isFinite && optimizer.learningRate > 0, "optimizer.learning_rate",
            "finite and more than 0", optimizer.learningRate)
        try Setting.requireNonNegative(optimizer.momentum, "optimizer.momentum")
        try Setting.require(optimizer.momentum < 1, "optimizer.momentum", "below 1", optimizer.momentum)
        try Setting.requireNonNegative(optimizer.weightDecay, "optimizer.weight_decay")
        try Setting.require(
            !optimizer.nesterov || optimizer.momentum > 0, "optimizer.nesterov", "off when the momentum is 0", true)
        for (key, value) in [
            ("optimizer.beta1", beta1), ("optimizer.beta2", beta2), ("optimizer.average_decay", averageDecay),
        ] {
            try Setting.requireShare(value, key)
        }
        try Setting.require(epsilon.isFinite && epsilon > 0, "optimizer.epsilon", "finite and more than 0", epsilon)
        try Setting.requireNonNegative(clipNorm, "optimizer.clip_norm")
        try Setting.requireWhole(accumulation, "optimizer.accumulation", atLeast: 1)
    }
}
