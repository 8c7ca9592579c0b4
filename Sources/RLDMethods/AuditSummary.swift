/// What a student made of its teacher's errors, counted over audit rows.
public struct AuditSummary: Sendable, Equatable, Encodable {
    /// Rows that count.
    public var rows = 0
    /// Of them, those whose label the teacher does not rank first.
    public var teacherWrong = 0
    /// Of those, the student is right.
    public var corrected = 0
    /// Of those, the student says the teacher's class.
    public var copied = 0
    /// Rows on which the student is wrong and the teacher right.
    public var ownErrors = 0
    /// Classes that RLD's mask takes out of MCD beside the label, mean over the rows on which the teacher is wrong; nil without one.
    public var maskedAboveLabel: Double?

    /// - Returns: nil for rows of a method without a teacher.
    public init?(_ rows: [AuditRow]) {
        var masked = 0
        for row in rows {
            guard let rank = row.labelRank, let teacher = row.teacherTop, let student = row.studentTop else { continue }
            self.rows += 1
            let isRight = student == Int(row.label)
            guard rank > 1 else {
                if !isRight { ownErrors += 1 }
                continue
            }
            teacherWrong += 1
            if isRight { corrected += 1 }
            if student == teacher { copied += 1 }
            masked += max(0, (row.maskedClasses ?? 1) - 1)
        }
        guard self.rows > 0 else { return nil }
        if teacherWrong > 0 { maskedAboveLabel = Double(masked) / Double(teacherWrong) }
    }
}
