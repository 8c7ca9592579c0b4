import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference

/// Losses on stored logits: fused, composed of building blocks, with audit rows, stored as half.
extension DeviceChecks {
    /// Methods with every optional path: all terms, both temperatures, standardisation.
    private static let methods: [(name: String, method: Method)] = Method.defaults.flatMap { method in
        let standardized = method.value(of: .standardize) == nil ? nil : method.applyingLSKD()
        return [(method.id, method)] + (standardized.map { [("\(method.id), standardised", $0)] } ?? [])
    }

    static func lossChecks(tiny: Bool) -> [Check] {
        fusedChecks(tiny: tiny) + edgeChecks(tiny: tiny) + blockChecks(tiny: tiny) + variantChecks(tiny: tiny)
    }

    private static func fusedChecks(tiny: Bool) -> [Check] {
        methods.flatMap { name, method in
            // Rows of a multiple of four classes and others, of one block and of several.
            let long: [(Int, Int)] =
                tiny
                ? ["ce", "la", "rld", "rld, standardised"].contains(name) ? [(1, 4100)] : []
                : method.comparesRows ? [] : [(2, 5000), (2, 5001)]
            // And so many rows that a work-group of a cpu has several.
            let short = tiny ? [(3, 5), (2, 12), (37, 6)] : [(1, 2), (5, 10), (7, 33), (65, 100), (3, 1000)]
            return (short + long).map { rows, classes in
                Check(name: "loss \(name) \(rows)x\(classes)") {
                    try checkLoss(method, rows: rows, classes: classes, engine: $0)
                }
            }
        }
    }

    private static func edgeChecks(tiny: Bool) -> [Check] {
        methods.filter { name, method in !tiny || name == method.id }.map { name, method in
            Check(name: "excluded classes and faults of \(name) 4x9") { try checkEdges(method, engine: $0) }
        }
    }

    private static func blockChecks(tiny: Bool) -> [Check] {
        UnfusedLoss.methodIDs.flatMap { id in
            (tiny ? [(3, 5)] : [(1, 2), (7, 33), (3, 1000)]).map { rows, classes in
                Check(name: "building blocks of \(id) \(rows)x\(classes)") {
                    try checkBlocks(Method.make(id: id).method, rows: rows, classes: classes, engine: $0)
                }
            }
        }
    }

    private static func variantChecks(tiny: Bool) -> [Check] {
        let (rows, classes) = tiny ? (3, 5) : (7, 33)
        return ["rld", "lr"].flatMap { id in
            [
                Check(name: "audit rows of \(id) \(rows)x\(classes)") {
                    try checkAudit(Method.make(id: id).method, rows: rows, classes: classes, engine: $0)
                },
                Check(name: "half storage of \(id) \(rows)x\(classes)") {
                    try checkHalf(Method.make(id: id).method, rows: rows, classes: classes, engine: $0)
                },
            ]
        }
    }

    /// A fused loss against the reference: terms, total, gradient, correctness.
    private static func checkLoss(
        _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
    ) throws -> CheckResult {
        let student = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 31).map { $0 * 8 })
        let teacher = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 32).map { $0 * 8 })
        let labels = (0..<rows).map { Int32(CounterRandom.integer(below: classes, seed: 7, stream: 33, counter: UInt64($0))) }
        return CheckResult(try compare(method, student: student, teacher: teacher, labels: labels, engine: engine))
    }

    private static func compare(
        _ method: Method, student: Tensor, teacher: Tensor, labels: [Int32], engine: DeviceEngine
    ) throws -> Worst {
        let (rows, classes) = (student.shape[0], student.shape[1])
        let found = try DeviceExecutor(engine: engine).loss(method, student: student, teacher: teacher, labels: labels)
        let expected = try ReferenceExecutor().loss(method, student: student, teacher: teacher, labels: labels)
        var worst = Worst()
        // Terms are means of rows that may cancel at high temperature: hence an absolute part.
        worst.addCounts(found.terms.count, expected.terms.count, "terms")
        for (a, b) in zip(found.terms, expected.terms) {
            worst.add(abs(a.value - b.value) / (2e-5 * abs(b.value) + 1e-6), b.name)
        }
        worst.add(abs(found.total - expected.total) / (2e-5 * abs(expected.total) + 1e-6), "total")
        // With two classes the terms' gradients (of the order of 1 / rows) cancel each other, standardised ones entirely: what
        // is left is compared with the rounding of what cancels.
        let largest = expected.gradient.values.reduce(0) { max($0, abs($1)) }
        let allowed = bound * largest + (classes == 2 ? 2e-6 / Double(rows) : 0)
        worst.add(relativeError(found.gradient.values, expected.gradient.values) * largest / allowed, "gradient")
        if (found.top1, found.top5, found.rows) != (expected.top1, expected.top5, expected.rows) {
            worst.add(.infinity, "counts")
        }
        return worst
    }

    /// Rows with an excluded class against the reference, and every fault with its row: what a driver gets wrong that takes
    /// infinity and nan for numbers that do not occur.
    private static func checkEdges(_ method: Method, engine: DeviceEngine) throws -> CheckResult {
        let (rows, classes) = (4, 9)
        let labels: [Int32] = [0, 3, 8, 5]
        var student = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 31).map { $0 * 8 })
        var teacher = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 32).map { $0 * 8 })
        let whole = (student, teacher)
        for row in 0..<rows {
            let place = row * classes + (Int(labels[row]) + 4) % classes
            (student.values[place], teacher.values[place]) = (-.infinity, -.infinity)
        }
        var worst = try compare(method, student: student, teacher: teacher, labels: labels, engine: engine)
        let batch = try FaultBatch(method, rows: rows, classes: classes, engine: engine)
        func expect(_ fault: LossFault, _ row: Int, _ change: (inout Tensor, inout Tensor, inout [Int32]) -> Void) throws {
            var (student, teacher, labels) = (whole.0, whole.1, labels)
            change(&student, &teacher, &labels)
            let found = try batch.run(student: student, teacher: teacher, labels: labels)
            if found.faults != fault || found.faultyRows != 1 || found.firstFaultyRow != row {
                worst.add(.infinity, "fault \(fault)")
            }
        }
        try expect(.student, 3) { student, _, _ in student.values[3 * classes + 8] = .nan }
        try expect(.student, 0) { student, _, _ in student.values[2] = .infinity }
        try expect(.label, 2) { _, _, labels in labels[2] = 9 }
        // The teacher is right, and the student excludes the label.
        try expect(.loss, 1) { student, teacher, _ in
            (student.values[1 * classes + 3], teacher.values[1 * classes + 3]) = (-.infinity, 50)
        }
        if method.needsTeacher {
            try expect(.teacher, 1) { _, teacher, _ in teacher.values[1 * classes + 4] = .nan }
            try expect(.teacher, 2) { _, teacher, _ in for i in 0..<classes { teacher.values[2 * classes + i] = -.infinity } }
        }
        return CheckResult(worst)
    }

    /// Audit rows against the reference's.
    private static func checkAudit(
        _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
    ) throws -> CheckResult {
        let student = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 31).map { $0 * 8 })
        let teacher = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 32).map { $0 * 8 })
        let labels = (0..<rows).map { Int32($0 * 3 % classes) }
        var settings = LossSettings()
        settings.audit = true
        let found = try DeviceExecutor(engine: engine).loss(
            method, student: student, teacher: teacher, labels: labels, settings: settings)
        let expected = try ReferenceExecutor().loss(
            method, student: student, teacher: teacher, labels: labels, settings: settings)
        var worst = Worst()
        worst.addCounts(found.audit.count, rows, "audit rows")
        worst.addCounts(expected.audit.count, rows, "audit rows of the reference")
        for (a, b) in zip(found.audit, expected.audit) { worst.add(a.error(against: b), "row \(b.row)") }
        return CheckResult(worst)
    }

    private static let halfStorage = LossStorage(student: .float16, teacher: .float16, gradient: .float16)

    /// Logits and gradient stored as half, against the reference on the rounded logits.
    private static func checkHalf(
        _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
    ) throws -> CheckResult {
        let batch = try StoredBatch(method, rows: rows, classes: classes, storage: halfStorage, engine: engine) { stream, i in
            random(1, stream: 1000 * stream + UInt64(i))[0] * 8
        }
        let found = try batch.run()
        let expected = try ReferenceExecutor().loss(
            method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        let largest = expected.gradient.values.reduce(0) { max($0, abs($1)) }
        var worst = Worst()
        worst.addCounts(found.count, expected.gradient.values.count, "gradient")
        for (a, b) in zip(found, expected.gradient.values) {
            // Half has 11 bits, and nothing below 6e-8.
            worst.add(abs(a - b) / (5e-4 * abs(b) + bound * largest + 6e-8), "gradient")
        }
        return CheckResult(worst)
    }

    /// A loss composed of softmax, KL divergence, mask and confidence pair against the reference, and a plain softmax.
    private static func checkBlocks(
        _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
    ) throws -> CheckResult {
        let student = random(rows * classes, stream: 31).map { $0 * 8 }
        let teacher = random(rows * classes, stream: 32).map { $0 * 8 }
        let labels = (0..<rows).map { Int32(CounterRandom.integer(below: classes, seed: 7, stream: 33, counter: UInt64($0))) }
        func matrix(_ values: [Double]) throws -> DeviceSlice {
            let slice = DeviceSlice(try engine.makeBuffer(rows * classes, label: "block"), count: rows * classes)
            try engine.write(values, to: slice)
            return slice
        }
        let (s, t, gradient) = (try matrix(student), try matrix(teacher), try matrix(student))
        let y = DeviceSlice(try engine.makeBuffer(rows, label: "labels"), count: rows)
        try engine.queue.write(labels, to: y.buffer)
        let loss = try UnfusedLoss(method, rows: rows, classes: classes, on: engine)
        try loss.enqueue(warmup: 0.5, student: s, teacher: t, labels: y, gradient: gradient)
        let expected = try ReferenceLoss.evaluate(
            method, student: student, teacher: teacher, labels: labels, classes: classes, warmup: 0.5)
        var worst = Worst()
        let perRow = try loss.perRow()
        worst.addCounts(perRow.count, expected.perRow.count, "terms")
        for (k, found) in perRow.enumerated() where k < expected.perRow.count {
            worst.addCounts(found.count, expected.perRow[k].count, method.termNames[k])
            for (a, b) in zip(found, expected.perRow[k]) { worst.add(abs(a - b) / (2e-5 * abs(b) + 2e-6), method.termNames[k]) }
        }
        worst.add(relativeError(try engine.read(gradient), expected.gradient) / bound, "gradient")
        // Softmax and its own gradient, whose sum over a row is 0.
        let softmax = try Softmax(.probabilities, classes: classes, on: engine)
        try softmax.forward(rows: rows, logits: s, into: gradient)
        let sums = try engine.read(gradient)
        for row in 0..<rows {
            worst.add(abs(sums[(row * classes)..<((row + 1) * classes)].reduce(0, +) - 1) / bound, "softmax")
        }
        let back = try matrix(student)
        try softmax.backward(rows: rows, result: gradient, gradient: t, into: back)
        let towards = try engine.read(back)
        for row in 0..<rows {
            worst.add(abs(towards[(row * classes)..<((row + 1) * classes)].reduce(0, +)) / bound, "softmax, backward")
        }
        return CheckResult(worst)
    }
}
