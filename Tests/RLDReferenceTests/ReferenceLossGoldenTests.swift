import RLDMethods
import RLDReference
import Testing

/// The Double losses against what the authors' code gives, at the float64 tolerances of the goldens' README section 7.
@Suite struct ReferenceLossGoldenTests {
    @Test func everyCaseIsThere() throws {
        #expect(try LossGolden.ids(["CE", "KD", "RLD"]).count == 262)
    }

    @Test(arguments: try LossGolden.ids(["CE", "KD", "RLD"]))
    func agrees(_ id: String) throws {
        let golden = try LossGolden.load(id)
        let result = try ReferenceLoss.evaluate(
            golden.method, student: golden.student, teacher: golden.teacher, labels: golden.labels, classes: golden.classes)
        #expect(result.rows == golden.labels.count)
        check(result.total, golden.total, golden, "total")
        for (k, name) in golden.method.termNames.enumerated() {
            check(result.terms[k], golden.terms[k], golden, name)
            for (row, wanted) in golden.perRow[k].enumerated() where wanted.isFinite {
                check(result.perRow[k][row], wanted, golden, "\(name) of row \(row)")
            }
        }
        let largest = golden.gradient.map(abs).max() ?? 0
        // float32 files of the 32000-class set: their rounding on top.
        let stored = golden.classes == 32000 ? 1e-7 : 0
        let bound = (golden.isNearIdentical ? 1e-7 * max(1e-3, largest) : 1e-8 * largest) + stored * largest
        #expect(result.gradient.count == golden.gradient.count)
        let worst = zip(result.gradient, golden.gradient).map { abs($0 - $1) }.max() ?? .nan
        #expect(worst <= bound, "gradient: error \(worst), bound \(bound)")
    }

    private func check(_ found: Double, _ wanted: Double, _ golden: LossGolden, _ what: String) {
        let bound = golden.isNearIdentical ? 1e-10 * max(1, abs(wanted)) : 1e-10 * abs(wanted) + 1e-12
        #expect(abs(found - wanted) <= bound, "\(what): found \(found), expected \(wanted)")
    }
}
