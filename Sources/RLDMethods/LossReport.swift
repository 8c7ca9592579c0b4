import RLDGraph

/// A loss on stored logits: what `rld loss` prints and writes.
public struct LossReport: Sendable, Equatable {
    /// Mean over the counted rows of each unweighted term, in the order of `Method.termNames`.
    public var terms: [(name: String, value: Double)]
    /// The terms times their weights, summed.
    public var total: Double
    /// d total / d student, [rows, classes].
    public var gradient: Tensor
    /// Counted rows whose label is the student's first largest logit, and is among its five largest.
    public var top1: Int
    public var top5: Int
    /// Rows whose label is not the ignored one.
    public var rows: Int
    /// One per row of the batch when asked for, else empty.
    public var audit: [AuditRow]

    public init(
        terms: [(String, Double)], total: Double, gradient: Tensor, top1: Int, top5: Int, rows: Int, audit: [AuditRow] = []
    ) {
        self.terms = terms
        self.total = total
        self.gradient = gradient
        self.top1 = top1
        self.top5 = top5
        self.rows = rows
        self.audit = audit
    }

    public static func == (a: LossReport, b: LossReport) -> Bool {
        a.terms.elementsEqual(b.terms) { $0 == $1 } && a.total == b.total && a.gradient == b.gradient && a.top1 == b.top1
            && a.top5 == b.top5 && a.rows == b.rows && a.audit == b.audit
    }
}
