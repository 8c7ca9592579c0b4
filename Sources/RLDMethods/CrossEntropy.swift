/// Cross-entropy with the label: weight * mean over rows of (logsumexp(s) - s_y).
public struct CrossEntropy: Sendable, Equatable, Codable {
    public var weight: Double = 1
    public init(weight: Double = 1) { self.weight = weight }
}
