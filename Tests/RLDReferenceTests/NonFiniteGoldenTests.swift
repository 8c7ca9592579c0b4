import Foundation
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// The golden cases in which the authors' code is not finite. It takes the logarithm of a probability that has underflowed, or
/// multiplies 0 by infinity; the quantity itself has a limit, argued here and computed without the reference's functions:
///
/// - log p_y = (s_y - max) / T - log sum exp((s_i - max) / T) is exact however small p_y is, because p_y is never formed;
///   log(1 - p_y) is the same with the sum over the other classes.
/// - x log x -> 0 as x -> 0, so that a class of target probability 0 adds nothing, whatever the student gives it.
/// - A class excluded by both sides (-infinity) is the limit of one whose logits sink together: target probability 0.
/// - Once p_y has vanished beside the rest, log(1 - p_y) is constant and the confidence term is linear in the gap: raising the
///   student's top logit by d adds exactly a q d.
@Suite struct NonFiniteGoldenTests {
    static let cases = LossCase.all.filter { !($0.officialFinite.loss && $0.officialFinite.gradient) }

    @Test func theyAreAllHere() { #expect(Self.cases.count == 21) }

    private static func logSumExp(_ x: [Double], _ classes: [Int], _ temperature: Double) -> Double {
        let kept = classes.map { x[$0] }.filter { $0 > -.infinity }
        guard let largest = kept.max() else { return -.infinity }
        return largest / temperature + log(kept.reduce(0) { $0 + exp(($1 - largest) / temperature) })
    }

    /// sum of q (log q - log p) with 0 log 0 = 0.
    private static func limit(_ logQ: [Double], _ logP: [Double]) -> Double {
        zip(logQ, logP).reduce(0) { exp($1.0) == 0 ? $0 : $0 + exp($1.0) * ($1.0 - $1.1) }
    }

    /// T^2 KL over a set of classes.
    private static func divergence(_ s: [Double], _ t: [Double], _ classes: [Int], _ temperature: Double) -> Double {
        // One class left, or none that is not excluded: both sides are the same distribution, or none.
        guard classes.count > 1, classes.contains(where: { s[$0] > -.infinity }), classes.contains(where: { t[$0] > -.infinity })
        else { return 0 }
        func logs(_ x: [Double]) -> [Double] {
            let largest = classes.map { x[$0] }.max() ?? 0
            let shifted = x.map { $0 - largest }
            let total = logSumExp(shifted, classes, temperature)
            return classes.map { shifted[$0] / temperature - total }
        }
        return temperature * temperature * limit(logs(t), logs(s))
    }

    /// a^2 KL of a class of the teacher and the label, each against its rest.
    private static func confidence(_ s: [Double], _ t: [Double], _ label: Int, _ top: Int, _ a: Double) -> Double {
        func pair(_ x: [Double], _ inside: Int) -> [Double] {
            let largest = x.max() ?? 0
            let shifted = x.map { $0 - largest }
            let total = logSumExp(shifted, Array(x.indices), a)
            return [shifted[inside] / a - total, logSumExp(shifted, x.indices.filter { $0 != inside }, a) - total]
        }
        return a * a * limit(pair(t, top), pair(s, label))
    }

    private static func terms(_ method: Method, _ s: [Double], _ t: [Double], _ y: Int) -> [Double] {
        let top = t.indices.first { t[$0] == t.max() } ?? 0
        let all = Array(s.indices)
        // -log p_y from the gap to each other class.
        let ce = log1p(all.reduce(0) { $0 + ($1 == y ? 0 : exp(min(s[$1] - s[y], 700))) })
        let sure = logSumExp(s.map { $0 - s[y] }, all, 1)
        let crossEntropy = sure > 600 ? sure : ce
        switch method {
        case .knowledgeDistillation(let m): return [crossEntropy, divergence(s, t, all, m.temperature)]
        case .decoupledKnowledgeDistillation(let m):
            return [
                crossEntropy, confidence(s, t, y, y, m.temperature), divergence(s, t, all.filter { $0 != y }, m.temperature),
            ]
        case .refinedLogitDistillation(let m):
            return [
                crossEntropy, confidence(s, t, y, top, m.confidenceTemperature),
                divergence(s, t, all.filter { t[$0] < t[y] }, m.temperature),
            ]
        default: return []
        }
    }

    @Test(arguments: cases) func agreesWithTheLimit(_ golden: LossGolden) throws {
        let wanted = try LossCase(golden)
        let (classes, method) = (wanted.classes, wanted.method)
        let found = try ReferenceLoss.evaluate(
            method, student: wanted.student, teacher: wanted.teacher, labels: wanted.labels, classes: classes)
        #expect(found.total.isFinite && found.gradient.allSatisfy { $0.isFinite })
        var means = method.termNames.map { _ in 0.0 }
        for row in wanted.labels.indices {
            let range = (row * classes)..<((row + 1) * classes)
            let (s, t, y) = (Array(wanted.student[range]), Array(wanted.teacher[range]), Int(wanted.labels[row]))
            let limits = Self.terms(method, s, t, y)
            for (k, value) in limits.enumerated() {
                let bound = 1e-10 * abs(value) + 1e-12
                #expect(abs(found.perRow[k][row] - value) <= bound, "\(method.termNames[k]) of row \(row)")
                means[k] += value / Double(wanted.labels.count)
            }
        }
        let total = zip(method.termWeights(), means).reduce(0) { $0 + $1.0 * $1.1 }
        #expect(abs(found.total - total) <= 1e-10 * abs(total))
    }

    /// Where p_y has vanished: another d on the student's top logit adds a q d to the confidence term and nothing to its gradient.
    @Test(arguments: cases.filter { $0.method != "KD" }) func vanishedProbabilitiesAreLinear(_ golden: LossGolden) throws {
        let wanted = try LossCase(golden)
        let (classes, method) = (wanted.classes, wanted.method)
        let a = method.value(of: .confidenceTemperature) ?? method.value(of: .temperature) ?? .nan
        func confidence(_ student: [Double]) throws -> [Double] {
            try ReferenceLoss.evaluate(
                method, student: student, teacher: wanted.teacher, labels: wanted.labels, classes: classes
            ).perRow[1]
        }
        let before = try confidence(wanted.student)
        var checked = 0
        for row in wanted.labels.indices {
            let range = (row * classes)..<((row + 1) * classes)
            let (s, t, y) = (Array(wanted.student[range]), Array(wanted.teacher[range]), Int(wanted.labels[row]))
            let top = s.indices.max { s[$0] < s[$1] } ?? 0
            let second = s.indices.filter { $0 != top }.map { s[$0] }.max() ?? 0
            guard s[top] - s[y] > 50 * a, s[top] - second > 50 * a else { continue }
            let teacherClass = method.id == "rld" ? t.indices.max { t[$0] < t[$1] } ?? 0 : y
            let q = exp(t[teacherClass] / a - Self.logSumExp(t, Array(t.indices), a))
            var raised = wanted.student
            raised[row * classes + top] += 64
            let after = try confidence(raised)[row]
            #expect(abs(after - before[row] - a * q * 64) <= 1e-9 * max(after, 1), "row \(row)")
            checked += 1
        }
        if ["b8c10_dominant800", "b8c10_large1000"].contains(golden.set) { #expect(checked > 0) }
    }

    /// An excluded class is the limit of one whose logits sink on both sides.
    @Test(arguments: cases.filter { $0.set == "b8c10_minus_inf" }) func exclusionIsTheLimitOfSinking(_ golden: LossGolden) throws
    {
        let wanted = try LossCase(golden)
        func evaluate(_ depth: Double) throws -> LossResult {
            func sunk(_ x: [Double]) -> [Double] { x.map { $0 == -.infinity ? -depth : $0 } }
            return try ReferenceLoss.evaluate(
                wanted.method, student: sunk(wanted.student), teacher: sunk(wanted.teacher), labels: wanted.labels,
                classes: wanted.classes)
        }
        let limit = try evaluate(.infinity)
        var last = Double.infinity
        for depth in [50.0, 100, 200, 6000] {
            let found = try evaluate(depth)
            let error = abs(found.total - limit.total)
            #expect(error <= last)
            last = error
            if depth == 6000 {
                #expect(error <= 1e-12 * limit.total)
                #expect(found.gradient.count == limit.gradient.count)
                for (x, y) in zip(found.gradient, limit.gradient) { #expect(abs(x - y) < 1e-12) }
            }
        }
    }
}
