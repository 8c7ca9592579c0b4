import Foundation
import RLDMethods

extension ReferenceLoss {
    /// What each row of a batch was: the fields of `AuditRow`, the terms from the loss itself.
    /// - Parameters: those of `evaluate`, and what it gave.
    package static func auditRows(
        _ method: Method, student: [Double], teacher: [Double]?, labels: [Int32], classes: Int,
        ignoring ignoreLabel: Int32? = -100, _ result: LossResult
    ) -> [AuditRow] {
        let teacher = method.needsTeacher ? teacher : nil
        let (temperature, standardize) = method.auditConfidence
        return labels.indices.map { index in
            let range = (index * classes)..<((index + 1) * classes)
            var row = AuditRow(row: index, label: labels[index], terms: result.perRow.map { $0[index] })
            guard labels[index] != ignoreLabel else { return row }
            let label = Int(labels[index])
            let s = Array(student[range])
            func confidence(_ logits: [Double], _ side: Int) -> Double {
                let values = standardize ? Standardization(logits).values : logits
                return exp(binaryLogs(values, at: side, temperature: temperature).inside)
            }
            row.studentTop = firstArgmax(s)
            row.studentConfidence = confidence(s, label)
            guard let t = teacher.map({ Array($0[range]) }) else { return row }
            let top = firstArgmax(t)
            row.teacherTop = top
            row.teacherTopProbability = exp(binaryLogs(t, at: top, temperature: 1).inside)
            row.labelRank = rank(of: label, in: t) + 1
            row.maskedClasses = t.count { $0 >= t[label] }
            row.teacherConfidence = confidence(t, top)
            return row
        }
    }
}
