/// LR, label revision (the RLD authors' REVISION). The teacher is right on a row when the label is its first largest logit.
/// loss = mean over right rows of [crossEntropyWeight * CE(s, y) + lambda1 * mean_i (s_i - t_i)^2]
///      + mean over wrong rows of lambda2 * mean_i (p_i - u_i)^2; a group without rows adds 0.
/// p = softmax(s), q = softmax(t), u = b q + (1 - b) onehot(y), b = eta / (max q - q_y + 1). No temperature.
///
/// Gradients: 2 (s_i - t_i) / (C Nright), and 2 p_i (d_i - sum_j p_j d_j) / (C Nwrong) with d = p - u.
/// A class that both sides exclude (-infinity) takes no part and does not count in C; one that a single side excludes makes
/// the loss of a right row infinite. Squares limit finite losses to |logit| <= 1e18.
public struct LabelRevision: Sendable, Equatable {
    /// The authors have no weight here, that is 1.
    public var crossEntropyWeight: Double
    /// Weight of the squared distance of logits, on right rows.
    public var lambda1: Double
    /// Weight of the squared distance of probabilities, on wrong rows.
    public var lambda2: Double
    /// The largest share of the teacher in the revised target, 0 ... 1.
    public var eta: Double

    /// The authors' values, but for those that are given.
    public init(crossEntropyWeight: Double = 1, lambda1: Double = 4, lambda2: Double = 1, eta: Double = 0.8) {
        self.crossEntropyWeight = crossEntropyWeight
        self.lambda1 = lambda1
        self.lambda2 = lambda2
        self.eta = eta
    }
}

extension LabelRevision: MethodSettings {
    static var id: String { "lr" }
    static var fields: [MethodOption: MethodField<Self>] {
        [
            .crossEntropyWeight: .number(\.crossEntropyWeight), .lambda1: .number(\.lambda1), .lambda2: .number(\.lambda2),
            .eta: .number(\.eta),
        ]
    }
    static var termNames: [String] { ["ce_right", "mse_right", "mse_wrong"] }
    /// The means are over the right rows of a batch, and over the wrong ones.
    static var needsWholeBatch: Bool { true }
    /// Logits of 1e18 are squared, and rows of their squares added up.
    static var sumScale: Double { 0x1p-40 }
    func termWeights(warmup: Double) -> [Double] { [crossEntropyWeight, lambda1, lambda2] }
    /// The authors offer no standardisation here.
    func applyingLSKD() -> Self { self }
    var method: Method { .labelRevision(self) }
}
