import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// Short rows, of which a cpu's work-item computes several at once, a lane each: no row may take anything from its neighbours.
@Suite(.enabled(if: TestDevice.enabled && TestDevice.profiles.contains(.cpu), "no OpenCL device with cpu kernels"))
struct FusedLossTogetherTests {
    private static let methods = FusedLossTests.methods.filter { !["lr", "mlkd"].contains($0.id) }

    /// What is done to a row of a batch, so that rows of every path are neighbours.
    private enum Kind: CaseIterable {
        case ordinary, ignored, wrongLabel, notANumber, close, excluded, constant, certain, infiniteLoss, hardlyInfiniteLoss,
            onTop

        func apply(to batch: inout FusedLossTests.Batch, row: Int, classes: Int) {
            let range = row * classes..<(row + 1) * classes
            let label = row * classes + Int(batch.labels[row])
            let other = label == range.lowerBound ? range.upperBound - 1 : range.lowerBound
            switch self {
            case .ordinary: break
            case .ignored: batch.labels[row] = -100
            case .wrongLabel: batch.labels[row] = Int32(classes)
            case .notANumber: batch.student[other] = .nan
            case .close: for i in range { batch.student[i] = batch.teacher[i] + batch.student[i] / 1024 }
            case .excluded: (batch.student[other], batch.teacher[other]) = (-.infinity, -.infinity)
            case .constant: for i in range { (batch.student[i], batch.teacher[i]) = (1.5, -2) }
            case .certain: (batch.student[other], batch.teacher[label]) = (700, 900)
            case .infiniteLoss: batch.student[other] = -.infinity
            // The target needs it so little that its share is 0 in float32.
            case .hardlyInfiniteLoss: (batch.student[other], batch.teacher[other]) = (-.infinity, -2000)
            case .onTop: (batch.student[label], batch.teacher[label]) = (20, 19)
            }
        }
    }

    private static func engine() throws -> DeviceEngine {
        // As for another processor, whose kernels are compiled without optimiser.
        try DeviceEngine(TestDevice.device(), profile: .cpu, registers: .avx2)
    }

    /// Enough rows for work-groups of sixteen, and some more.
    private static func rows(_ device: Device) -> Int { 8 * device.computeUnits * 16 + 5 }

    /// The same rows in another order have the same values and gradients, to the last bit.
    @Test(arguments: methods, ["8", "16"]) func neighboursMakeNoDifference(_ method: Method, _ width: String) throws {
        let engine = try Self.engine()
        let rows = Self.rows(engine.context.device)
        for classes in [2, 17, 130] {
            var batch = FusedLossTests.Batch(rows, classes, seed: 3)
            let kinds = Kind.allCases
            for row in 0..<rows {
                // Every third row has its kind in turns; of the others few are not ordinary.
                let kind = row % 3 == 0 ? kinds[row / 3 % kinds.count] : row % 41 == 0 ? kinds[row / 41 % kinds.count] : .ordinary
                kind.apply(to: &batch, row: row, classes: classes)
            }
            let order = Array((0..<rows).reversed())
            func moved(_ values: [Double]) -> [Double] {
                order.flatMap { values[$0 * classes..<($0 + 1) * classes] }
            }
            let device = try LossDevice(
                engine, method, rows: rows, classes: classes, ignoring: -100, constants: [("ROW_WIDTH", width)])
            let first = try device.run(method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
            let second = try device.run(
                method, student: moved(batch.student), teacher: moved(batch.teacher), labels: order.map { batch.labels[$0] })
            let what = "\(width) lanes, \(method.effectiveDescription), \(classes) classes"
            #expect(
                moved(first.gradient.map(Double.init)).map(\.bitPattern) == second.gradient.map { Double($0).bitPattern },
                "\(what)")
            for (a, b) in zip(first.perRow, second.perRow) {
                #expect(order.map { a[$0].bitPattern } == b.map(\.bitPattern), "\(what)")
            }
            #expect(first.totals.faultyRows == second.totals.faultyRows && first.totals.faultyRows > 0, "\(what)")
            #expect(first.totals.metrics.top1 == second.totals.metrics.top1, "\(what)")
            #expect(try device.damagedGuards() == 0)
        }
    }

    /// Rows of which the reference has finite values, in groups of sixteen and a last one of less.
    @Test(arguments: methods, ["8", "16"]) func fullGroupsAreTheReference(_ method: Method, _ width: String) throws {
        let engine = try Self.engine()
        let rows = Self.rows(engine.context.device)
        for classes in [3, 33, 100, 512] where classes < 512 || method == FusedLossTests.refined {
            var batch = FusedLossTests.Batch(rows, classes)
            let kinds = [Kind.ordinary, .ignored, .close, .excluded, .onTop]
            // Of three classes none can be spared.
            for row in 0..<rows where classes > 3 { kinds[row % kinds.count].apply(to: &batch, row: row, classes: classes) }
            let device = try LossDevice(
                engine, method, rows: rows, classes: classes, ignoring: -100, constants: [("ROW_WIDTH", width)])
            let weights = (0..<rows).map { Double($0 % 7 + 1) / 4 }
            let found = try device.run(
                method, student: batch.student, teacher: batch.teacher, labels: batch.labels, weights: weights)
            try FusedLossTests.compare(
                found, method, batch, classes: classes, weights: weights,
                "\(width) lanes, \(method.effectiveDescription), \(classes) classes")
        }
    }
}
