import RLDGraph

/// A training method as a configuration value: which loss the student minimises.
public enum Method: Sendable, Equatable {
    case crossEntropy(CrossEntropy)
    case knowledgeDistillation(KnowledgeDistillation)
    case decoupledKnowledgeDistillation(DecoupledKnowledgeDistillation)
    case labelAugment(LabelAugment)
    case reviewCorrection(ReviewCorrection)
    case labelRevision(LabelRevision)
    case refinedLogitDistillation(RefinedLogitDistillation)
    case multiLevelLogitDistillation(MultiLevelLogitDistillation)

    /// Every method with the authors' defaults, in the order of `ids`.
    public static let defaults: [Method] = [
        .crossEntropy(CrossEntropy()),
        .knowledgeDistillation(KnowledgeDistillation()),
        .decoupledKnowledgeDistillation(DecoupledKnowledgeDistillation()),
        .labelAugment(LabelAugment()),
        .reviewCorrection(ReviewCorrection()),
        .labelRevision(LabelRevision()),
        .refinedLogitDistillation(RefinedLogitDistillation()),
        .multiLevelLogitDistillation(MultiLevelLogitDistillation()),
    ]

    /// Ids of all methods, as the command line spells them.
    public static let ids = defaults.map(\.id)

    /// The value inside.
    var settings: any MethodSettings {
        switch self {
        case .crossEntropy(let m): m
        case .knowledgeDistillation(let m): m
        case .decoupledKnowledgeDistillation(let m): m
        case .labelAugment(let m): m
        case .reviewCorrection(let m): m
        case .labelRevision(let m): m
        case .refinedLogitDistillation(let m): m
        case .multiLevelLogitDistillation(let m): m
        }
    }

    public var id: String { type(of: settings).id }

    /// Whether the loss reads a teacher's logits.
    public var needsTeacher: Bool { type(of: settings).needsTeacher }

    /// Whether a term looks at more than one row at a time, so that a batch cannot be computed in parts.
    public var needsWholeBatch: Bool { type(of: settings).needsWholeBatch }

    /// Whether a term compares rows with each other, which takes work by the square of the batch.
    package var comparesRows: Bool { if case .multiLevelLogitDistillation = self { true } else { false } }

    /// What sums of the terms over rows are stored times in float32, so that large ones are not beyond it.
    package var sumScale: Double { type(of: settings).sumScale }

    /// Names of the unweighted terms in the order in which every report and every device buffer lists them.
    public var termNames: [String] { type(of: settings).termNames }

    /// The factor of each term in the total, in the order of `termNames`.
    /// - Parameter warmup: w = min(epoch / warm-up epochs, 1), which multiplies the distillation terms of DKD and RLD (the
    ///   authors' other methods have no warm-up).
    public func termWeights(warmup: Double = 1) -> [Double] { settings.termWeights(warmup: warmup) }

    /// Epochs until the distillation terms have their full weight; 0 for methods without warm-up.
    public var warmupEpochs: Int { settings.warmupEpochs }

    /// w = min(epoch / warm-up epochs, 1), epochs counted from 1 (the authors' trainer).
    public func warmup(epoch: Int) -> Double {
        warmupEpochs > 0 ? min(Double(epoch) / Double(warmupEpochs), 1) : 1
    }
}
