import Foundation
import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference
import TestSupport
import Testing

/// Softmax, KL divergence, mask and confidence pair against plain loops in Double, and KD and RLD composed of them against the
/// reference and against the fused kernels.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd")) struct BuildingBlockTests {
    static let sizes = [(1, 1), (1, 2), (3, 5), (5, 33), (64, 65), (3, 257), (2, 1000)]

    /// Logits of one kind: ordinary, tied, huge, or with excluded classes; one row of each where there are enough.
    private static func logits(_ rows: Int, _ classes: Int, seed: UInt64) -> [Double] {
        var values = FusedLossTests.Batch(rows, classes, seed: seed).student
        for row in 0..<rows {
            for i in 0..<classes {
                let at = row * classes + i
                switch row % 5 {
                case 1: values[at] = (values[at] / 4).rounded()
                case 2: values[at] *= 1e29
                case 3: if (i + row) % 3 == 0, i > 0 { values[at] = -.infinity }
                case 4: values[at] *= 60
                default: break
                }
            }
        }
        return values.map { Double(Float($0)) }
    }

    /// Writes and reads matrices on one engine.
    private struct Desk {
        let engine: DeviceEngine
        func put(_ values: [Double]) throws -> DeviceSlice {
            let slice = try empty(values.count)
            try engine.write(values, to: slice)
            return slice
        }
        func put(_ labels: [Int32]) throws -> DeviceSlice {
            let slice = try empty(labels.count)
            try engine.queue.write(labels, to: slice.buffer)
            return slice
        }
        /// Holds nan until it is written.
        func empty(_ count: Int) throws -> DeviceSlice {
            let slice = DeviceSlice(try engine.makeBuffer(count, label: "block"), count: count)
            try engine.queue.fill(slice.buffer, Float.nan)
            return slice
        }
    }

    /// log softmax(x / T) over the classes that are kept, plainly.
    private static func logSoftmax(_ x: [Double], _ kept: [Bool], _ temperature: Double) -> [Double] {
        let inside = x.indices.filter { kept[$0] && x[$0] > -.infinity }
        let largest = inside.map { x[$0] }.max() ?? 0
        let sum = inside.reduce(0) { $0 + exp((x[$1] - largest) / temperature) }
        return x.indices.map { inside.contains($0) ? (x[$0] - largest) / temperature - log(sum) : -.infinity }
    }

    @Test(arguments: TestDevice.profiles) func softmaxBothWays(_ profile: KernelProfile) throws {
        let desk = Desk(engine: try DeviceEngine(TestDevice.device(), profile: profile))
        for (rows, classes) in Self.sizes {
            let count = rows * classes
            let x = Self.logits(rows, classes, seed: 3)
            let dy = (0..<count).map { Double(Float(sin(Double($0)))) }
            // The last row keeps nothing.
            let kept = (0..<count).map { $0 % 4 != 1 && ($0 / classes < rows - 1 || rows == 1) }
            for (temperature, masked) in [(1.0, false), (4.0, true)] {
                let subset = masked ? try desk.put(kept.map { $0 ? 1.0 : 0.0 }) : nil
                let logits = try desk.put(x)
                var wanted: [Double] = []
                var (backProbabilities, backLogarithms): ([Double], [Double]) = ([], [])
                for row in 0..<rows {
                    let range = (row * classes)..<((row + 1) * classes)
                    let logP = Self.logSoftmax(
                        Array(x[range]), masked ? Array(kept[range]) : Array(repeating: true, count: classes), temperature)
                    let p = logP.map { exp($0) }
                    let d = Array(dy[range])
                    let product = p.indices.reduce(0) { $0 + p[$1] * d[$1] }
                    let sum = p.indices.reduce(0) { $0 + (logP[$1] > -.infinity ? d[$1] : 0) }
                    wanted += logP
                    backProbabilities += p.indices.map { p[$0] * (d[$0] - product) / temperature }
                    backLogarithms += p.indices.map { logP[$0] > -.infinity ? (d[$0] - p[$0] * sum) / temperature : 0 }
                }
                for (output, forward, backward) in [
                    (Softmax.Output.probabilities, wanted.map { exp($0) }, backProbabilities),
                    (.logarithms, wanted, backLogarithms),
                ] {
                    let what = "\(profile) \(output) \(rows)x\(classes) T=\(temperature)"
                    let block = try Softmax(output, classes: classes, on: desk.engine)
                    let (result, gradient) = (try desk.empty(count), try desk.empty(count))
                    try block.forward(rows: rows, logits: logits, subset: subset, temperature: temperature, into: result)
                    expectClose(
                        try desk.engine.read(result), forward, .relative(output == .logarithms ? 1e-6 : 2e-5, absolute: 1e-6),
                        what)
                    let given = try desk.put(dy)
                    try block.backward(rows: rows, result: result, gradient: given, temperature: temperature, into: gradient)
                    let bound = Bound.absolute(1e-6 * (1 + sqrt(Double(classes))))
                    expectClose(try desk.engine.read(gradient), backward, bound, "\(what), backward")
                    try block.backward(
                        rows: rows, result: result, gradient: given, temperature: temperature, into: gradient, accumulate: true)
                    expectClose(
                        try desk.engine.read(gradient), backward.map { 2 * $0 }, .absolute(2e-6 * (1 + sqrt(Double(classes)))),
                        "\(what), accumulated")
                }
            }
        }
        // A fault stays in its row.
        let block = try Softmax(.probabilities, classes: 3, on: desk.engine)
        let result = try desk.empty(9)
        try block.forward(rows: 3, logits: desk.put([0, .nan, 1, 0, 0, 0, 1, .infinity, 2]), into: result)
        let found = try desk.engine.read(result)
        #expect(found[0..<3].allSatisfy(\.isNaN) && found[6...].allSatisfy(\.isNaN))
        #expect(found[3..<6].allSatisfy { abs($0 - 1.0 / 3) < 1e-7 })
        #expect(throws: DeviceError.self) { try block.forward(rows: 4, logits: result, into: result) }
    }

    /// Numbers that would reach past a buffer, trap, or give nothing but infinities.
    @Test func numbersThatCannotBeAreRefused() throws {
        let desk = Desk(engine: try DeviceEngine(TestDevice.device()))
        let block = try Softmax(.probabilities, classes: 3, on: desk.engine)
        let (logits, result) = (try desk.put([1.0, 2, 3]), try desk.empty(3))
        func problem(_ body: () throws -> Void) -> String {
            do { try body() } catch { return (error as? DeviceError)?.message ?? "\(error)" }
            return "none"
        }
        for rows in [-1, Int.max, 1 << 40] {
            #expect(problem { try block.forward(rows: rows, logits: logits, into: result) }.contains("\(rows) rows, expected"))
        }
        for temperature in [0, -1, .nan, .infinity] {
            let found = problem { try block.forward(rows: 1, logits: logits, temperature: temperature, into: result) }
            #expect(found.contains("temperature \(temperature), expected 1e-3 to 1e3"))
        }
        let (beyond, before) = (DeviceSlice(logits.buffer, offset: .max - 1, count: 3), DeviceSlice(logits.buffer, offset: -1))
        for slice in [beyond, before, logits.slice(Int.max, 3)] {
            #expect(problem { try block.forward(rows: 1, logits: slice, into: result) }.hasPrefix("logits: "))
        }
        #expect(problem { try block.forward(rows: 0, logits: logits, into: result) } == "none")
        #expect(problem { try desk.engine.write([1, 2, 3], to: result.slice(0, 2)) }.contains("values to write: 2 elements"))
        #expect(try desk.engine.read(result).allSatisfy(\.isNaN), "nothing was written")
        for count in [-1, Int.max] {
            #expect(problem { _ = try desk.engine.makeBuffer(count, label: "b") }.contains("\(count) elements"))
        }
    }

    @Test(arguments: TestDevice.profiles) func divergenceBothWays(_ profile: KernelProfile) throws {
        let desk = Desk(engine: try DeviceEngine(TestDevice.device(), profile: profile))
        for (rows, classes) in Self.sizes {
            let all = Array(repeating: true, count: classes)
            func logs(_ values: [Double]) -> [Double] {
                (0..<rows).flatMap { row -> [Double] in
                    let first = row * classes
                    return Self.logSoftmax(Array(values[first..<(first + classes)]), all, 4).map { Double(Float($0)) }
                }
            }
            let (p, q) = (logs(Self.logits(rows, classes, seed: 3)), logs(Self.logits(rows, classes, seed: 4)))
            let upstream = (0..<rows).map { Double($0 + 1) / 8 }
            var (wanted, gradient): ([Double], [Double]) = ([], [])
            for row in 0..<rows {
                var sum = 0.0
                for i in (row * classes)..<((row + 1) * classes) {
                    let mass = exp(q[i])
                    if mass > 0 { sum += mass * (q[i] - p[i]) }
                    gradient.append(-16 * upstream[row] * mass)
                }
                wanted.append(16 * sum)
            }
            let block = try KLDivergence(classes: classes, on: desk.engine)
            let (divergence, towardsP) = (try desk.empty(rows), try desk.empty(rows * classes))
            let (logP, logQ) = (try desk.put(p), try desk.put(q))
            try block.forward(rows: rows, logP: logP, logQ: logQ, factor: 16, into: divergence)
            expectClose(
                try desk.engine.read(divergence), wanted, .relative(1e-5, absolute: 2e-5), "\(profile) \(rows)x\(classes)")
            for times in 1...2 {
                try block.backward(
                    rows: rows, logQ: logQ, upstream: desk.put(upstream), factor: 16, into: towardsP, accumulate: times == 2)
                expectClose(
                    try desk.engine.read(towardsP), gradient.map { Double(times) * $0 }, .ofMax(1e-6, relative: 2e-5),
                    "\(profile) \(rows)x\(classes), backward")
            }
        }
    }

    @Test(arguments: TestDevice.profiles) func maskKeepsWhatIsBelowTheLabel(_ profile: KernelProfile) throws {
        let desk = Desk(engine: try DeviceEngine(TestDevice.device(), profile: profile))
        for (rows, classes) in Self.sizes {
            let teacher = Self.logits(rows, classes, seed: 5)
            // Row 2's label is nobody's.
            let labels = (0..<rows).map { Int32($0 == 2 ? -100 : ($0 * 7) % classes) }
            let block = try RLDMask(classes: classes, on: desk.engine)
            let (mask, counts) = (try desk.empty(rows * classes), try desk.empty(rows))
            try block.forward(rows: rows, teacher: desk.put(teacher), labels: desk.put(labels), into: mask, counts: counts)
            let wanted = (0..<(rows * classes)).map { at -> Double in
                let label = Int(labels[at / classes])
                return label >= 0 && teacher[at] < teacher[at / classes * classes + label] ? 1 : 0
            }
            #expect(try desk.engine.read(mask) == wanted, "\(profile) \(rows)x\(classes)")
            let found = try desk.engine.queue.read(Int32.self, from: counts.buffer, count: rows).map(Int.init)
            #expect(found == (0..<rows).map { Int(wanted[($0 * classes)..<(($0 + 1) * classes)].reduce(0, +)) })
        }
    }

    @Test(arguments: TestDevice.profiles) func confidencePairs(_ profile: KernelProfile) throws {
        let desk = Desk(engine: try DeviceEngine(TestDevice.device(), profile: profile))
        for (rows, classes) in Self.sizes {
            let (s, t) = (Self.logits(rows, classes, seed: 6), Self.logits(rows, classes, seed: 7))
            // Labels that the student does not exclude.
            let labels = (0..<rows).map { row -> Int32 in
                let usable = (0..<classes).filter { s[row * classes + $0] > -.infinity }
                return Int32(usable[row % usable.count])
            }
            for (teacherClass, temperature) in [(RLDConfidence.TeacherClass.top, 1.0), (.top, 3), (.label, 4)] {
                let what = "\(profile) \(teacherClass) \(rows)x\(classes) a=\(temperature)"
                let method: Method
                if teacherClass == .top {
                    var m = RefinedLogitDistillation()
                    (m.crossEntropyWeight, m.beta, m.confidenceTemperature) = (0, 0, temperature)
                    method = .refinedLogitDistillation(m)
                } else {
                    var m = DecoupledKnowledgeDistillation()
                    (m.crossEntropyWeight, m.beta, m.temperature) = (0, 0, temperature)
                    method = .decoupledKnowledgeDistillation(m)
                }
                let wanted = try ReferenceLoss.evaluate(method, student: s, teacher: t, labels: labels, classes: classes)
                let block = try RLDConfidence(teacherClass, classes: classes, on: desk.engine)
                let (pairs, divergence, gradient) = (
                    try desk.empty(4 * rows), try desk.empty(rows), try desk.empty(rows * classes)
                )
                let (student, y) = (try desk.put(s), try desk.put(labels))
                try block.forward(
                    rows: rows, student: student, teacher: desk.put(t), labels: y, temperature: temperature, pairs: pairs,
                    divergence: divergence)
                expectClose(try desk.engine.read(divergence), wanted.perRow[1], .relative(2e-5, absolute: 1e-6), what)
                let upstream = try desk.put(Array(repeating: 1 / Double(rows), count: rows))
                for times in 1...2 {
                    try block.backward(
                        rows: rows, student: student, labels: y, pairs: pairs, upstream: upstream, temperature: temperature,
                        into: gradient, accumulate: times == 2)
                    expectClose(
                        try desk.engine.read(gradient), wanted.gradient.map { Double(times) * $0 },
                        .ofMax(2e-6, relative: 1e-5), "\(what), backward")
                }
            }
        }
    }

    @Test(arguments: TestDevice.profiles, UnfusedLoss.methodIDs)
    func fusedKernelsGiveWhatTheirPartsGive(_ profile: KernelProfile, _ id: String) throws {
        let desk = Desk(engine: try DeviceEngine(TestDevice.device(), profile: profile))
        let method = try Method.make(id: id).method
        for (rows, classes) in Self.sizes + [(8, 10)] {
            let what = "\(profile) \(id) \(rows)x\(classes)"
            let batch = FusedLossTests.Batch(rows, classes)
            let device = try LossDevice(desk.engine, method, rows: rows, classes: classes)
            let fused = try device.run(
                method, student: batch.student, teacher: batch.teacher, labels: batch.labels, warmup: 0.5)
            let unfused = try UnfusedLoss(method, rows: rows, classes: classes, on: desk.engine)
            let gradient = try desk.empty(rows * classes)
            try unfused.enqueue(
                warmup: 0.5, student: desk.put(batch.student), teacher: desk.put(batch.teacher), labels: desk.put(batch.labels),
                gradient: gradient)
            for (k, values) in try unfused.perRow().enumerated() {
                expectClose(
                    fused.perRow[k].map(Double.init), values, .relative(2e-5, absolute: 2e-6), "\(what): \(method.termNames[k])")
            }
            expectClose(fused.gradient.map(Double.init), try desk.engine.read(gradient), .ofMax(2e-6, relative: 1e-5), what)
        }
        #expect(throws: (any Error).self) { try UnfusedLoss(method.applyingLSKD(), rows: 1, classes: 2, on: desk.engine) }
    }
}
