/// LA, label augment by swapping (the RLD authors' SWAP): KD towards a teacher whose first largest logit and the label's logit
/// have changed places, u = t with t_y and t_argmax exchanged: weight * T^2 * mean KL(softmax(u / T) || softmax(s / T)).
/// No cross-entropy. Where the teacher is right, nothing is exchanged.
/// Gradient with respect to s_i: T (softmax(s / T)_i - softmax(u / T)_i) / N.
public struct LabelAugment: Sendable, Equatable {
    /// The authors have no weight here, that is 1.
    public var weight: Double
    public var temperature: Double
    /// Standardise both sides' logits per row (LSKD), after the exchange: mean 0, unbiased deviation, 1e-7 added to it.
    public var standardize: Bool

    /// The authors' values, but for those that are given.
    public init(weight: Double = 1, temperature: Double = 4, standardize: Bool = false) {
        self.weight = weight
        self.temperature = temperature
        self.standardize = standardize
    }
}

extension LabelAugment: MethodSettings {
    static var id: String { "la" }
    static var fields: [MethodOption: MethodField<Self>] {
        [.distillationWeight: .number(\.weight), .temperature: .number(\.temperature), .standardize: .flag(\.standardize)]
    }
    static var termNames: [String] { ["kd"] }
    func termWeights(warmup: Double) -> [Double] { [weight] }
    var method: Method { .labelAugment(self) }

    /// T = 2 and standardisation. The authors' switch has no weight to multiply here.
    func applyingLSKD() -> Self {
        var m = self
        (m.temperature, m.standardize) = (2, true)
        return m
    }
}
