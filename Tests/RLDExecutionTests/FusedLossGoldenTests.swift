import OpenCLRuntime
import RLDExecution
import RLDMethods
import TestSupport
import Testing

/// The fused losses against what the authors' code gives, at the float32 tolerances of `Tests/Goldens/README.md`.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct FusedLossGoldenTests {
    @Test(arguments: TestDevice.profiles)
    func everyCaseAgrees(_ profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        var worst: [String: (ratio: Double, id: String)] = [:]
        #expect(LossCase.all.count == 472)
        for golden in LossCase.all {
            let wanted = try LossCase(golden)
            let device = try LossDevice(engine, wanted.method, rows: wanted.labels.count, classes: wanted.classes)
            let found = try device.run(
                wanted.method, student: wanted.student, teacher: wanted.teacher, labels: wanted.labels)
            let metrics = found.totals.metrics
            #expect(metrics.rows == wanted.labels.count && found.totals.faultyRows == 0)
            func note(_ what: String, _ ratio: Double) {
                if !(ratio <= worst[what]?.ratio ?? -1) { worst[what] = (ratio, golden.id) }
            }
            func check(_ what: String, _ found: Double, _ wanted: Double, near: Bool) {
                // Where a plain term vanishes up to rounding (identical rows), the absolute part decides.
                let bound = near ? 5e-4 * max(1, abs(wanted)) : 2e-5 * abs(wanted) + 1e-6
                note("\(golden.method) \(what)", expectClose([found], [wanted], .absolute(bound), "\(golden.id): \(what)"))
            }
            let rows = Double(metrics.rows)
            check("total", metrics.totalSum / rows, wanted.total, near: wanted.isNearIdentical)
            for (k, name) in wanted.method.termNames.enumerated() {
                check(name, metrics.termSums[k] / rows, wanted.terms[k], near: wanted.isNearIdentical)
                for (row, value) in wanted.perRow[k].enumerated() where value.isFinite {
                    check("\(name) per row", Double(found.perRow[k][row]), value, near: wanted.isNearIdentical)
                }
            }
            // Ill-conditioned by design.
            if wanted.isNearIdentical && wanted.isStandardized { continue }
            var (gradient, expected) = (found.gradient.map(Double.init), wanted.gradient)
            if golden.set.hasSuffix("edge_rows") && wanted.isStandardized {
                gradient.removeSubrange((6 * wanted.classes)..<(7 * wanted.classes))
                expected.removeSubrange((6 * wanted.classes)..<(7 * wanted.classes))
            }
            let largest = wanted.gradient.map(abs).max() ?? 0
            let bound: Double
            switch (golden.method, wanted.classes) {
            // Gradients that vanish are compared absolutely: underflows; sums that cancel; one side equal to the other, for
            // which p and q are rounded to 1e-8 and their difference has a floor. Right rows of REVISION reach 1e2, so that the relative part
            // stays beside the absolute one.
            case ("REVISION", _) where golden.set.contains("student_sure"): bound = 1e-6 + 5e-6 * largest
            case ("SWAP", 2) where wanted.isStandardized: bound = 1e-6
            case (_, 2) where wanted.isStandardized: bound = 1e-4 * largest
            case _ where wanted.isNearIdentical: bound = 5e-6 * max(1e-2, largest)
            default: bound = 5e-6 * largest
            }
            note("\(golden.method) gradient", expectClose(gradient, expected, .absolute(bound), "\(golden.id): gradient"))
            #expect(try device.damagedGuards() == 0, "\(golden.id)")
        }
        for (what, entry) in worst.sorted(by: { $0.key < $1.key }) {
            print("worst error / bound, \(profile), loss \(what): \(entry.ratio) (\(entry.id))")
        }
    }
}
