/// What a loss is worth on a batch, and its gradient.
public struct LossResult: Sendable, Equatable {
    /// Mean over the counted rows of each unweighted term, in the order of `Method.termNames`.
    public var terms: [Double]
    /// The terms times their weights, summed. Not multiplied by the upstream factor.
    public var total: Double
    /// d (factor * total) / d student, [rows, classes]; zero in ignored rows.
    public var gradient: [Double]
    /// Per term, per row, unweighted; 0 in ignored rows.
    public var perRow: [[Double]]
    /// Counted rows whose label is the student's first largest logit.
    public var top1: Int
    /// Counted rows with fewer than five classes ahead of the label: larger, or equal with a lower index.
    public var top5: Int
    /// Counted rows: those whose label is not the ignored one.
    public var rows: Int
}

/// One term on one row: its value and its gradient with respect to the logits that it was given.
struct RowTerm {
    var value: Double
    var gradient: [Double]

    static func zero(_ classes: Int) -> RowTerm { RowTerm(value: 0, gradient: Array(repeating: 0, count: classes)) }
}
