/// MLKD without strong augmentation (multi-level logit distillation, Jin et al., CVPR 2023; the RLD authors' MLKD_NOAUG):
/// loss = crossEntropyWeight * CE(s, y) + weight * (KD + CC + BC), each of the three a sum over the temperatures
/// L = {T, 3, 5, 2, 6}. With p_i = softmax(s_i / L), q_i = softmax(t_i / L) of row i, N rows and C classes:
///
/// KD, instances: f * mean_i L^2 KL(q_i || p_i). Gradient of row i: f L (p_i - q_i) / N.
/// BC, batch: f / N * sum over pairs of rows of (p_i . p_j - q_i . q_j)^2. With D_ij = p_i . p_j - q_i . q_j,
/// d BC / d p_i = 4 f / N * sum_j D_ij p_j.
/// CC, classes: g / C * |M|^2, M = sum_i (p_i p_i' - q_i q_i') [C, C], |M|^2 the sum of its squares.
/// d CC / d p_i = 4 g / C * M p_i. Both go on to s_i through the softmax: p (dp - p . dp) / L.
///
/// f is the share of rows whose teacher confidence (largest softmax(t), temperature 1) is at or below the median of the rows,
/// g the share of classes whose summed softmax(t) is at or below the median of the classes: one half but for ties and odd
/// counts. They are factors of the whole batch, they select no rows. Confidences are compared by their logarithms, so that no
/// two of them become equal by rounding to 1 or to 0.
///
/// BC and CC are sums over pairs, not means over rows: a batch repeated twice doubles BC and quadruples CC.
/// Rows that are ignored or weigh 0 are not there. Row weights are scaled to mean 1 over the other rows and then count as
/// repetitions: w_i w_j in the sum of BC, w_i in M and in the summed softmax(t); the median of the rows counts each of them once.
/// A class that both sides exclude (-infinity) in every row does not count in C.
/// Of each row, the value of BC and CC is its share of the sum times N; the share of CC may be negative.
public struct MultiLevelLogitDistillation: Sendable, Equatable {
    /// The authors' KD.LOSS.CE_WEIGHT, which their MLKD shares.
    public var crossEntropyWeight: Double
    /// Weight of KD, CC and BC alike; the authors' KD.LOSS.KD_WEIGHT.
    public var weight: Double
    /// T, the first of the temperatures.
    public var temperature: Double
    /// Standardise both sides' logits per row before KD (LSKD): mean 0, unbiased deviation, 1e-7 added to it. CC and BC always
    /// see the raw logits.
    public var standardize: Bool

    /// The authors' values, but for those that are given.
    public init(crossEntropyWeight: Double = 0.1, weight: Double = 0.9, temperature: Double = 4, standardize: Bool = false) {
        self.crossEntropyWeight = crossEntropyWeight
        self.weight = weight
        self.temperature = temperature
        self.standardize = standardize
    }

    /// The temperatures beside T.
    public static let furtherTemperatures: [Double] = [3, 5, 2, 6]

    /// Each distinct temperature, in the order of L, and how often it is there.
    public var levels: [(temperature: Double, count: Int)] {
        ([temperature] + Self.furtherTemperatures).reduce(into: []) { levels, value in
            if let i = levels.firstIndex(where: { $0.temperature == value }) {
                levels[i].count += 1
            } else {
                levels.append((value, 1))
            }
        }
    }
}

extension MultiLevelLogitDistillation: MethodSettings {
    static var id: String { "mlkd" }
    static var fields: [MethodOption: MethodField<Self>] {
        [
            .crossEntropyWeight: .number(\.crossEntropyWeight), .distillationWeight: .number(\.weight),
            .temperature: .number(\.temperature), .standardize: .flag(\.standardize),
        ]
    }
    static var termNames: [String] { ["ce", "kd", "cc", "bc"] }
    /// BC compares all rows with each other.
    static var needsWholeBatch: Bool { true }
    func termWeights(warmup: Double) -> [Double] { [crossEntropyWeight, weight, weight, weight] }
    var method: Method { .multiLevelLogitDistillation(self) }

    /// T = 2 and weight 9, which replaces the 0.9 as in KD.
    func applyingLSKD() -> Self {
        var m = self
        (m.temperature, m.weight, m.standardize) = (2, 9, true)
        return m
    }
}
