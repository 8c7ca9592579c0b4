/// KD (Hinton et al. 2015, as the RLD authors code it):
/// crossEntropyWeight * CE(s, y) + weight * T^2 * mean KL(softmax(t / T) || softmax(s / T)).
/// Gradient of the KL term with respect to s_i: T (softmax(s / T)_i - softmax(t / T)_i) / N.
public struct KnowledgeDistillation: Sendable, Equatable {
    /// The authors' KD.LOSS.CE_WEIGHT.
    public var crossEntropyWeight: Double
    /// The authors' KD.LOSS.KD_WEIGHT.
    public var weight: Double
    public var temperature: Double
    /// Standardise both sides' logits per row before the KL term (LSKD): mean 0, unbiased deviation, 1e-7 added to it.
    public var standardize: Bool

    /// The authors' values, but for those that are given.
    public init(crossEntropyWeight: Double = 0.1, weight: Double = 0.9, temperature: Double = 4, standardize: Bool = false) {
        self.crossEntropyWeight = crossEntropyWeight
        self.weight = weight
        self.temperature = temperature
        self.standardize = standardize
    }
}

extension KnowledgeDistillation: MethodSettings {
    static var id: String { "kd" }
    static var fields: [MethodOption: MethodField<Self>] {
        [
            .crossEntropyWeight: .number(\.crossEntropyWeight), .distillationWeight: .number(\.weight),
            .temperature: .number(\.temperature), .standardize: .flag(\.standardize),
        ]
    }
    static var termNames: [String] { ["ce", "kd"] }
    func termWeights(warmup: Double) -> [Double] { [crossEntropyWeight, weight] }
    var method: Method { .knowledgeDistillation(self) }

    /// T = 2 and weight 9. For KD (and MLKD) the authors' switch replaces the weight by 9; it multiplies the weights of the
    /// other methods by 9. Their KD result with it has ce-weight 0.1 and kd-weight 9, not 8.1.
    func applyingLSKD() -> Self {
        var m = self
        (m.temperature, m.weight, m.standardize) = (2, 9, true)
        return m
    }
}
