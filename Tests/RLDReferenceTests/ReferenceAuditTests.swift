import Foundation
import RLDGraph
import RLDMethods
import RLDReference
import Testing

/// Audit rows of the reference against numbers worked out by hand.
@Suite struct ReferenceAuditTests {
    private static let student = Tensor(shape: [4, 3], values: [1, 3, 2, 0, 0, 0, 5, 1, -.infinity, .nan, 1, 2])
    private static let teacher = Tensor(shape: [4, 3], values: [2, 0, 1, 1, 1, 1, 0, 3, -.infinity, 1, 2, 3])
    private static let labels: [Int32] = [2, 1, 0, -100]

    private static func rows(_ method: Method) throws -> (LossReport, [AuditRow]) {
        var settings = LossSettings()
        settings.audit = true
        let report = try ReferenceExecutor().loss(
            method, student: student, teacher: teacher, labels: labels, settings: settings)
        return (report, report.audit)
    }

    @Test func fieldsOfRefinedLogitDistillation() throws {
        let (report, rows) = try Self.rows(.refinedLogitDistillation(RefinedLogitDistillation()))
        #expect(rows.map(\.row) == [0, 1, 2, 3] && rows.map(\.label) == Self.labels)
        #expect(rows.map(\.teacherTop) == [0, 0, 1, nil] && rows.map(\.studentTop) == [1, 0, 0, nil])
        // Of equal logits the first is ahead; all that is level with the label is masked, excluded classes are not.
        #expect(rows.map(\.labelRank) == [2, 2, 2, nil] && rows.map(\.maskedClasses) == [2, 3, 2, nil])
        let e = exp(1.0)
        let sum = e * e + 1 + e
        #expect(abs((rows[0].teacherTopProbability ?? 0) - e * e / sum) < 1e-15)
        #expect(rows[0].teacherConfidence == rows[0].teacherTopProbability)
        #expect(abs((rows[0].studentConfidence ?? 0) - e * e / (e + e * e * e + e * e)) < 1e-15)
        #expect(abs((rows[1].studentConfidence ?? 0) - 1.0 / 3) < 1e-15)
        #expect(abs((rows[2].teacherConfidence ?? 0) - 1 / (1 + exp(-3))) < 1e-15)
        #expect(rows[3] == AuditRow(row: 3, label: -100, terms: [0, 0, 0]))
        for (k, term) in report.terms.enumerated() {
            #expect(abs(rows[0..<3].reduce(0) { $0 + $1.terms[k] } / 3 - term.value) < 1e-14)
        }
    }

    @Test func confidencesAreTakenWhereTheMethodTakesThem() throws {
        // Temperature 2 on standardised logits: 1, 3, 2 become -1, 1, 0 and 2, 0, 1 become 1, -1, 0.
        let lskd = Method.refinedLogitDistillation(RefinedLogitDistillation()).applyingLSKD()
        let row = try Self.rows(lskd).1[0]
        let q = exp(0.5) / (exp(0.5) + exp(-0.5) + 1)
        #expect(abs((row.teacherConfidence ?? 0) - q) < 1e-7)
        #expect(abs((row.studentConfidence ?? 0) - 1 / (exp(0.5) + exp(-0.5) + 1)) < 1e-7)
        // The teacher's top probability and every other method stay at temperature 1 on the logits as they are.
        let plain = try Self.rows(.knowledgeDistillation(KnowledgeDistillation()).applyingLSKD()).1[0]
        #expect(
            row.teacherTopProbability == plain.teacherTopProbability && plain.teacherConfidence == plain.teacherTopProbability)
    }

    @Test func methodsWithoutATeacherHaveNoneInTheirRows() throws {
        let row = try Self.rows(.crossEntropy(CrossEntropy())).1[0]
        #expect(row.teacherTop == nil && row.labelRank == nil && row.maskedClasses == nil && row.teacherConfidence == nil)
        #expect(row.studentTop == 1 && row.terms.count == 1)
        let revised = try Self.rows(.labelRevision(LabelRevision())).1
        // Right and wrong rows have no part in each other's terms.
        #expect(revised[0].terms[0] == 0 && revised[0].terms[2] > 0)
    }
}
