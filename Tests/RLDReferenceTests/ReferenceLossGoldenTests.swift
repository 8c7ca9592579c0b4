import RLDMethods
import RLDReference
import TestSupport
import Testing

/// The Double losses against what the authors' code gives, at the float64 tolerances of the goldens' README section 7.
@Suite struct ReferenceLossGoldenTests {
    @Test func everyCaseIsThere() { #expect(LossCase.all.count == 472) }

    @Test(arguments: LossCase.all)
    func agrees(_ golden: LossGolden) throws {
        let wanted = try LossCase(golden)
        let found = try ReferenceLoss.evaluate(
            wanted.method, student: wanted.student, teacher: wanted.teacher, labels: wanted.labels, classes: wanted.classes)
        #expect(found.rows == wanted.labels.count)
        func check(_ found: Double, _ wanted: Double, near: Bool, _ what: String) {
            let bound = near ? 1e-10 * max(1, abs(wanted)) : 1e-10 * abs(wanted) + 1e-12
            #expect(abs(found - wanted) <= bound, "\(what): found \(found), expected \(wanted)")
        }
        check(found.total, wanted.total, near: wanted.isNearIdentical, "total")
        for (k, name) in wanted.method.termNames.enumerated() {
            check(found.terms[k], wanted.terms[k], near: wanted.isNearIdentical, name)
            for (row, value) in wanted.perRow[k].enumerated() where value.isFinite {
                check(found.perRow[k][row], value, near: wanted.isNearIdentical, "\(name) of row \(row)")
            }
        }
        let largest = wanted.gradient.map(abs).max() ?? 0
        // The 32000-class set is stored in float32: its rounding on top.
        let stored = wanted.classes == 32000 ? 1e-7 * largest : 0
        expectClose(
            found.gradient, wanted.gradient,
            .absolute((wanted.isNearIdentical ? 1e-7 * max(1e-3, largest) : 1e-8 * largest) + stored), "gradient")
    }
}
