import Foundation
import RLDGraph
import RLDMethods
import RLDReference
import Testing

/// What must hold for any batch.
@Suite struct ReferenceLossPropertyTests {
    static let methods: [Method] = {
        var lukewarm = RefinedLogitDistillation()
        lukewarm.confidenceTemperature = 3
        return Method.defaults + Method.defaults.map { $0.applyingLSKD() } + [.refinedLogitDistillation(lukewarm)]
    }()

    /// By definition the level of a row matters to RC (the largest logit is added to the label's), unless it is standardised.
    static let withoutLevel = methods.filter { method in
        if case .reviewCorrection(let m) = method { m.standardize } else { true }
    }

    /// RC's target is the student itself, held constant: its own difference quotient is another one.
    static let withFixedTarget = methods.filter { method in
        if case .reviewCorrection(let m) = method { m.correctionWeight == 0 } else { true }
    }

    /// Logits of about +-6 and labels from a plain generator, the same every time.
    struct Batch {
        let rows: Int
        let classes: Int
        var student: [Double] = []
        var teacher: [Double] = []
        var labels: [Int32] = []

        init(rows: Int = 6, classes: Int = 7, seed: UInt64 = 1) {
            (self.rows, self.classes) = (rows, classes)
            var state = seed
            func next() -> Double {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
                return Double(state >> 11) / 9_007_199_254_740_992
            }
            for _ in 0..<(rows * classes) {
                student.append(12 * next() - 6)
                teacher.append(12 * next() - 6)
            }
            for _ in 0..<rows { labels.append(Int32(next() * Double(classes))) }
        }

        func evaluate(_ method: Method, scale: Double = 1, weights: [Double]? = nil) throws -> LossResult {
            try ReferenceLoss.evaluate(
                method, student: student, teacher: teacher, labels: labels, classes: classes, warmup: 0.5, scale: scale,
                rowWeights: weights)
        }
    }

    func expectNear(_ a: [Double], _ b: [Double], _ bound: Double = 1e-12) {
        #expect(a.count == b.count)
        for (x, y) in zip(a, b) { #expect(abs(x - y) <= bound * max(1, abs(y))) }
    }

    @Test(arguments: withoutLevel) func shiftOfARowChangesNothing(_ method: Method) throws {
        // LR compares logits as they are: both sides are shifted alike.
        let alike = method.id == "lr"
        let batch = Batch()
        var shifted = batch
        for i in batch.student.indices {
            shifted.student[i] += 3.5 * Double(i / batch.classes)
            shifted.teacher[i] += (alike ? 3.5 : -1.25) * Double(i / batch.classes)
        }
        let (a, b) = (try batch.evaluate(method), try shifted.evaluate(method))
        expectNear(b.terms, a.terms, 1e-11)
        expectNear(b.gradient, a.gradient, 1e-11)
        #expect(a.top1 == b.top1 && a.top5 == b.top5)
    }

    @Test(arguments: methods) func permutedClassesPermuteTheGradient(_ method: Method) throws {
        let batch = Batch()
        let order = [3, 0, 6, 1, 5, 2, 4]
        var permuted = batch
        for row in 0..<batch.rows {
            for (i, j) in order.enumerated() {
                permuted.student[row * 7 + j] = batch.student[row * 7 + i]
                permuted.teacher[row * 7 + j] = batch.teacher[row * 7 + i]
            }
            permuted.labels[row] = Int32(order[Int(batch.labels[row])])
        }
        let (a, b) = (try batch.evaluate(method), try permuted.evaluate(method))
        expectNear(b.terms, a.terms)
        for row in 0..<batch.rows {
            for (i, j) in order.enumerated() { #expect(abs(b.gradient[row * 7 + j] - a.gradient[row * 7 + i]) < 1e-13) }
        }
    }

    @Test(arguments: withFixedTarget) func gradientIsTheCentralDifference(_ method: Method) throws {
        let batch = Batch(rows: 3)
        let gradient = try batch.evaluate(method, scale: 2).gradient
        let step = 1e-5
        for i in batch.student.indices {
            var (up, down) = (batch, batch)
            up.student[i] += step
            down.student[i] -= step
            let difference = 2 * (try up.evaluate(method).total - down.evaluate(method).total) / (2 * step)
            #expect(abs(gradient[i] - difference) <= 1e-8 + 1e-6 * abs(difference))
        }
    }

    @Test func correctionIsDistillationTowardsTheLiftedStudent() throws {
        // With its target put in the teacher's place, RC is KD, whose gradient the difference quotient does check.
        var correction = ReviewCorrection()
        (correction.crossEntropyWeight, correction.weight, correction.correctionWeight) = (0, 0, 1)
        var distillation = KnowledgeDistillation()
        (distillation.crossEntropyWeight, distillation.weight) = (0, 1)
        let batch = Batch()
        var lifted = batch
        lifted.teacher = batch.student
        for row in 0..<batch.rows {
            lifted.teacher[row * 7 + Int(batch.labels[row])] += batch.student[(row * 7)..<(row * 7 + 7)].max() ?? 0
        }
        let a = try batch.evaluate(.reviewCorrection(correction))
        let b = try lifted.evaluate(.knowledgeDistillation(distillation))
        expectNear([a.total], [b.total])
        expectNear(a.gradient, b.gradient)
        correction.weight = 2
        let both = try batch.evaluate(.reviewCorrection(correction)).gradient
        let plain = try batch.evaluate(.knowledgeDistillation(distillation)).gradient
        expectNear(both, zip(a.gradient, plain).map { $0 + 2 * $1 })
    }

    @Test(arguments: [false, true]) func equalsDecoupledDistillationUnderARightTeacher(_ standardize: Bool) throws {
        var batch = Batch(rows: 12)
        for row in 0..<12 {
            let best = (0..<7).max { batch.teacher[row * 7 + $0] < batch.teacher[row * 7 + $1] } ?? 0
            batch.labels[row] = Int32(best)
        }
        var refined = RefinedLogitDistillation()
        (refined.confidenceTemperature, refined.standardize) = (4, standardize)
        var decoupled = DecoupledKnowledgeDistillation()
        decoupled.standardize = standardize
        let a = try batch.evaluate(.refinedLogitDistillation(refined))
        let b = try batch.evaluate(.decoupledKnowledgeDistillation(decoupled))
        #expect(a.terms == b.terms && a.gradient == b.gradient)
        // And label augment is plain KD then.
        var distillation = KnowledgeDistillation()
        (distillation.crossEntropyWeight, distillation.weight, distillation.standardize) = (0, 1, standardize)
        var augment = LabelAugment()
        augment.standardize = standardize
        #expect(
            try batch.evaluate(.labelAugment(augment)).gradient == batch.evaluate(.knowledgeDistillation(distillation)).gradient)
    }

    @Test func revisionTakesTheMeanOfEachGroup() throws {
        let batch = Batch(rows: 8)
        let whole = try batch.evaluate(.labelRevision(LabelRevision()))
        let right = (0..<8).filter { row in
            let t = batch.teacher[(row * 7)..<(row * 7 + 7)]
            return t[row * 7 + Int(batch.labels[row])] == t.max()
        }
        let wrong = (0..<8).filter { !right.contains($0) }
        #expect(!wrong.isEmpty)
        for (k, group) in [(0, right), (1, right), (2, wrong)] where !group.isEmpty {
            let mean = group.map { whole.perRow[k][$0] }.reduce(0, +) / Double(group.count)
            #expect(abs(whole.terms[k] - mean) < 1e-12)
            for row in 0..<8 where !group.contains(row) { #expect(whole.perRow[k][row] == 0) }
        }
    }

    /// The squared distance of logits has a direction along the ones.
    @Test(arguments: methods.filter { $0.id != "lr" }) func gradientsSumToZero(_ method: Method) throws {
        let batch = Batch()
        let gradient = try batch.evaluate(method).gradient
        for row in 0..<batch.rows { #expect(abs(gradient[(row * 7)..<(row * 7 + 7)].reduce(0, +)) < 1e-13) }
    }

    @Test func correlationGradientIsZeroOnMaskedClasses() throws {
        var method = RefinedLogitDistillation()
        (method.crossEntropyWeight, method.alpha) = (0, 0)
        let batch = Batch(rows: 40)
        let gradient = try batch.evaluate(.refinedLogitDistillation(method)).gradient
        for row in 0..<batch.rows {
            let y = batch.teacher[row * 7 + Int(batch.labels[row])]
            let kept = (0..<7).filter { batch.teacher[row * 7 + $0] < y }
            for i in 0..<7 {
                #expect((gradient[row * 7 + i] != 0) == (kept.count > 1 && kept.contains(i)))
            }
        }
    }

    @Test(arguments: methods) func doublingTheBatchChangesNoMean(_ method: Method) throws {
        let batch = Batch()
        var twice = Batch(rows: 12)
        (twice.student, twice.teacher) = (batch.student + batch.student, batch.teacher + batch.teacher)
        twice.labels = batch.labels + batch.labels
        let (a, b) = (try batch.evaluate(method), try twice.evaluate(method))
        if method.id == "mlkd" {
            // Sums over pairs of rows, as the authors define them: the squares of the class correlations grow fourfold.
            expectNear(b.terms, zip(a.terms, [1, 1, 4, 2]).map { $0 * $1 })
            return
        }
        expectNear(b.terms, a.terms)
        expectNear(Array(b.gradient[0..<42]), a.gradient.map { $0 / 2 })
        #expect(b.top1 == 2 * a.top1 && b.rows == 12)
    }

    @Test(arguments: methods) func ignoredRowsAreNotThere(_ method: Method) throws {
        let batch = Batch(rows: 4)
        var longer = Batch(rows: 6)
        let junk = Array(repeating: Double.nan, count: 7)
        longer.student = junk + batch.student + junk
        longer.teacher = junk + batch.teacher + junk
        longer.labels = [-100] + batch.labels + [-100]
        let (a, b) = (try batch.evaluate(method), try longer.evaluate(method))
        #expect(a.terms == b.terms && a.total == b.total && b.rows == 4)
        #expect(b.gradient == Array(repeating: 0, count: 7) + a.gradient + Array(repeating: 0, count: 7))
        longer.labels = Array(repeating: -100, count: 6)
        let none = try longer.evaluate(method)
        #expect(none.total == 0 && none.rows == 0 && none.gradient.allSatisfy { $0 == 0 })
    }

    @Test(arguments: methods) func rowWeightsWeighTheMean(_ method: Method) throws {
        let batch = Batch(rows: 4)
        let plain = try batch.evaluate(method)
        let same = try batch.evaluate(method, weights: [3, 3, 3, 3])
        expectNear(same.terms, plain.terms)
        expectNear(same.gradient, plain.gradient)
        let weighted = try batch.evaluate(method, weights: [1, 0, 2, 1])
        // The means of label revision are over groups of rows, MLKD's terms depend on the whole batch (`MultiLevelTests`).
        for (k, rows) in plain.perRow.enumerated() where method.id != "lr" && (method.id != "mlkd" || k == 0) {
            #expect(abs(weighted.terms[k] - (rows[0] + 2 * rows[2] + rows[3]) / 4) < 1e-12)
        }
        #expect(weighted.gradient[7..<14].allSatisfy { $0 == 0 })
        #expect(try batch.evaluate(method, weights: [0, 0, 0, 0]).total == 0)
        expectNear(try batch.evaluate(method, weights: [1e30, 1e30, 1e30, 1e30]).terms, plain.terms)
        // Their sum would be infinite, and every row's share of it 0.
        let error = #expect(throws: InputError.self) { try batch.evaluate(method, weights: [1, 1e308, 1e308, 1]) }
        #expect(error?.description.contains("row weights: row 1: must be at most 1e30, found 1e+308") == true)
    }

    @Test(arguments: methods) func hugeLogitsStayFinite(_ method: Method) throws {
        var batch = Batch(rows: 20)
        let huge = method.id == "lr" ? 1e18 : 1e30
        let sizes = [huge, -huge, 0, 1e-30, 5, huge, -huge]
        for i in batch.student.indices {
            batch.student[i] = sizes[(i * 5 + i / 7) % 7]
            batch.teacher[i] = sizes[(i * 3 + i / 7) % 7]
        }
        let result = try batch.evaluate(method)
        #expect(result.total.isFinite)
        // A row's share of MLKD's class alignment may be negative, their sum is not.
        for (name, values) in zip(method.termNames, result.perRow) {
            #expect(values.allSatisfy { $0.isFinite && ($0 >= 0 || name == "cc") }, "\(name)")
        }
        #expect(result.terms.allSatisfy { $0 >= 0 })
        #expect(result.gradient.allSatisfy { $0.isFinite })
    }

    @Test func excludedClassesTakeNoPart() throws {
        // A class that both sides exclude might as well not exist, also to the standardisation.
        for method in Self.methods {
            let batch = Batch()
            var wider = Batch(rows: 6, classes: 8)
            (wider.student, wider.teacher, wider.labels) = ([], [], batch.labels)
            for row in 0..<6 {
                wider.student += Array(batch.student[(row * 7)..<(row * 7 + 7)]) + [-.infinity]
                wider.teacher += Array(batch.teacher[(row * 7)..<(row * 7 + 7)]) + [-.infinity]
            }
            let (a, b) = (try batch.evaluate(method), try wider.evaluate(method))
            expectNear(b.terms, a.terms)
            for i in wider.student.indices {
                #expect(abs(b.gradient[i] - (i % 8 == 7 ? 0 : a.gradient[i / 8 * 7 + i % 8])) < 1e-13)
            }
        }
    }

    /// Differences of logits are taken before anything else, so that a level that all share leaves nothing behind.
    @Test func largeLevelsCancel() throws {
        for level in [0, 1e6, -1e12, 1e15] {
            let student = [0.0, 1, 1].map { level + $0 }
            let teacher = [2.0, 0, 1].map { level + $0 }
            for method in [Method.defaults[0], Method.defaults[1]] {
                let found = try ReferenceLoss.evaluate(method, student: student, teacher: teacher, labels: [0], classes: 3)
                let plain = try ReferenceLoss.evaluate(
                    method, student: [0, 1, 1], teacher: [2, 0, 1], labels: [0], classes: 3)
                expectNear(found.terms, plain.terms, 1e-14)
                expectNear(found.gradient, plain.gradient, 1e-14)
            }
        }
        let crossEntropy = try ReferenceLoss.evaluate(
            Method.defaults[0], student: [1e12, 1e12 + 1, 1e12 + 1], teacher: nil, labels: [0], classes: 3)
        #expect(abs(crossEntropy.total - log(1 + 2 * exp(1.0))) < 1e-14)
    }

    /// T^2 KL tends to half the mean square of the centred differences of the logits as T grows: no rounding may be magnified
    /// by T^2 on the way.
    @Test(arguments: [1e3, 1e5, 1e7]) func highTemperaturesCompareLogits(_ temperature: Double) throws {
        var method = KnowledgeDistillation()
        method.temperature = temperature
        let batch = Batch(rows: 3)
        let found = try batch.evaluate(.knowledgeDistillation(method)).perRow[1]
        for row in 0..<3 {
            let differences = (row * 7..<row * 7 + 7).map { batch.student[$0] - batch.teacher[$0] }
            let mean = differences.reduce(0, +) / 7
            let limit = differences.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 14
            // What the limit leaves out is of the order of the logits over T.
            #expect(abs(found[row] - limit) <= (20 / temperature + 1e-8) * limit, "row \(row)")
        }
    }

    /// Standardised logits may round to ties that the teacher's own are not: RLD's mask is that of the logits.
    @Test func masksAreOfTheLogitsThemselves() throws {
        let method = Method.refinedLogitDistillation(RefinedLogitDistillation()).applyingLSKD()
        let found = try ReferenceLoss.evaluate(method, student: [0, 1, 2, 4], teacher: [1e17, 3, 2, 1], labels: [1], classes: 4)
        #expect(found.perRow[2][0] > 0.1)
    }

    @Test(arguments: methods, [1e-9, 1e9]) func temperaturesAtTheEndsOfTheirRangeAreFinite(_ method: Method, _ end: Double) throws
    {
        var method = method
        for option in method.options where option.kind == .temperature { try method.set(option, to: end) }
        let result = try Batch().evaluate(method)
        #expect(result.terms.allSatisfy { $0.isFinite && $0 >= 0 })
        #expect(result.gradient.allSatisfy { $0.isFinite })
    }
}
