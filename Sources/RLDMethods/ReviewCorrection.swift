/// RC, review and correction (as the RLD authors code it):
/// loss = crossEntropyWeight * CE(s, y) + weight * KD + correctionWeight * RC, all means over the rows.
///
/// KD = T^2 KL(softmax(t / T) || softmax(s / T)), gradient T (softmax(s / T)_i - softmax(t / T)_i) / N.
///
/// RC = T^2 KL(softmax(u / T) || softmax(s / T)), u = the student's own logits, held constant, with u_y = s_y + max s.
/// With p = softmax(s / T)_y and q = softmax(u / T)_y the other classes keep their proportions, so this is
/// T^2 [q log(q / p) + (1 - q) log((1 - q) / (1 - p))], gradient T (p - q) / N at y, -T (p - q) r_i / N elsewhere,
/// r = softmax(s / T) over the classes other than y. It depends on the level of the student's logits: a constant added to a
/// row changes max s, and a negative max s moves the target away from the label.
public struct ReviewCorrection: Sendable, Equatable {
    public var crossEntropyWeight: Double
    /// Weight of KD.
    public var weight: Double
    /// Weight of RC.
    public var correctionWeight: Double
    public var temperature: Double
    /// Standardise both sides' logits per row before KD and RC (LSKD): mean 0, unbiased deviation, 1e-7 added to it.
    public var standardize: Bool

    /// The authors' values, but for those that are given.
    public init(
        crossEntropyWeight: Double = 1, weight: Double = 1, correctionWeight: Double = 0.1, temperature: Double = 4,
        standardize: Bool = false
    ) {
        self.crossEntropyWeight = crossEntropyWeight
        self.weight = weight
        self.correctionWeight = correctionWeight
        self.temperature = temperature
        self.standardize = standardize
    }
}

extension ReviewCorrection: MethodSettings {
    static var id: String { "rc" }
    static var fields: [MethodOption: MethodField<Self>] {
        [
            .crossEntropyWeight: .number(\.crossEntropyWeight), .distillationWeight: .number(\.weight),
            .correctionWeight: .number(\.correctionWeight), .temperature: .number(\.temperature),
            .standardize: .flag(\.standardize),
        ]
    }
    static var termNames: [String] { ["ce", "kd", "rc"] }
    func termWeights(warmup: Double) -> [Double] { [crossEntropyWeight, weight, correctionWeight] }
    var method: Method { .reviewCorrection(self) }

    func applyingLSKD() -> Self {
        var m = self
        (m.temperature, m.standardize) = (2, true)
        m.weight *= 9
        m.correctionWeight *= 9
        return m
    }
}
