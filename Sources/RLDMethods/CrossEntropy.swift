/// Cross-entropy with the label: weight * mean over rows of (logsumexp(s) - s_y).
public struct CrossEntropy: Sendable, Equatable {
    public var weight: Double = 1
    public init(weight: Double = 1) { self.weight = weight }
}

extension CrossEntropy: MethodSettings {
    static var id: String { "ce" }
    static var fields: [MethodOption: MethodField<Self>] { [.crossEntropyWeight: .number(\.weight)] }
    static var termNames: [String] { ["ce"] }
    static var needsTeacher: Bool { false }
    func termWeights(warmup: Double) -> [Double] { [weight] }
    func applyingLSKD() -> Self { self }
    var method: Method { .crossEntropy(self) }
}
