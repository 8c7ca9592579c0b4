/// Where a method keeps the value of an option.
enum MethodField<Root> {
    case number(WritableKeyPath<Root, Double>)
    case whole(WritableKeyPath<Root, Int>)
    case flag(WritableKeyPath<Root, Bool>)
}

/// What a method's configuration value says of itself. One file per method holds its values, its formula and this.
protocol MethodSettings: Sendable, Equatable {
    /// As the command line spells it.
    static var id: String { get }
    /// The options that the method has.
    static var fields: [MethodOption: MethodField<Self>] { get }
    /// Names of the unweighted terms.
    static var termNames: [String] { get }
    /// Whether the loss reads a teacher's logits.
    static var needsTeacher: Bool { get }
    /// Whether a term looks at more than one row at a time, so that a batch cannot be computed in parts.
    static var needsWholeBatch: Bool { get }
    /// What sums of the terms over rows are stored times in float32, so that large ones are not beyond it.
    static var sumScale: Double { get }
    /// The factor of each term in the total, in the order of `termNames`; `warmup` multiplies what has a warm-up.
    func termWeights(warmup: Double) -> [Double]
    /// Epochs until the distillation terms have their full weight; 0 without warm-up.
    var warmupEpochs: Int { get }
    /// The authors' recipe for standardised logits; the value itself for methods that they do not offer it for.
    func applyingLSKD() -> Self
    /// The value as a method.
    var method: Method { get }
}

extension MethodSettings {
    static var needsTeacher: Bool { true }
    static var needsWholeBatch: Bool { false }
    static var sumScale: Double { 1 }
    var warmupEpochs: Int { 0 }

    func value(of option: MethodOption) -> Double? {
        switch Self.fields[option] {
        case .number(let path): self[keyPath: path]
        case .whole(let path): Double(self[keyPath: path])
        case .flag(let path): self[keyPath: path] ? 1 : 0
        case nil: nil
        }
    }

    mutating func set(_ option: MethodOption, to value: Double) {
        switch Self.fields[option] {
        case .number(let path): self[keyPath: path] = value
        case .whole(let path): self[keyPath: path] = Int(value)
        case .flag(let path): self[keyPath: path] = value != 0
        case nil: break
        }
    }
}
