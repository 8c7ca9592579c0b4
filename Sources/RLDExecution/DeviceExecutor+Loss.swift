import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Losses on stored logits.
extension DeviceExecutor {
    /// A batch that exceeds the device's memory goes through it in parts, whose means are then weighed; not so for a method that
    /// needs the whole batch.
    public func loss(
        _ method: Method, student: Tensor, teacher: Tensor?, labels: [Int32], settings: LossSettings
    ) throws -> LossReport {
        try LossInputs.check(method, student: student, teacher: teacher, labels: labels, settings: settings, float32: true)
        let (rows, classes) = (student.shape[0], student.shape[1])
        let part = try rowsOfPart(method, rows: rows, classes: classes)
        let buffers = try StoredLogits(method, rows: part, classes: classes, weighted: settings.rowWeights != nil, engine: engine)
        let loss = try FusedLoss(
            method, rows: part, classes: classes, programs: engine.programs, profile: engine.profile,
            ignoring: settings.ignoreLabel, audit: settings.audit, products: engine.products)
        let accumulator = try LossAccumulator(on: engine.queue, context: engine.context)

        // Means take no more than their ratios, which float32 holds.
        let largest = settings.rowWeights?.max() ?? 0
        let rowWeights = settings.rowWeights.map { $0.map { largest > 0 ? $0 / largest : 0 } }
        let weights = labels.indices.map { labels[$0] == settings.ignoreLabel ? 0 : rowWeights?[$0] ?? 1 }
        let wholeWeight = weights.reduce(0, +)
        var report = LossReport(
            terms: method.termNames.map { ($0, 0) }, total: 0, gradient: Tensor(shape: student.shape, repeating: 0), top1: 0,
            top5: 0, rows: 0)
        for start in stride(from: 0, to: rows, by: part) {
            let range = start..<min(start + part, rows)
            let elements = (range.lowerBound * classes)..<(range.upperBound * classes)
            let share = rows == part ? 1 : wholeWeight > 0 ? weights[range].reduce(0, +) / wholeWeight : 0
            try engine.write(Array(student.values[elements]), to: buffers.student)
            if let slice = buffers.teacher, let teacher { try engine.write(Array(teacher.values[elements]), to: slice) }
            if let slice = buffers.weights, let rowWeights { try engine.write(Array(rowWeights[range]), to: slice) }
            try engine.queue.write(Array(labels[range]), to: buffers.labels.buffer)
            try accumulator.reset(on: engine.queue)
            try loss.enqueue(
                method, rows: range.count, warmup: settings.warmup, scale: settings.scale * share, student: buffers.student,
                teacher: buffers.teacher, labels: buffers.labels, rowWeights: buffers.weights, gradient: buffers.gradient,
                into: accumulator, on: engine.queue)
            let totals = try accumulator.read(method, on: engine.queue)
            // The host has looked at all logits and labels: what is left is a loss that is infinite.
            if totals.faults.subtracting(.loss) != [], let row = totals.firstFaultyRow {
                throw InputError("row \(start + row)", totals.faults.description)
            }
            report.gradient.values.replaceSubrange(
                elements, with: try engine.read(buffers.gradient.slice(0, range.count * classes)))
            report.audit += try loss.auditRows(method, labels: Array(labels[range]), firstRow: start, on: engine.queue)
            add(totals.metrics, share: share, to: &report)
        }
        return report
    }

    private func add(_ part: StepMetrics, share: Double, to report: inout LossReport) {
        let counted = Double(max(part.rows, 1))
        if share > 0 {
            for k in report.terms.indices { report.terms[k].value += share * part.termSums[k] / counted }
            report.total += share * part.totalSum / counted
        }
        report.rows += part.rows
        report.top1 += part.top1
        report.top5 += part.top5
    }

    /// How many rows go through the device at a time: all, if they fit.
    private func rowsOfPart(_ method: Method, rows: Int, classes: Int) throws(InputError) -> Int {
        // Matrices of rows x classes: logits and gradient; a quarter of the memory is left to the rest.
        var (matrices, largest, mostRows) = (method.needsTeacher ? 3 : 2, 1, Int.max)
        if case .multiLevelLogitDistillation = method {
            // Sums and differences in one buffer, their gradient, and all products of two rows.
            (matrices, largest) = (matrices + 3, 2)
            mostRows = Int(Double(engine.allocationLimit / 16).squareRoot())
        }
        let fit = min(
            engine.allocationLimit / (4 * classes * largest), engine.memoryLimit / 4 * 3 / (4 * classes * matrices), mostRows)
        if fit >= rows { return rows }
        let subject = "\(rows) x \(classes) logits"
        guard fit > 0, !method.needsWholeBatch else {
            throw InputError(
                subject, "do not fit into the memory of \(engine.device.name)",
                advice: fit > 0
                    ? "method '\(method.id)' needs the whole batch at once: give at most \(fit) rows, or compute with the reference"
                    : "compute with the reference")
        }
        return fit
    }
}

/// Device buffers of a batch of logits.
private struct StoredLogits {
    let student: DeviceSlice
    let teacher: DeviceSlice?
    let labels: DeviceSlice
    let weights: DeviceSlice?
    let gradient: DeviceSlice

    init(_ method: Method, rows: Int, classes: Int, weighted: Bool, engine: DeviceEngine) throws(DeviceError) {
        student = DeviceSlice(try engine.makeBuffer(rows * classes, label: "student logits"))
        teacher = method.needsTeacher ? DeviceSlice(try engine.makeBuffer(rows * classes, label: "teacher logits")) : nil
        gradient = DeviceSlice(try engine.makeBuffer(rows * classes, label: "student gradient"))
        labels = DeviceSlice(try engine.makeBuffer(rows, label: "labels"))
        weights = weighted ? DeviceSlice(try engine.makeBuffer(rows, label: "row weights")) : nil
    }
}
