import Foundation
import RLDMethods

/// The part of MLKD that looks at a batch as a whole: the medians, and the terms that compare rows and classes with each other.
/// Rows here are those that count and weigh more than 0.
struct MultiLevelAlignment {
    /// Share of the rows (classes) whose confidence is at or below the median.
    let rowFraction: Double
    let classFraction: Double
    /// Classes that one side at least does not exclude in some row.
    let classCount: Int
    /// Row weights, scaled to mean 1.
    let weights: [Double]

    private let student: [[Double]]
    private let teacher: [[Double]]

    /// - Parameter weights: one per row, more than 0.
    init(student: [[Double]], teacher: [[Double]], weights given: [Double]) {
        (self.student, self.teacher) = (student, teacher)
        let sum = given.reduce(0, +)
        let weights = given.map { $0 / sum * Double(given.count) }
        self.weights = weights
        let classes = student.first?.count ?? 0
        let all = Array(0..<classes)
        // -log(1 - confidence) grows with the confidence and does not round to a limit.
        rowFraction = Self.fractionToMedian(
            teacher.map { -binaryLogs($0, at: firstArgmax($0), temperature: 1).rest })
        let logs = teacher.map { logSoftmax($0, over: all, temperature: 1) ?? $0 }
        let present = all.filter { i in (student + teacher).contains { $0[i] > -.infinity } }
        classCount = present.count
        classFraction = Self.fractionToMedian(
            present.map { i in logSumExp(zip(logs, weights).map { $0[i] + log($1) }, over: logs.indices, temperature: 1) })
    }

    /// How many of the values, as a share, are at or below their median. Of an even number of values the median lies between the
    /// two in the middle, so that the lower one decides.
    static func fractionToMedian(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return 0 }
        let middle = values.sorted()[(values.count - 1) / 2]
        return Double(values.count { $0 <= middle }) / Double(values.count)
    }

    /// The class and the batch alignment at one temperature: per row its share of the value times the number of rows, and the
    /// gradient of the whole value with respect to the row's logits, divided by the row's share of the mean (weight / rows).
    ///
    /// With sigma_i = p_i + q_i and delta_i = p_i - q_i, products of rows suffice:
    /// p_i . p_j - q_i . q_j = (sigma_i . delta_j + delta_i . sigma_j) / 2,
    /// |M|^2 = sum_ij w_i w_j [(sigma_i . sigma_j)(delta_i . delta_j) + (sigma_i . delta_j)(delta_i . sigma_j)] / 2,
    /// M p_i = sum_j w_j [(p_i . delta_j) sigma_j + (p_i . sigma_j) delta_j] / 2,
    /// which needs no matrix of classes, and subtracts nothing large when the sides agree.
    /// - Parameter rows: the rows that are asked for, by index.
    func terms(temperature: Double, of rows: [Int]) -> (classes: [RowTerm], batch: [RowTerm]) {
        let all = Array(0..<(student.first?.count ?? 0))
        func softmax(_ row: [Double]) -> [Double] { logSoftmax(row, over: all, temperature: temperature)?.map { exp($0) } ?? [] }
        func pair(_ row: Int) -> (p: [Double], sigma: [Double], delta: [Double]) {
            let (p, q) = (softmax(student[row]), softmax(teacher[row]))
            return (p, zip(p, q).map { $0 + $1 }, zip(p, q).map { $0 - $1 })
        }
        let own = rows.map(pair)
        let places = Dictionary(uniqueKeysWithValues: zip(rows, rows.indices))
        let classScale = classFraction * Double(student.count) / Double(max(classCount, 1))
        var ofClasses = rows.map { _ in RowTerm.zero(all.count) }
        var ofBatch = ofClasses
        for j in student.indices {
            let other = places[j].map { own[$0] } ?? pair(j)
            for (k, mine) in own.enumerated() {
                let a = dot(mine.sigma, other.sigma)
                let b = dot(mine.delta, other.delta)
                let ij = dot(mine.sigma, other.delta)
                let ji = dot(mine.delta, other.sigma)
                let difference = (ij + ji) / 2
                ofClasses[k].value += classScale * weights[j] * (a * b + ij * ji) / 2
                ofBatch[k].value += rowFraction * weights[j] * difference * difference
                // p_i = (sigma_i + delta_i) / 2.
                let toSigma = classScale * weights[j] * (ij + b)
                let toDelta = classScale * weights[j] * (a + ji)
                let toStudent = 4 * rowFraction * weights[j] * difference
                for c in all {
                    ofClasses[k].gradient[c] += toSigma * other.sigma[c] + toDelta * other.delta[c]
                    ofBatch[k].gradient[c] += toStudent * other.p[c]
                }
            }
        }
        return (
            zip(ofClasses, own).map { throughSoftmax($0, $1.p, temperature) },
            zip(ofBatch, own).map { throughSoftmax($0, $1.p, temperature) }
        )
    }

    /// From d / d p to d / d s: p (g - p . g) / T.
    private func throughSoftmax(_ term: RowTerm, _ p: [Double], _ temperature: Double) -> RowTerm {
        let mean = dot(p, term.gradient)
        return RowTerm(value: term.value, gradient: zip(p, term.gradient).map { $0 * ($1 - mean) / temperature })
    }

    private func dot(_ a: [Double], _ b: [Double]) -> Double {
        var sum = 0.0
        for i in a.indices { sum += a[i] * b[i] }
        return sum
    }
}
