import Foundation
import RLDMethods
import RLDReference
import Testing

/// MLKD's alignments from their definition: full matrices of rows and of classes, and medians by sorting.
@Suite struct MultiLevelTests {
    struct Definition {
        var kd = 0.0
        var cc = 0.0
        var bc = 0.0
    }

    static let method = MultiLevelLogitDistillation()

    private func softmax(_ row: ArraySlice<Double>, _ temperature: Double) -> [Double] {
        let largest = row.max() ?? 0
        let powers = row.map { exp(($0 - largest) / temperature) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }

    /// Share of the values at or below their median, the median of an even number being the mean of the two in the middle.
    private func share(_ values: [Double]) -> Double {
        let sorted = values.sorted()
        let (low, high) = (sorted[(values.count - 1) / 2], sorted[values.count / 2])
        return Double(values.count { $0 <= (low + high) / 2 }) / Double(values.count)
    }

    private func defined(_ batch: ReferenceLossPropertyTests.Batch, weights: [Double]? = nil) -> Definition {
        let (rows, classes) = (batch.rows, batch.classes)
        func row(_ values: [Double], _ i: Int) -> ArraySlice<Double> { values[(i * classes)..<((i + 1) * classes)] }
        let given = weights ?? Array(repeating: 1, count: rows)
        let mean = given.reduce(0, +) / Double(rows)
        let w = given.map { $0 / mean }
        let confidences = (0..<rows).map { softmax(row(batch.teacher, $0), 1) }
        let f = share(confidences.map { $0.max() ?? 0 })
        let g = share((0..<classes).map { c in zip(w, confidences).reduce(0.0) { $0 + $1.0 * $1.1[c] } })
        var result = Definition()
        for temperature in [4.0, 3, 5, 2, 6] {
            let p = (0..<rows).map { softmax(row(batch.student, $0), temperature) }
            let q = (0..<rows).map { softmax(row(batch.teacher, $0), temperature) }
            for i in 0..<rows {
                let divergence = zip(q[i], p[i]).reduce(0) { $0 + $1.0 * log($1.0 / $1.1) }
                result.kd += f * w[i] / Double(rows) * temperature * temperature * divergence
                for j in 0..<rows {
                    let student = zip(p[i], p[j]).reduce(0) { $0 + $1.0 * $1.1 }
                    let teacher = zip(q[i], q[j]).reduce(0) { $0 + $1.0 * $1.1 }
                    result.bc += f / Double(rows) * w[i] * w[j] * (student - teacher) * (student - teacher)
                }
            }
            for a in 0..<classes {
                for b in 0..<classes {
                    var m = 0.0
                    for i in 0..<rows { m += w[i] * (p[i][a] * p[i][b] - q[i][a] * q[i][b]) }
                    result.cc += g / Double(classes) * m * m
                }
            }
        }
        return result
    }

    @Test(arguments: [(2, 2), (1, 5), (3, 9), (9, 3), (8, 8), (13, 7), (5, 40), (40, 5)])
    func productsOfRowsGiveTheMatricesOfTheDefinition(_ rows: Int, _ classes: Int) throws {
        let batch = ReferenceLossPropertyTests.Batch(rows: rows, classes: classes, seed: UInt64(rows * 100 + classes))
        let weights = (0..<rows).map { Double($0 % 3 + 1) }
        for weights in [nil, weights] {
            let wanted = defined(batch, weights: weights)
            let found = try batch.evaluate(.multiLevelLogitDistillation(Self.method), weights: weights).terms
            #expect(found.count == 4)
            for (a, b) in zip(found[1...], [wanted.kd, wanted.cc, wanted.bc]) {
                #expect(abs(a - b) <= 1e-11 * max(abs(b), 1e-2), "\(found) \(wanted)")
            }
        }
    }

    @Test func rowsOfWeightZeroAreNotThere() throws {
        let method = Method.multiLevelLogitDistillation(Self.method)
        let batch = ReferenceLossPropertyTests.Batch(rows: 5, classes: 6)
        var shorter = ReferenceLossPropertyTests.Batch(rows: 4, classes: 6)
        func without(_ values: [Double]) -> [Double] { Array(values[..<12] + values[18...]) }
        (shorter.student, shorter.teacher) = (without(batch.student), without(batch.teacher))
        shorter.labels = Array(batch.labels[..<2] + batch.labels[3...])
        let (a, b) = (try batch.evaluate(method, weights: [2, 2, 0, 2, 2]), try shorter.evaluate(method))
        #expect(a.terms.count == b.terms.count && a.gradient.count == b.gradient.count + 6)
        for (x, y) in zip(a.terms, b.terms) { #expect(abs(x - y) < 1e-13) }
        for (x, y) in zip(without(a.gradient), b.gradient) { #expect(abs(x - y) < 1e-14) }
        #expect(a.gradient[12..<18].allSatisfy { $0 == 0 })
    }

    /// Ties at the median count, and a teacher that is sure to the last bit of a Double still has its place among the rows.
    @Test func mediansCountTiesAndKeepTheOrderOfSureRows() throws {
        func kd(_ teacher: [[Double]]) throws -> Double {
            var method = Self.method
            (method.crossEntropyWeight, method.weight) = (0, 1)
            let result = try ReferenceLoss.evaluate(
                .multiLevelLogitDistillation(method), student: Array(repeating: [0, 1, 2], count: teacher.count).flatMap { $0 },
                teacher: teacher.flatMap { $0 }, labels: teacher.map { _ in 0 }, classes: 3)
            let whole = teacher.indices.map { row -> Double in
                let alone = try? ReferenceLoss.evaluate(
                    .multiLevelLogitDistillation(method), student: [0, 1, 2], teacher: teacher[row], labels: [0], classes: 3)
                return alone?.terms[1] ?? .nan
            }
            return result.terms[1] / (whole.reduce(0, +) / Double(teacher.count))
        }
        // A single row is its own median: the factor is 1, so `kd` is the factor of the batch.
        #expect(abs(try kd([[0, 0, 1], [0, 0, 2], [0, 0, 3], [0, 0, 4]]) - 0.5) < 1e-12)
        #expect(abs(try kd([[0, 0, 1], [0, 0, 2], [2, 0, 0], [0, 0, 4]]) - 0.75) < 1e-12)
        #expect(abs(try kd([[0, 0, 1], [0, 0, 2], [0, 0, 3]]) - 2.0 / 3) < 1e-12)
        #expect(abs(try kd([[0, 0, 100], [0, 0, 200], [0, 0, 300], [0, 0, 5000]]) - 0.5) < 1e-12)
    }

    @Test func repeatedTemperaturesCountTwice() {
        var method = Self.method
        #expect(method.levels.map(\.temperature) == [4, 3, 5, 2, 6] && method.levels.allSatisfy { $0.count == 1 })
        method.temperature = 2
        #expect(method.levels.map(\.temperature) == [2, 3, 5, 6] && method.levels.map(\.count) == [2, 1, 1, 1])
    }
}
