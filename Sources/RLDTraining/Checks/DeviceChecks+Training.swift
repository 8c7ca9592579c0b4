import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference

/// What is not a network operation: losses, the gathering of batches, the optimiser, matrix products.
extension DeviceChecks {
    /// One named check of a device.
    package struct Check {
        package let name: String
        package let run: (DeviceEngine) throws -> CheckResult
    }

    /// Methods with every optional path: all terms, both temperatures, standardisation.
    private static let methods: [(name: String, method: Method)] = Method.defaults.flatMap { method in
        let standardized = method.value(of: .standardize) == nil ? nil : method.applyingLSKD()
        return [(method.id, method)] + (standardized.map { [("\(method.id), standardised", $0)] } ?? [])
    }

    package static func trainingChecks(tiny: Bool, engine: DeviceEngine) -> [Check] {
        let losses = methods.flatMap { name, method in
            // Rows of a multiple of four classes and others, of one block and of several.
            let long: [(Int, Int)] =
                tiny
                ? ["ce", "la", "rld", "rld, standardised"].contains(name) ? [(1, 4100)] : []
                : method.id == "mlkd" ? [] : [(2, 5000), (2, 5001)]
            return ((tiny ? [(3, 5), (2, 12)] : [(1, 2), (5, 10), (7, 33), (65, 100), (3, 1000)]) + long).map { rows, classes in
                Check(name: "loss \(name) \(rows)x\(classes)") { engine in
                    try checkLoss("loss \(name) \(rows)x\(classes)", method, rows: rows, classes: classes, engine: engine)
                }
            }
        }
        let blocks = UnfusedLoss.methodIDs.flatMap { id in
            (tiny ? [(3, 5)] : [(1, 2), (7, 33), (3, 1000)]).map { rows, classes in
                Check(name: "building blocks of \(id) \(rows)x\(classes)") { engine in
                    try checkBlocks(
                        "building blocks of \(id) \(rows)x\(classes)", Method.make(id: id).method, rows: rows,
                        classes: classes, engine: engine)
                }
            }
        }
        let (rows, classes) = tiny ? (3, 5) : (7, 33)
        let variants = ["rld", "lr"].flatMap { id in
            ["audit rows", "half storage"].map { what in
                Check(name: "\(what) of \(id) \(rows)x\(classes)") { engine in
                    let method = try Method.make(id: id).method
                    let name = "\(what) of \(id) \(rows)x\(classes)"
                    return what == "audit rows"
                        ? try checkAudit(name, method, rows: rows, classes: classes, engine: engine)
                        : try checkHalf(name, method, rows: rows, classes: classes, engine: engine)
                }
            }
        }
        let yardstick = Check(name: "multiply-adds between registers") { engine in
            let name = "multiply-adds between registers"
            let peak = try ArithmeticPeak(on: engine, rounds: tiny ? 3 : 40, items: tiny ? 3 : nil)
            try peak.enqueue()
            // Every step rounds as the host's does.
            return CheckResult(name: name, worst: try peak.check() / 1e-6, worstTensor: "sums", damagedGuards: 0)
        }
        return losses + blocks + variants + [
            yardstick,
            Check(name: "batch, crop and flip") { try checkStep("batch, crop and flip", tiny: tiny, engine: $0) },
            Check(name: "batches that bring their images") {
                try checkStep("batches that bring their images", tiny: tiny, staged: true, engine: $0)
            },
            Check(name: "AdamW, clipping, accumulation, average, soft targets") { engine in
                try checkStep(
                    "AdamW, clipping, accumulation, average, soft targets", tiny: tiny,
                    rule: UpdateRule(
                        .adamW(AdamW(learningRate: 0.01, epsilon: 1e-3)), clipNorm: 0.1, averageDecay: 0.9, accumulation: 2),
                    smoothing: 0.1, mixing: BatchMixing(share: 0.7), engine: engine)
            },
            Check(name: "scaled crops, colours and pasted boxes") { engine in
                var transform = ImageTransform(
                    mean: [0.3, 0.4, 0.5], deviation: [0.25, 0.3, 0.2], horizontalFlip: true, size: tiny ? 4 : 9, resizedCrop: 0.3
                )
                (transform.brightness, transform.contrast, transform.saturation) = (0.4, 0.3, 0.5)
                return try checkStep(
                    "scaled crops, colours and pasted boxes", tiny: tiny, transform: transform,
                    mixing: BatchMixing(share: 0.75, box: [1, 0, 2, 2]), engine: engine)
            },
        ]
    }

    /// A fused loss against the reference: terms, total, gradient, correctness.
    private static func checkLoss(
        _ name: String, _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
    ) throws -> CheckResult {
        let student = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 31).map { $0 * 8 })
        let teacher = Tensor(shape: [rows, classes], values: random(rows * classes, stream: 32).map { $0 * 8 })
        let labels = (0..<rows).map { Int32(CounterRandom.integer(below: classes, seed: 7, stream: 33, counter: UInt64($0))) }
        let found = try DeviceExecutor(engine: engine).loss(method, student: student, teacher: teacher, labels: labels)
        let expected = try ReferenceExecutor().loss(method, student: student, teacher: teacher, labels: labels)
        var worst = Worst()
        // Terms are means of rows that may cancel at high temperature: the goldens' bound for float32 losses.
        for (a, b) in zip(found.terms, expected.terms) {
            worst.add(abs(a.value - b.value) / (2e-5 * abs(b.value) + 1e-6), b.name)
        }
        worst.add(abs(found.total - expected.total) / (2e-5 * abs(expected.total) + 1e-6), "total")
        // With two classes the terms' gradients (of the order of 1 / rows) cancel each other, standardised ones entirely: what
        // is left is compared with the rounding of what cancels, as the goldens' README asks for.
        let largest = expected.gradient.values.reduce(0) { max($0, abs($1)) }
        let allowed = bound * largest + (classes == 2 ? 2e-6 / Double(rows) : 0)
        worst.add(relativeError(found.gradient.values, expected.gradient.values) * largest / allowed, "gradient")
        if (found.top1, found.top5, found.rows) != (expected.top1, expected.top5, expected.rows) {
            worst.add(.infinity, "counts")
        }
        return CheckResult(name: name, worst: worst.value, worstTensor: worst.tensor, damagedGuards: 0)
    }

    /// Audit rows against the reference's.
    private static func checkAudit(
        _ name: String, _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
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
        if found.audit.count != rows { worst.add(.infinity, "rows") }
        for (a, b) in zip(found.audit, expected.audit) { worst.add(a.error(against: b), "row \(b.row)") }
        return CheckResult(name: name, worst: worst.value, worstTensor: worst.tensor, damagedGuards: 0)
    }

    /// Logits and gradient stored as half, against the reference on the rounded logits.
    private static let halfStorage = LossStorage(student: .float16, teacher: .float16, gradient: .float16)

    private static func checkHalf(
        _ name: String, _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
    ) throws -> CheckResult {
        let batch = try StoredBatch(method, rows: rows, classes: classes, storage: halfStorage, engine: engine) { stream, i in
            random(1, stream: 1000 * stream + UInt64(i))[0] * 8
        }
        let found = try batch.run()
        let expected = try ReferenceExecutor().loss(
            method, student: batch.student, teacher: batch.teacher, labels: batch.labels)
        let largest = expected.gradient.values.reduce(0) { max($0, abs($1)) }
        var worst = Worst()
        for (a, b) in zip(found, expected.gradient.values) {
            // Half has 11 bits, and nothing below 6e-8.
            worst.add(abs(a - b) / (5e-4 * abs(b) + bound * largest + 6e-8), "gradient")
        }
        return CheckResult(name: name, worst: worst.value, worstTensor: worst.tensor, damagedGuards: 0)
    }

    /// A loss composed of softmax, KL divergence, mask and confidence pair against the reference, and a plain softmax.
    private static func checkBlocks(
        _ name: String, _ method: Method, rows: Int, classes: Int, engine: DeviceEngine
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
        for (k, found) in try loss.perRow().enumerated() {
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
        return CheckResult(name: name, worst: worst.value, worstTensor: worst.tensor, damagedGuards: 0)
    }

    /// Two training steps from the uint8 table to the updated weights, on the device and on the reference: gathering, crop,
    /// flip, normalisation, both networks, loss, backward and Nesterov SGD.
    private static func checkStep(
        _ name: String, tiny: Bool,
        rule: UpdateRule = UpdateRule(.sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4, nesterov: true))),
        transform: ImageTransform = ImageTransform(
            mean: [0.3, 0.4, 0.5], deviation: [0.25, 0.3, 0.2], cropPadding: 2, horizontalFlip: true),
        smoothing: Double = 0, mixing: BatchMixing? = nil, staged: Bool = false, engine: DeviceEngine
    ) throws -> CheckResult {
        let (size, count, batch) = tiny ? (5, 6, 3) : (12, 40, 13)
        let table = ImageTable(
            channels: 3, height: size, width: size + 1,
            pixels: (0..<count * 3 * size * (size + 1)).map {
                UInt8(CounterRandom.integer(below: 256, seed: 1, stream: 40, counter: UInt64($0)))
            },
            labels: (0..<count).map { Int32($0 % 4) }, classNames: ["a", "b", "c", "d"])
        func network(_ width: Int) -> Network {
            Network("step\(width)", input: transform.inputShape(of: table)) { net, x in
                var y = net.convolution(x, width, kernel: 3, name: "conv1")
                y = net.relu(net.batchNorm(y, name: "bn1"))
                return net.linear(net.globalAveragePool(y), 4, name: "fc")
            }
        }
        let (student, teacher) = (network(3), network(5))
        func train(_ executor: any NetworkExecutor, staged: Bool = false) throws -> ([NetworkState], StepMetrics) {
            try executor.load(table, as: "table", staged: staged)
            try executor.prepareStudent(student, state: randomState(student))
            try executor.prepareTeacher(teacher, state: randomState(teacher))
            try executor.prepareUpdates(rule)
            for step in 0..<2 * rule.accumulation {
                var selection = BatchSelection(
                    table: "table", indices: (0..<batch).map { ($0 * 7 + step) % count }, transform: transform, seed: 5,
                    epoch: step + 1)
                if staged { selection.pixels = try selection.indices.flatMap { try table.image($0) } }
                selection.labelSmoothing = smoothing
                selection.mixing = mixing
                let (number, part) = (step / rule.accumulation, step % rule.accumulation)
                try executor.trainStep(
                    selection, method: .refinedLogitDistillation(RefinedLogitDistillation()), warmup: 0.5,
                    update: ParameterUpdate(
                        rule, number: number + 1, share: 1 / Double(rule.accumulation), begins: part == 0,
                        ends: part == rule.accumulation - 1))
            }
            let metrics = try executor.takeMetrics()
            let state = try executor.studentState()
            guard rule.averageDecay != nil else { return ([state], metrics) }
            try executor.exchangeWithAverage()
            return ([state, try executor.studentState()], metrics)
        }
        let (found, metrics) = try train(DeviceExecutor(engine: engine), staged: staged)
        let (expected, expectedMetrics) = try train(ReferenceExecutor())
        var worst = Worst()
        for (a, b) in zip(found, expected) {
            for tensor in student.stateTensors {
                worst.add(relativeError(a[tensor.name]?.values ?? [], b[tensor.name]?.values ?? []) / (10 * bound), tensor.name)
            }
        }
        worst.add(relativeError(metrics.termSums, expectedMetrics.termSums) / (10 * bound), "terms")
        if (metrics.rows, metrics.top1) != (expectedMetrics.rows, expectedMetrics.top1) { worst.add(.infinity, "counts") }
        return CheckResult(name: name, worst: worst.value, worstTensor: worst.tensor, damagedGuards: 0)
    }

    /// Writes past the end of a buffer on purpose: a checker that watches the device must complain.
    public static func plantFault(_ device: Device) throws {
        let engine = try DeviceEngine(device)
        let kernel = try engine.programs.kernel("planted_fault.cl", "planted_fault")
        let buffer = try Buffer(engine.context, bytes: 16, label: "planted fault")
        try kernel.setArgument(0, UInt64(4))
        try kernel.setArgument(1, buffer)
        try engine.queue.enqueue(kernel, global: [4])
        try engine.queue.finish()
    }
}

/// The largest of several error-to-bound ratios; a NaN stays.
package struct Worst {
    package private(set) var value = 0.0
    package private(set) var tensor = ""

    package init() {}

    package mutating func add(_ ratio: Double, _ name: String) {
        if !(ratio <= value), !value.isNaN { (value, tensor) = (ratio, name) }
    }
}
