import RLDGraph
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// The Double losses against what the authors' code gives, at the float64 tolerances of `Tests/Goldens/README.md`.
@Suite struct ReferenceLossGoldenTests {
    @Test func everyCaseIsThere() { #expect(LossCase.all.count == 472) }

    /// A term under a name of its own would go unlooked at: every method's rows are in the goldens but those of two.
    @Test func everyTermHasItsRows() throws {
        for golden in LossCase.all where !["REVISION", "MLKD_NOAUG"].contains(golden.method) {
            let wanted = try LossCase(golden)
            #expect(Set(golden.perSample.keys) == Set(wanted.method.termNames), "\(golden)")
            let known = golden.id == LossCase.maskLeak ? 1 : wanted.perRow.count
            #expect(wanted.perRow.prefix(known).allSatisfy { $0.count == wanted.labels.count }, "\(golden)")
        }
    }

    /// What the index says of each set: rows that the teacher gets right, rows whose label it puts last.
    @Test func masksAreThoseOfTheSets() throws {
        for set in try Goldens.losses().sets {
            let golden = try #require(LossCase.all.first { $0.set == set.name })
            let batch = try LossCase(golden)
            let logits = { (values: [Double]) in Tensor(shape: [set.batch, set.classes], values: values) }
            var settings = LossSettings()
            settings.audit = true
            let audit = try ReferenceExecutor().loss(
                .refinedLogitDistillation(RefinedLogitDistillation()), student: logits(batch.student),
                teacher: logits(batch.teacher), labels: batch.labels, settings: settings
            ).audit
            #expect(audit.count { $0.teacherTop == Int($0.label) } == set.teacherRight, "\(set.name)")
            #expect(audit.count { $0.maskedClasses == set.classes } == set.rowsWithEveryClassMasked, "\(set.name)")
        }
    }

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
