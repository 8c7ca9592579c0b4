import RLDGraph

/// How a loss on stored logits is taken, beside the method's own values.
public struct LossSettings: Sendable, Equatable {
    /// w, the factor of the distillation terms (`Method.warmup(epoch:)`); methods without warm-up do not look at it.
    public var warmup: Double
    /// Upstream factor of the gradient; the loss is not multiplied by it.
    public var scale: Double
    /// Rows with this label have no loss and no gradient, and their logits are not looked at.
    public var ignoreLabel: Int32
    /// One per row, 0 or from 1e-30 of the largest of them to 1e30: every mean becomes sum(weight * value) / sum(weight). Nil: every
    /// row counts the same.
    public var rowWeights: [Double]?
    /// Whether the report gets an `AuditRow` per row.
    public var audit: Bool

    public init(
        warmup: Double = 1, scale: Double = 1, ignoreLabel: Int32 = -100, rowWeights: [Double]? = nil, audit: Bool = false
    ) {
        self.warmup = warmup
        self.scale = scale
        self.ignoreLabel = ignoreLabel
        self.rowWeights = rowWeights
        self.audit = audit
    }
}

/// The checks of logits, labels and settings that every executor makes, with the same words.
public enum LossInputs {
    /// - Parameters:
    ///   - student, teacher: [rows, classes]; the teacher is not looked at if the method has none.
    ///   - float32: whether logits must be finite in float32, and temperatures ones that it can compute with.
    /// - Throws: `InputError` for a method that does not validate, shapes that do not fit, labels that are neither ignored nor
    ///   within 0..<classes, weights and factors out of bounds, and what `check(row:)` throws, rows that are
    ///   ignored left aside.
    public static func check(
        _ method: Method, student: Tensor, teacher: Tensor?, labels: [Int32], settings: LossSettings, float32: Bool = false
    ) throws(InputError) {
        try method.validate()
        if float32 { try check(float32: method) }
        guard student.shape.count == 2, student.shape[0] == labels.count, student.count > 0 else {
            throw InputError(
                "student logits", "have shape \(student.shape) for \(labels.count) labels", advice: "expected [rows, classes]")
        }
        let sides: [(String, Tensor)]
        if method.needsTeacher {
            guard let teacher else { throw InputError("method '\(method.id)'", "needs teacher logits") }
            guard teacher.shape == student.shape else {
                throw InputError("teacher logits", "have shape \(teacher.shape), expected \(student.shape) as the student's")
            }
            sides = [("student", student), ("teacher", teacher)]
        } else {
            sides = [("student", student)]
        }
        try check(warmup: settings.warmup, scale: settings.scale)
        try check(weights: settings.rowWeights, rows: labels.count)
        let classes = student.shape[1]
        for (row, label) in labels.enumerated() where label != settings.ignoreLabel {
            try check(label: label, row: row, classes: classes, ignoring: settings.ignoreLabel)
            for (side, logits) in sides {
                try check(row: logits.values[(row * classes)..<((row + 1) * classes)], side: side, index: row, float32: float32)
            }
        }
    }

    /// Throws for a temperature outside 1e-3...1e3, which a device does not take. Probabilities of both sides differ by 1 / T of
    /// themselves, and float32 rounds them to 1e-7; a logit of 1e30 over a lower one has no room left for factors.
    package static func check(float32 method: Method) throws(InputError) {
        for option in method.options where option.kind == .temperature {
            guard let value = method.value(of: option), !(1e-3...1e3).contains(value) else { continue }
            throw InputError(
                "option '\(option.name)' of method '\(method.id)'", "must be from 1e-3 to 1e3 on a device, found \(value)",
                advice: "float32 would keep too few digits; the reference takes 1e-9 to 1e9 (--device reference)")
        }
    }

    /// Throws for a factor of the distillation terms outside 0...1e9, and an upstream factor outside -1e9...1e9.
    public static func check(warmup: Double, scale: Double) throws(InputError) {
        if let problem = problem(weight: warmup) { throw InputError("warm-up factor", "\(problem), found \(warmup)") }
        guard scale.isFinite else { throw InputError("scale", "must be finite, found \(scale)") }
        guard abs(scale) <= 1e9 else { throw InputError("scale", "must be from -1e9 to 1e9, found \(scale)") }
    }

    /// What is wrong with the factor of a term: from 0 to 1e9, so that it stays far from the end of float32.
    public static func problem(weight: Double) -> String? {
        if (0...1e9).contains(weight) { return nil }
        return weight.isFinite && weight > 0 ? "must be from 0 to 1e9" : "must be finite and at least 0"
    }

    /// Throws for a label outside 0..<classes, unless it is the one that is ignored.
    public static func check(label: Int32, row: Int, classes: Int, ignoring ignoreLabel: Int32?) throws(InputError) {
        guard label != ignoreLabel, !(0..<classes).contains(Int(label)) else { return }
        throw InputError(
            "label of row \(row)",
            "is \(label), expected 0..<\(classes)" + (ignoreLabel.map { " or \($0) (ignored)" } ?? ""))
    }

    /// Throws unless there is a weight for each row, from 0 to 1e30, so that the sum of all is finite in float32 too, and none but 0 so
    /// far below the largest that it would vanish there. Both as float32 rounds them.
    public static func check(weights: [Double]?, rows: Int) throws(InputError) {
        guard let weights else { return }
        guard weights.count == rows else { throw InputError("row weights", "expected \(rows), found \(weights.count)") }
        if let bad = weights.firstIndex(where: { !($0.isFinite && $0 >= 0) }) {
            throw InputError("row weights", "row \(bad): must be finite and at least 0, found \(weights[bad])")
        }
        if let large = weights.firstIndex(where: { $0 > Double(Float(1e30)) }) {
            throw InputError(
                "row weights", "row \(large): must be at most 1e30, found \(weights[large])",
                advice: "divide all by one number, which changes no mean")
        }
        let largest = weights.max() ?? 0
        if let small = weights.firstIndex(where: { $0 > 0 && Float($0 / largest) < 1e-30 }) {
            throw InputError(
                "row weights", "row \(small): must be 0 or at least 1e-30 of the largest (\(largest)), found \(weights[small])",
                advice: "0 leaves a row out")
        }
    }

    /// Throws for a logit that is nan or +infinity, and for a row without any finite logit.
    public static func check(
        row: ArraySlice<Double>, side: String, index: Int, float32: Bool = false
    ) throws(InputError) {
        let limit = float32 ? Double(Float.greatestFiniteMagnitude) : .greatestFiniteMagnitude
        var hasFinite = false
        for (i, x) in row.enumerated() {
            guard x < .infinity else {
                throw InputError(
                    "\(side) logits, row \(index)", "class \(i) is \(x)", advice: "logits must be finite or -inf (excluded)")
            }
            guard abs(x) <= limit || x == -.infinity else {
                throw InputError(
                    "\(side) logits, row \(index)", "class \(i) is \(x), more than float32 holds", advice: "use the reference")
            }
            hasFinite = hasFinite || x > -.infinity
        }
        guard hasFinite else { throw InputError("\(side) logits, row \(index)", "every class is excluded (-inf)") }
    }
}
