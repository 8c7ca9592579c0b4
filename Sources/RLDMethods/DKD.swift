/// DKD (Zhao et al., arXiv 2203.08679, as the RLD authors code it):
/// loss = crossEntropyWeight * CE(s, y) + w * (alpha * TCKD + beta * NCKD), all means over the rows, w the warm-up factor.
///
/// TCKD, the label against the rest: q = softmax(t / T)_y, p = softmax(s / T)_y,
/// T^2 [q log(q / p) + (1 - q) log((1 - q) / (1 - p))].
/// Gradient: T (p - q) / N at y, -T (p - q) r_i / N elsewhere, r = softmax(s / T) over the classes other than y.
///
/// NCKD, the rest among itself: T^2 KL(softmax(t / T) || softmax(s / T)) over the classes other than y.
/// Gradient: T (r_i - rt_i) / N there, exactly 0 at y. The label is left out exactly; the authors subtract 1000 from its
/// logit instead, so that it leaks back when it leads by about 1000 T.
public struct DecoupledKnowledgeDistillation: Sendable, Equatable {
    public var crossEntropyWeight: Double
    /// Weight of TCKD.
    public var alpha: Double
    /// Weight of NCKD.
    public var beta: Double
    public var temperature: Double
    /// Epochs over which the distillation terms grow to their weight; the authors' CIFAR value.
    public var warmupEpochs: Int
    /// Standardise both sides' logits per row before TCKD and NCKD (LSKD): mean 0, unbiased deviation, 1e-7 added to it.
    public var standardize: Bool

    /// The authors' values, but for those that are given.
    public init(
        crossEntropyWeight: Double = 1, alpha: Double = 1, beta: Double = 8, temperature: Double = 4, warmupEpochs: Int = 20,
        standardize: Bool = false
    ) {
        self.crossEntropyWeight = crossEntropyWeight
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.warmupEpochs = warmupEpochs
        self.standardize = standardize
    }
}

extension DecoupledKnowledgeDistillation: MethodSettings {
    static var id: String { "dkd" }
    static var fields: [MethodOption: MethodField<Self>] {
        [
            .crossEntropyWeight: .number(\.crossEntropyWeight), .alpha: .number(\.alpha), .beta: .number(\.beta),
            .temperature: .number(\.temperature), .standardize: .flag(\.standardize), .warmUp: .whole(\.warmupEpochs),
        ]
    }
    static var termNames: [String] { ["ce", "tckd", "nckd"] }
    func termWeights(warmup: Double) -> [Double] { [crossEntropyWeight, warmup * alpha, warmup * beta] }
    var method: Method { .decoupledKnowledgeDistillation(self) }

    func applyingLSKD() -> Self {
        var m = self
        (m.temperature, m.standardize) = (2, true)
        m.alpha *= 9
        m.beta *= 9
        return m
    }
}
