/// RLD (Sun et al., arXiv 2408.07703, section 4):
/// loss = crossEntropyWeight * CE(s, y) + w * (alpha * SCD + beta * MCD), all means over the rows, w the warm-up factor.
///
/// SCD, sample confidence: q = max softmax(t / a), p = softmax(s / a)_y, a^2 [q log(q / p) + (1 - q) log((1 - q) / (1 - p))].
/// Gradient: a (p - q) / N at y, -a (p - q) r_i / N elsewhere, r = softmax(s / a) over the classes other than y.
///
/// MCD, masked correlation: A = {i : t_i < t_y}, T^2 KL(softmax_A(t / T) || softmax_A(s / T)).
/// Gradient: T (s~_i - t~_i) / N on A, exactly 0 outside. Fewer than two classes in A give 0. Ties with t_y are masked.
public struct RefinedLogitDistillation: Sendable, Equatable {
    public var crossEntropyWeight: Double
    /// Weight of SCD.
    public var alpha: Double
    /// Weight of MCD.
    public var beta: Double
    /// T, of MCD.
    public var temperature: Double
    /// a, of SCD: the authors' ALPHA_T, 1 unless their --same-t is given.
    public var confidenceTemperature: Double
    /// Epochs over which the distillation terms grow to their weight; the authors' CIFAR value.
    public var warmupEpochs: Int
    /// Standardise both sides' logits per row before SCD and MCD (LSKD): mean 0, unbiased deviation, 1e-7 added to it.
    public var standardize: Bool

    /// The authors' values, but for those that are given.
    public init(
        crossEntropyWeight: Double = 1, alpha: Double = 1, beta: Double = 8, temperature: Double = 4,
        confidenceTemperature: Double = 1, warmupEpochs: Int = 20, standardize: Bool = false
    ) {
        self.crossEntropyWeight = crossEntropyWeight
        self.alpha = alpha
        self.beta = beta
        self.temperature = temperature
        self.confidenceTemperature = confidenceTemperature
        self.warmupEpochs = warmupEpochs
        self.standardize = standardize
    }
}

extension RefinedLogitDistillation: MethodSettings {
    static var id: String { "rld" }
    static var fields: [MethodOption: MethodField<Self>] {
        [
            .crossEntropyWeight: .number(\.crossEntropyWeight), .alpha: .number(\.alpha), .beta: .number(\.beta),
            .temperature: .number(\.temperature), .confidenceTemperature: .number(\.confidenceTemperature),
            .standardize: .flag(\.standardize), .warmUp: .whole(\.warmupEpochs),
        ]
    }
    static var termNames: [String] { ["ce", "scd", "mcd"] }
    func termWeights(warmup: Double) -> [Double] { [crossEntropyWeight, warmup * alpha, warmup * beta] }
    var method: Method { .refinedLogitDistillation(self) }

    func applyingLSKD() -> Self {
        var m = self
        (m.temperature, m.confidenceTemperature, m.standardize) = (2, 2, true)
        m.alpha *= 9
        m.beta *= 9
        return m
    }
}
