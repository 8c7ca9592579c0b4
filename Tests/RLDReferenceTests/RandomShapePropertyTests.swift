import RLDMethods
import RLDReference
import Testing

/// What must hold for any batch, on shapes drawn at random (the same every time): rows 1 to 9, classes 2 to 40.
@Suite struct RandomShapePropertyTests {
    typealias Batch = ReferenceLossPropertyTests.Batch

    static let methods = ReferenceLossPropertyTests.methods

    static let shapes: [(rows: Int, classes: Int, seed: UInt64)] = {
        var state: UInt64 = 2026
        func next(_ limit: UInt64) -> Int {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return Int((state >> 33) % limit)
        }
        return (0..<16).map { (1 + next(9), 2 + next(39), UInt64($0 + 5)) } + [(1, 2, 3), (2, 2, 4)]
    }()

    private static func batches() -> [Batch] { shapes.map { Batch(rows: $0.rows, classes: $0.classes, seed: $0.seed) } }

    /// The method with one weight alone.
    private static func isolated(_ method: Method) throws -> [(option: MethodOption, method: Method)] {
        let weights = method.options.filter { $0.kind == .weight }
        return try weights.map { kept in
            var copy = method
            for option in weights where option != kept { try copy.set(option, to: 0) }
            return (kept, copy)
        }
    }

    @Test(arguments: ReferenceLossPropertyTests.withoutLevel) func shiftsChangeNothing(_ method: Method) throws {
        for batch in Self.batches() {
            var shifted = batch
            for i in batch.student.indices {
                let row = Double(i / batch.classes)
                shifted.student[i] += 2.5 * row + 1
                shifted.teacher[i] += method.id == "lr" ? 2.5 * row + 1 : -3 * row
            }
            let (a, b) = (try batch.evaluate(method), try shifted.evaluate(method))
            #expect(a.terms.count == b.terms.count && a.gradient.count == b.gradient.count)
            for (x, y) in zip(a.terms, b.terms) { #expect(abs(x - y) <= 1e-10 * max(1, abs(x))) }
            let largest = a.gradient.map(abs).max() ?? 0
            for (x, y) in zip(a.gradient, b.gradient) { #expect(abs(x - y) <= 1e-10 * max(1, largest)) }
        }
    }

    @Test(arguments: methods) func permutationsPermute(_ method: Method) throws {
        for batch in Self.batches() {
            let c = batch.classes
            // A stride that shares no factor with the number of classes moves every class.
            let stride =
                (2..<(c + 2)).first { candidate in (2...candidate).allSatisfy { candidate % $0 != 0 || c % $0 != 0 } } ?? 1
            var permuted = batch
            for row in 0..<batch.rows {
                for i in 0..<c {
                    permuted.student[row * c + i * stride % c] = batch.student[row * c + i]
                    permuted.teacher[row * c + i * stride % c] = batch.teacher[row * c + i]
                }
                permuted.labels[row] = Int32(Int(batch.labels[row]) * stride % c)
            }
            let (a, b) = (try batch.evaluate(method), try permuted.evaluate(method))
            #expect(a.terms.count == b.terms.count && a.gradient.count == b.gradient.count)
            for (x, y) in zip(a.terms, b.terms) { #expect(abs(x - y) <= 1e-12 * max(1, abs(x))) }
            for row in 0..<batch.rows {
                for i in 0..<c {
                    #expect(abs(b.gradient[row * c + i * stride % c] - a.gradient[row * c + i]) < 1e-11)
                }
            }
        }
    }

    @Test(arguments: methods) func everyTermsGradientSumsToZero(_ method: Method) throws {
        for batch in Self.batches() {
            for (option, term) in try Self.isolated(method) where option != .lambda1 {
                let gradient = try batch.evaluate(term).gradient
                for row in 0..<batch.rows {
                    let range = (row * batch.classes)..<((row + 1) * batch.classes)
                    let size = gradient[range].reduce(0) { $0 + abs($1) }
                    #expect(abs(gradient[range].reduce(0, +)) <= 1e-12 * max(1, size), "\(option.name)")
                }
            }
        }
    }

    @Test(arguments: methods) func gradientsAreCentralDifferences(_ method: Method) throws {
        var method = method
        // RC's target is the student itself, held constant.
        if method.id == "rc" { try method.set(.correctionWeight, to: 0) }
        for batch in Self.batches() {
            let gradient = try batch.evaluate(method).gradient
            let largest = gradient.map(abs).max() ?? 0
            for i in stride(from: 0, to: gradient.count, by: max(1, gradient.count / 5)) {
                var (up, down) = (batch, batch)
                up.student[i] += 1e-5
                down.student[i] -= 1e-5
                let difference = (try up.evaluate(method).total - down.evaluate(method).total) / 2e-5
                #expect(abs(gradient[i] - difference) <= 1e-6 * max(1, largest), "\(batch.rows)x\(batch.classes)")
            }
        }
    }

    @Test(arguments: methods) func repeatedBatchesHaveTheSameMeans(_ method: Method) throws {
        for batch in Self.batches() {
            var twice = Batch(rows: 2 * batch.rows, classes: batch.classes)
            (twice.student, twice.teacher) = (batch.student + batch.student, batch.teacher + batch.teacher)
            twice.labels = batch.labels + batch.labels
            // MLKD's class and batch alignments are sums over pairs of rows.
            let factors = method.id == "mlkd" ? [1.0, 1, 4, 2] : method.termNames.map { _ in 1.0 }
            let (a, b) = (try batch.evaluate(method), try twice.evaluate(method))
            for k in factors.indices { #expect(abs(b.terms[k] - factors[k] * a.terms[k]) <= 1e-12 * max(1, abs(b.terms[k]))) }
        }
    }

    @Test func maskedClassesGetNoCorrelationGradient() throws {
        var method = RefinedLogitDistillation()
        (method.crossEntropyWeight, method.alpha) = (0, 0)
        for batch in Self.batches() {
            let gradient = try batch.evaluate(.refinedLogitDistillation(method)).gradient
            for at in gradient.indices {
                let row = at / batch.classes
                let bar = batch.teacher[row * batch.classes + Int(batch.labels[row])]
                if batch.teacher[at] >= bar { #expect(gradient[at] == 0) }
            }
        }
    }

    @Test(arguments: [1.0, 4]) func refinedIsDecoupledUnderARightTeacher(_ temperature: Double) throws {
        var refined = RefinedLogitDistillation()
        (refined.temperature, refined.confidenceTemperature) = (temperature, temperature)
        var decoupled = DecoupledKnowledgeDistillation()
        decoupled.temperature = temperature
        for var batch in Self.batches() {
            for row in 0..<batch.rows {
                let range = (row * batch.classes)..<((row + 1) * batch.classes)
                let best = range.max { batch.teacher[$0] < batch.teacher[$1] } ?? 0
                batch.labels[row] = Int32(best - range.lowerBound)
            }
            let a = try batch.evaluate(.refinedLogitDistillation(refined))
            let b = try batch.evaluate(.decoupledKnowledgeDistillation(decoupled))
            #expect(a.terms == b.terms && a.gradient == b.gradient)
        }
    }
}
