import RLDMethods

/// One golden loss case with its tensors: what the authors' code gives, or the log-domain value where that is not finite.
public struct LossCase: Sendable {
    public let golden: LossGolden
    public let method: Method
    public let classes: Int
    public let student: [Double]
    public let teacher: [Double]
    public let labels: [Int32]
    public let total: Double
    /// In the order of `method.termNames`.
    public let terms: [Double]
    /// Per term, per row; not finite where the official value is not.
    public let perRow: [[Double]]
    /// d total / d student, [rows, classes].
    public let gradient: [Double]

    /// Sets `near_identical*` and `identical`, which have bounds of their own.
    public var isNearIdentical: Bool { golden.set.contains("identical") }
    /// Whether the distillation terms work on standardised logits.
    public var isStandardized: Bool { golden.hyper.standardize ?? false }

    /// The methods of the goldens that exist here.
    public static let methods = ["CE", "KD", "RLD"]

    /// All cases of those methods, without tensors.
    public static let all: [LossGolden] = {
        guard let index = try? Goldens.losses() else { return [] }
        return index.cases.filter { methods.contains($0.method) }
    }()

    public init(_ golden: LossGolden) throws {
        self.golden = golden
        method = Self.method(golden)
        let file = try Goldens.lossTensors(golden.set)
        let logits = try file.tensor("student")
        classes = logits.shape[1]
        student = logits.values
        teacher = try file.doubles("teacher")
        labels = try file.int64s("labels").map { Int32($0) }
        let terms = golden.logDomain?.terms ?? golden.terms
        total = golden.logDomain?.total ?? golden.total
        self.terms = method.termNames.map { terms[$0] ?? .nan }
        perRow = try method.termNames.map { try file.doubles(golden.perSample[$0] ?? "") }
        gradient = try file.doubles(golden.logDomain?.gradient ?? golden.gradient)
    }

    private static func method(_ golden: LossGolden) -> Method {
        let hyper = golden.hyper
        switch golden.method {
        case "CE": return .crossEntropy(CrossEntropy())
        case "KD":
            var m = KnowledgeDistillation()
            m.crossEntropyWeight = hyper.ceWeight ?? .nan
            m.weight = hyper.kdWeight ?? .nan
            m.temperature = hyper.temperature ?? .nan
            m.standardize = hyper.standardize ?? false
            return .knowledgeDistillation(m)
        default:
            var m = RefinedLogitDistillation()
            m.crossEntropyWeight = hyper.ceWeight ?? .nan
            (m.alpha, m.beta) = (hyper.alpha ?? .nan, hyper.beta ?? .nan)
            m.temperature = hyper.temperature ?? .nan
            m.confidenceTemperature = hyper.confidenceTemperature ?? .nan
            m.standardize = hyper.standardize ?? false
            return .refinedLogitDistillation(m)
        }
    }
}
