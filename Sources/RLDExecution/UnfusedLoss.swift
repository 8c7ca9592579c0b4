import OpenCLRuntime
import RLDGraph
import RLDMethods

/// KD and RLD composed of the building blocks, every intermediate written to memory: what the fused kernels are tested and
/// benchmarked against. Plain batches only: no standardisation, no ignored rows, no row weights.
package final class UnfusedLoss {
    /// Ids of the methods that are composed here.
    package static let methodIDs = ["kd", "rld"]

    private let method: Method
    private let rows: Int
    private let crossEntropy: FusedLoss
    private let softmax: Softmax
    private let divergence: KLDivergence
    private let mask: RLDMask
    private let confidence: RLDConfidence
    private let logP: DeviceSlice
    private let logQ: DeviceSlice
    private let towardsLogP: DeviceSlice
    private let kept: DeviceSlice
    private let keptCounts: DeviceSlice
    private let pairs: DeviceSlice
    private let upstream: DeviceSlice
    /// [rows] each, in the order of the method's terms after cross-entropy.
    private let terms: [DeviceSlice]
    private let engine: DeviceEngine

    /// - Throws: `InputError` for a method that is not composed here or that standardises; `.outOfMemory`.
    package init(_ method: Method, rows: Int, classes: Int, on engine: DeviceEngine) throws {
        guard Self.methodIDs.contains(method.id), method.value(of: .standardize) == 0 else {
            throw InputError(
                "method '\(method.id)'", "is not composed of building blocks", advice: "kd and rld are, without standardisation")
        }
        (self.method, self.rows, self.engine) = (method, rows, engine)
        crossEntropy = try FusedLoss(
            .crossEntropy(CrossEntropy()), rows: rows, classes: classes, programs: engine.programs, profile: engine.profile)
        softmax = try Softmax(.logarithms, classes: classes, on: engine)
        divergence = try KLDivergence(classes: classes, on: engine)
        mask = try RLDMask(classes: classes, on: engine)
        confidence = try RLDConfidence(classes: classes, on: engine)
        func matrix(_ label: String) throws(DeviceError) -> DeviceSlice {
            DeviceSlice(try engine.makeBuffer(rows * classes, label: label))
        }
        func column(_ label: String, _ count: Int = 1) throws(DeviceError) -> DeviceSlice {
            DeviceSlice(try engine.makeBuffer(count * rows, label: label))
        }
        (logP, logQ, towardsLogP) = (try matrix("log p"), try matrix("log q"), try matrix("gradient of log p"))
        kept = method.id == "rld" ? try matrix("mask") : logP
        keptCounts = try column("kept classes")
        pairs = try column("confidence pairs", 4)
        upstream = try column("upstream")
        terms = try method.termNames.dropFirst().map { try column($0) }
        try engine.queue.fill(upstream.buffer, Float(1 / Double(rows)))
    }

    /// Enqueues terms and gradient of one batch; returns at once.
    /// - Parameters: as `FusedLoss.enqueue`, all rows counting the same.
    package func enqueue(
        warmup: Double = 1, student: DeviceSlice, teacher: DeviceSlice, labels: DeviceSlice, gradient: DeviceSlice
    ) throws(DeviceError) {
        let weights = method.termWeights(warmup: warmup)
        try crossEntropy.enqueue(
            .crossEntropy(CrossEntropy(weight: weights[0])), student: student, teacher: nil, labels: labels, gradient: gradient,
            into: nil, on: engine.queue)
        switch method {
        case .knowledgeDistillation(let m):
            try compare(student, teacher, subset: nil, m.temperature, weights[1], terms[0], gradient)
        case .refinedLogitDistillation(let m):
            try confidence.forward(
                rows: rows, student: student, teacher: teacher, labels: labels, temperature: m.confidenceTemperature,
                pairs: pairs,
                divergence: terms[0])
            try confidence.backward(
                rows: rows, student: student, labels: labels, pairs: pairs, upstream: upstream,
                temperature: m.confidenceTemperature, factor: weights[1], into: gradient, accumulate: true)
            try mask.forward(rows: rows, teacher: teacher, labels: labels, into: kept, counts: keptCounts)
            try compare(student, teacher, subset: kept, m.temperature, weights[2], terms[1], gradient)
        default: break
        }
    }

    /// T^2 KL of the softmaxes over a subset, its gradient added.
    private func compare(
        _ student: DeviceSlice, _ teacher: DeviceSlice, subset: DeviceSlice?, _ temperature: Double, _ weight: Double,
        _ term: DeviceSlice, _ gradient: DeviceSlice
    ) throws(DeviceError) {
        let factor = temperature * temperature
        try softmax.forward(rows: rows, logits: student, subset: subset, temperature: temperature, into: logP)
        try softmax.forward(rows: rows, logits: teacher, subset: subset, temperature: temperature, into: logQ)
        try divergence.forward(rows: rows, logP: logP, logQ: logQ, factor: factor, into: term)
        try divergence.backward(rows: rows, logQ: logQ, upstream: upstream, factor: weight * factor, into: towardsLogP)
        try softmax.backward(
            rows: rows, result: logP, gradient: towardsLogP, temperature: temperature, into: gradient, accumulate: true)
    }

    /// The last call's terms per row, unweighted, waiting for it. - Returns: per term, per row.
    package func perRow() throws -> [[Double]] {
        try crossEntropy.perRow(on: engine.queue).map { $0.map(Double.init) } + terms.map { try engine.read($0) }
    }
}
