/// The loss cases: which logits, which method with which numbers, and what the authors' code returns.
public struct LossIndex: Decodable, Sendable {
    public let sets: [LossSet]
    public let cases: [LossGolden]

    /// The cases of one method ("RLD", "KD", "DKD", "SWAP", "RC", "REVISION", "MLKD_NOAUG", "CE").
    public func cases(method: String) -> [LossGolden] { cases.filter { $0.method == method } }
}

/// A file of logits and labels.
public struct LossSet: Decodable, Sendable {
    /// Its name; the file is `losses/<name>.safetensors`.
    public let name: String
    public let batch: Int
    public let classes: Int
    /// Rows that the teacher gets right.
    public let teacherRight: Int
    public let rowsWithEveryClassMasked: Int

    enum CodingKeys: String, CodingKey {
        case name = "set"
        case batch, classes
        case teacherRight = "teacher_right"
        case rowsWithEveryClassMasked = "rows_with_every_class_masked"
    }
}

public struct LossGolden: Decodable, Sendable, CustomStringConvertible {
    /// A method has some of these.
    public struct Hyper: Decodable, Sendable {
        public let ceWeight: Double?
        public let kdWeight: Double?
        public let rcWeight: Double?
        public let alpha: Double?
        public let beta: Double?
        public let temperature: Double?
        public let confidenceTemperature: Double?
        public let lambda1: Double?
        public let lambda2: Double?
        public let eta: Double?
        public let standardize: Bool?

        enum CodingKeys: String, CodingKey {
            case ceWeight = "ce_weight"
            case kdWeight = "kd_weight"
            case rcWeight = "rc_weight"
            case alpha, beta, lambda1, lambda2, eta
            case temperature = "T"
            case confidenceTemperature = "alpha_T"
            case standardize = "logit_stand"
        }
    }

    public struct Finiteness: Decodable, Sendable {
        public let loss: Bool
        public let gradient: Bool

        enum CodingKeys: String, CodingKey {
            case loss
            case gradient = "grad"
        }
    }

    /// The same quantity by log-sum-exp where the authors' code is not finite.
    public struct LogDomain: Decodable, Sendable {
        public let total: Double
        public let terms: [String: Double]
        /// Tensor name in the set's file.
        public let gradient: String

        private enum CodingKeys: String, CodingKey {
            case total, terms
            case gradient = "grad"
        }

        public init(from decoder: any Decoder) throws {
            let values = try decoder.container(keyedBy: CodingKeys.self)
            total = try values.decode(GoldenNumber.self, forKey: .total).value
            terms = try values.decode([String: GoldenNumber].self, forKey: .terms).mapValues(\.value)
            gradient = try values.decode(String.self, forKey: .gradient)
        }
    }

    /// "<set>/<case>".
    public let id: String
    public let set: String
    public let method: String
    public let hyper: Hyper
    /// Weighted, warm-up factor 1; may be NaN or infinite, as the authors' code is.
    public let total: Double
    /// Unweighted, with the factor T^2.
    public let terms: [String: Double]
    /// The authors' own losses: weighted, under their names.
    public let officialLosses: [String: Double]
    public let officialFinite: Finiteness
    /// Tensor name of d total / d student, [N, C], in the set's file.
    public let gradient: String
    /// Tensor names of the terms per row, [N], in the set's file.
    public let perSample: [String: String]
    public let logDomain: LogDomain?

    public var description: String { id }

    private enum CodingKeys: String, CodingKey {
        case id, set, method, hyper, total, terms
        case officialLosses = "official_losses"
        case officialFinite = "official_finite"
        case gradient = "grad"
        case perSample = "per_sample"
        case logDomain = "log_domain"
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        id = try values.decode(String.self, forKey: .id)
        set = try values.decode(String.self, forKey: .set)
        method = try values.decode(String.self, forKey: .method)
        hyper = try values.decode(Hyper.self, forKey: .hyper)
        total = try values.decode(GoldenNumber.self, forKey: .total).value
        terms = try values.decode([String: GoldenNumber].self, forKey: .terms).mapValues(\.value)
        officialLosses = try values.decode([String: GoldenNumber].self, forKey: .officialLosses).mapValues(\.value)
        officialFinite = try values.decode(Finiteness.self, forKey: .officialFinite)
        gradient = try values.decode(String.self, forKey: .gradient)
        perSample = try values.decode([String: String].self, forKey: .perSample)
        logDomain = try values.decodeIfPresent(LogDomain.self, forKey: .logDomain)
    }
}
