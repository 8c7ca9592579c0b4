import RLDGraph
import RLDMethods

/// Losses in Double on the host, plain and in the log domain: what every device kernel is compared with.
public enum ReferenceLoss {
    /// A method's loss on a batch of logits, and its gradient with respect to the student's.
    ///
    /// A finite batch (|logit| <= 1e30) gives a finite loss and gradient. -infinity means that a class is excluded and is
    /// computed by limits: the loss is infinite where the student excludes a class that the target needs, the gradient stays
    /// finite. Every mean is sum(weight * value) / sum(weight) over the counted rows (LR: over those of the term's group);
    /// without any it is 0.
    /// - Parameters:
    ///   - student: [rows, classes], row-major.
    ///   - teacher: the same shape; needed when `method.needsTeacher`, not looked at otherwise.
    ///   - labels: one per row.
    ///   - warmup: the factor of the distillation terms, `Method.warmup(epoch:)`.
    ///   - scale: upstream factor of the gradient; the loss is not multiplied by it.
    ///   - ignoreLabel: rows with this label have no loss and no gradient, and their logits are not looked at; nil: none.
    ///   - rowWeights: one per row, as `LossSettings` takes them; all 1 when nil.
    /// - Throws: `InputError` for shapes that do not fit, labels outside 0..<classes, logits that are nan or +infinity and
    ///   rows without any finite logit (all naming row and side), factors that `LossInputs.check(warmup:scale:)` refuses, and for a
    ///   method that does not validate.
    public static func evaluate(
        _ method: Method, student: [Double], teacher: [Double]?, labels: [Int32], classes: Int, warmup: Double = 1,
        scale: Double = 1, ignoring ignoreLabel: Int32? = -100, rowWeights: [Double]? = nil
    ) throws(InputError) -> LossResult {
        try evaluate(
            method, student: student, teacher: teacher, labels: labels, classes: classes, warmup: warmup, scale: scale,
            ignoring: ignoreLabel, rowWeights: rowWeights, only: nil)
    }

    /// The same for a few rows of a large batch: values per row and gradient of the others stay 0, and means are of no use.
    /// Not for `lr`, whose groups are not known without the other rows.
    package static func evaluate(
        _ method: Method, student: [Double], teacher: [Double]?, labels: [Int32], classes: Int, warmup: Double = 1,
        scale: Double = 1, ignoring ignoreLabel: Int32? = -100, rowWeights: [Double]? = nil, only chosen: Set<Int>?
    ) throws(InputError) -> LossResult {
        try method.validate()
        try LossInputs.check(warmup: warmup, scale: scale)
        let teacher = method.needsTeacher ? teacher : nil
        try checkShapes(method, student, teacher, labels, classes, rowWeights)
        let rows = labels.count
        let weights = method.termWeights(warmup: warmup)
        var result = LossResult(
            terms: Array(repeating: 0, count: weights.count), total: 0,
            gradient: Array(repeating: 0, count: student.count),
            perRow: Array(repeating: Array(repeating: 0, count: rows), count: weights.count), top1: 0, top5: 0, rows: 0)
        var parts: [RowParts] = []
        var weightSums = weights.map { _ in 0.0 }
        for row in (0..<rows) where labels[row] != ignoreLabel {
            let range = (row * classes)..<((row + 1) * classes)
            let label = Int(labels[row])
            try LossInputs.check(label: labels[row], row: row, classes: classes, ignoring: ignoreLabel)
            let s = try checkedRow(student[range], side: "student", row: row)
            let t = try teacher.map { t throws(InputError) in try checkedRow(t[range], side: "teacher", row: row) }
            let rank = rank(of: label, in: s)
            result.rows += 1
            result.top1 += rank == 0 ? 1 : 0
            result.top5 += rank < 5 ? 1 : 0
            let wanted = chosen?.contains(row) ?? true
            let terms = wanted ? terms(method, s, t ?? [], label: label) : weights.map { _ in RowTerm.zero(0) }
            let weight = rowWeights?[row] ?? 1
            for (k, term) in terms.enumerated() where term != nil { weightSums[k] += weight }
            parts.append(RowParts(row: row, wanted: wanted, weight: weight, student: s, teacher: t ?? [], terms: terms))
        }
        if case .multiLevelLogitDistillation(let m) = method { align(m, &parts) }
        for part in parts where part.wanted {
            let first = part.row * classes
            for (k, term) in part.terms.enumerated() {
                guard let term else { continue }
                result.perRow[k][part.row] = term.value
                guard part.weight > 0 else { continue }
                let share = part.weight / weightSums[k]
                result.terms[k] += share * term.value
                guard weights[k] > 0 else { continue }
                for i in 0..<classes { result.gradient[first + i] += scale * weights[k] * share * term.gradient[i] }
            }
        }
        for (weight, term) in zip(weights, result.terms) where weight > 0 { result.total += weight * term }
        return result
    }

    /// What a counted row adds to the batch.
    private struct RowParts {
        let row: Int
        let wanted: Bool
        let weight: Double
        let student: [Double]
        let teacher: [Double]
        var terms: [RowTerm?]
    }

    /// Completes MLKD's terms: the factor of its instance alignment, and the alignments of classes and batch.
    private static func align(_ m: MultiLevelLogitDistillation, _ parts: inout [RowParts]) {
        let present = parts.indices.filter { parts[$0].weight > 0 }
        let alignment = MultiLevelAlignment(
            student: present.map { parts[$0].student }, teacher: present.map { parts[$0].teacher },
            weights: present.map { parts[$0].weight })
        for i in parts.indices where parts[i].wanted {
            var scaled = RowTerm.zero(parts[i].student.count)
            if let term = parts[i].terms[1] { scaled.add(term, times: alignment.rowFraction) }
            parts[i].terms[1] = scaled
        }
        for level in m.levels {
            let rows = present.indices.filter { parts[present[$0]].wanted }
            let (ofClasses, ofBatch) = alignment.terms(temperature: level.temperature, of: rows)
            for (k, row) in rows.enumerated() {
                parts[present[row]].terms[2]?.add(ofClasses[k], times: Double(level.count))
                parts[present[row]].terms[3]?.add(ofBatch[k], times: Double(level.count))
            }
        }
    }

    /// The terms of one row, in the order of `method.termNames`, each with its gradient with respect to the raw logits; nil
    /// for a term that this row has no part in.
    private static func terms(_ method: Method, _ student: [Double], _ teacher: [Double], label: Int) -> [RowTerm?] {
        let crossEntropy = crossEntropyTerm(student, label: label)
        let all = Array(student.indices)
        switch method {
        case .crossEntropy:
            return [crossEntropy]
        case .knowledgeDistillation(let m):
            return [crossEntropy]
                + standardized(m.standardize, student, teacher) { s, t in
                    [divergenceTerm(s, t, over: all, temperature: m.temperature)]
                }
        case .decoupledKnowledgeDistillation(let m):
            return [crossEntropy]
                + standardized(m.standardize, student, teacher) { s, t in
                    [
                        confidenceTerm(s, label: label, t, teacherClass: label, temperature: m.temperature),
                        divergenceTerm(s, t, over: all.filter { $0 != label }, temperature: m.temperature),
                    ]
                }
        case .labelAugment(let m):
            var swapped = teacher
            swapped.swapAt(label, firstArgmax(teacher))
            return standardized(m.standardize, student, swapped) { s, t in
                [divergenceTerm(s, t, over: all, temperature: m.temperature)]
            }
        case .reviewCorrection(let m):
            return [crossEntropy]
                + standardized(m.standardize, student, teacher) { s, t in
                    return [
                        divergenceTerm(s, t, over: all, temperature: m.temperature),
                        correctionTerm(s, label: label, temperature: m.temperature),
                    ]
                }
        case .labelRevision(let m):
            return firstArgmax(teacher) == label
                ? [crossEntropy, squaredLogitsTerm(student, teacher), nil]
                : [nil, nil, squaredProbabilitiesTerm(student, teacher, label: label, eta: m.eta)]
        case .refinedLogitDistillation(let m):
            return [crossEntropy]
                + standardized(m.standardize, student, teacher) { s, t in
                    // The label and everything that the teacher puts level with it or above is masked, by its own logits: standardised
                    // ones may round to ties.
                    let kept = all.filter { teacher[$0] < teacher[label] }
                    let top = firstArgmax(teacher)
                    return [
                        confidenceTerm(s, label: label, t, teacherClass: top, temperature: m.confidenceTemperature),
                        divergenceTerm(s, t, over: kept, temperature: m.temperature),
                    ]
                }
        case .multiLevelLogitDistillation(let m):
            // What depends on the other rows follows in `align`.
            return [crossEntropy]
                + standardized(m.standardize, student, teacher) { s, t in
                    var sum = RowTerm.zero(s.count)
                    for level in m.levels {
                        sum.add(divergenceTerm(s, t, over: all, temperature: level.temperature), times: Double(level.count))
                    }
                    return [sum]
                } + [.zero(student.count), .zero(student.count)]
        }
    }

    /// Terms of standardised rows, their gradients passed through the student's standardisation; of the raw rows when off.
    private static func standardized(
        _ on: Bool, _ student: [Double], _ teacher: [Double], _ terms: ([Double], [Double]) -> [RowTerm]
    ) -> [RowTerm] {
        guard on else { return terms(student, teacher) }
        let s = Standardization(student)
        return terms(s.values, Standardization(teacher).values).map {
            RowTerm(value: $0.value, gradient: s.backward($0.gradient))
        }
    }

    /// A row as an array.
    private static func checkedRow(_ row: ArraySlice<Double>, side: String, row index: Int) throws(InputError) -> [Double] {
        try LossInputs.check(row: row, side: side, index: index)
        return Array(row)
    }

    private static func checkShapes(
        _ method: Method, _ student: [Double], _ teacher: [Double]?, _ labels: [Int32], _ classes: Int, _ rowWeights: [Double]?
    ) throws(InputError) {
        guard classes > 0 else { throw InputError("classes", "must be at least 1, found \(classes)") }
        guard student.count == labels.count * classes else {
            throw InputError(
                "student logits", "expected \(labels.count) rows x \(classes) classes, found \(student.count) values")
        }
        if method.needsTeacher {
            guard let teacher else { throw InputError("method '\(method.id)'", "needs teacher logits") }
            guard teacher.count == student.count else {
                throw InputError(
                    "teacher logits", "expected \(labels.count) rows x \(classes) classes, found \(teacher.count) values")
            }
        }
        try LossInputs.check(weights: rowWeights, rows: labels.count)
    }
}
