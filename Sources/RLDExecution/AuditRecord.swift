import RLDMethods

/// One row of the audit buffer: words of `kernels/common/loss_audit.clh`.
struct AuditRecord {
    static let words = 8
    private let values: [Float]

    init(_ values: ArraySlice<Float>) { self.values = Array(values) }

    /// - Parameters:
    ///   - counts: whether the row's label is not the ignored one.
    ///   - hasTeacher: whether the method read a teacher.
    func row(_ row: Int, label: Int32, counts: Bool, hasTeacher: Bool, terms: [Double]) -> AuditRow {
        guard counts else { return AuditRow(row: row, label: label, terms: terms) }
        func teacher<T>(_ value: T) -> T? { hasTeacher ? value : nil }
        return AuditRow(
            row: row, label: label, teacherTop: teacher(index(0)), teacherTopProbability: teacher(Double(values[1])),
            labelRank: teacher(index(2)), maskedClasses: teacher(index(3)), studentConfidence: Double(values[4]),
            teacherConfidence: teacher(Double(values[5])), terms: terms, studentTop: index(6))
    }

    /// A class or a count; -1 for what is no number, which only a faulty row has.
    private func index(_ word: Int) -> Int { Int(exactly: values[word]) ?? -1 }
}
