/// KD (Hinton et al. 2015, as the RLD authors code it):
/// crossEntropyWeight * CE(s, y) + weight * T^2 * mean KL(softmax(t / T) || softmax(s / T)).
/// Gradient of the KL term with respect to s_i: T (softmax(s / T)_i - softmax(t / T)_i) / N.
public struct KnowledgeDistillation: Sendable, Equatable, Codable {
    /// The authors' KD.LOSS.CE_WEIGHT.
    public var crossEntropyWeight: Double = 0.1
    /// The authors' KD.LOSS.KD_WEIGHT.
    public var weight: Double = 0.9
    public var temperature: Double = 4
    /// Standardise both sides' logits per row before the KL term (LSKD): mean 0, unbiased deviation, 1e-7 added to it.
    public var standardize = false

    public init() {}
}
