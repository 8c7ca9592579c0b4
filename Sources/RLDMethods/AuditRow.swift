/// What one row of a batch was, and what the method made of it. Every field comes from the logits alone, so that rows can be
/// compared over methods; nil where a row has no such thing.
public struct AuditRow: Sendable, Equatable, Encodable {
    /// Index in the batch.
    public var row: Int
    /// -100 (or whichever label is ignored): the row does not count, every other field is nil and `terms` are 0.
    public var label: Int32
    /// The teacher's first largest class. Nil, as all fields of the teacher, for a method without one (`ce`).
    public var teacherTop: Int?
    /// softmax(t) of that class, at temperature 1 and on the logits as they are.
    public var teacherTopProbability: Double?
    /// Place of the label when the teacher's logits are sorted downward, equal ones by index; 1: the teacher is right.
    public var labelRank: Int?
    /// Classes that RLD's mask takes out of MCD: those that the teacher puts level with the label or above, the label included.
    /// Excluded classes (-infinity) count only if the label is one.
    public var maskedClasses: Int?
    /// p of SCD: softmax(x_s / a) of the label. a is the method's confidence temperature and x its standardised logits if it
    /// standardises (`rld`); all other methods take a = 1 and the logits as they are.
    public var studentConfidence: Double?
    /// q of SCD: max softmax(x_t / a), a and x as above.
    public var teacherConfidence: Double?
    /// The unweighted terms of this row, in the order of `Method.termNames`; 0 for a term that the row has no part in (`lr`).
    public var terms: [Double]
    /// The student's first largest class.
    public var studentTop: Int?

    public init(
        row: Int, label: Int32, teacherTop: Int? = nil, teacherTopProbability: Double? = nil, labelRank: Int? = nil,
        maskedClasses: Int? = nil, studentConfidence: Double? = nil, teacherConfidence: Double? = nil, terms: [Double],
        studentTop: Int? = nil
    ) {
        self.row = row
        self.label = label
        self.teacherTop = teacherTop
        self.teacherTopProbability = teacherTopProbability
        self.labelRank = labelRank
        self.maskedClasses = maskedClasses
        self.studentConfidence = studentConfidence
        self.teacherConfidence = teacherConfidence
        self.terms = terms
        self.studentTop = studentTop
    }
}

extension Method {
    /// Where p and q of an audit row are taken: temperature, and whether on standardised logits.
    public var auditConfidence: (temperature: Double, standardize: Bool) {
        guard case .refinedLogitDistillation(let m) = self else { return (1, false) }
        return (m.confidenceTemperature, m.standardize)
    }
}
