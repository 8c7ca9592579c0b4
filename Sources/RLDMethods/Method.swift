import RLDGraph

/// A training method as a configuration value: which loss the student minimises.
public enum Method: Sendable, Equatable {
    case crossEntropy(CrossEntropy)
    case knowledgeDistillation(KnowledgeDistillation)
    case refinedLogitDistillation(RefinedLogitDistillation)

    /// Ids of all methods, as the command line spells them.
    public static let ids = ["ce", "kd", "rld"]

    public var id: String {
        switch self {
        case .crossEntropy: "ce"
        case .knowledgeDistillation: "kd"
        case .refinedLogitDistillation: "rld"
        }
    }

    /// Whether the loss reads a teacher's logits.
    public var needsTeacher: Bool { id != "ce" }

    /// Names of the unweighted terms in the order in which every report and every device buffer lists them.
    public var termNames: [String] {
        switch self {
        case .crossEntropy: ["ce"]
        case .knowledgeDistillation: ["ce", "kd"]
        case .refinedLogitDistillation: ["ce", "scd", "mcd"]
        }
    }

    /// The factor of each term in the total, in the order of `termNames`.
    /// - Parameter warmup: w = min(epoch / warm-up epochs, 1), which multiplies the distillation terms of RLD (the authors'
    ///   KD has no warm-up).
    public func termWeights(warmup: Double = 1) -> [Double] {
        switch self {
        case .crossEntropy(let m): [m.weight]
        case .knowledgeDistillation(let m): [m.crossEntropyWeight, m.weight]
        case .refinedLogitDistillation(let m): [m.crossEntropyWeight, warmup * m.alpha, warmup * m.beta]
        }
    }

    /// Epochs until the distillation terms have their full weight; 0 for methods without warm-up.
    public var warmupEpochs: Int {
        if case .refinedLogitDistillation(let m) = self { return m.warmupEpochs }
        return 0
    }

    /// w = min(epoch / warm-up epochs, 1), epochs counted from 1 (the authors' trainer).
    public func warmup(epoch: Int) -> Double {
        warmupEpochs > 0 ? min(Double(epoch) / Double(warmupEpochs), 1) : 1
    }
}
