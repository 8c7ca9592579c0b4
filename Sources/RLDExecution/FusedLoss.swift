import OpenCLRuntime
import RLDMethods

/// A method's loss on the device, prepared once for a method, a number of classes and a largest batch. One launch computes the
/// terms of every row, d total / d student and correctness; a second, tiny one adds them to an accumulator (a small batch on a cpu
/// needs no second one). Rows that take another arithmetic (nan, excluded classes of a standardised row, a subset that lies far below
/// the rest of its row ...) are recomputed by one work-item, slowly: they are rare.
///
/// Formulas and limits are `ReferenceLoss`'s, in float32: |logit| <= 1e30 gives finite results. Everything is summed in a fixed
/// order, so that a rerun is bit-equal. Nothing is allocated after `init`, but for `enqueue` without a gradient the first time.
package final class FusedLoss {
    /// The method's id: its weights, temperatures and flags are arguments of `enqueue`.
    package let methodID: String
    package let classes: Int
    /// Largest number of rows of one call.
    package let capacity: Int
    /// Rows with this label have no loss and no gradient; nil: every row counts.
    package let ignoreLabel: Int32?

    private let rowKernel: LossRowKernel
    /// Up to so many rows a work-item of the row kernel adds them up at its end, where it can: faster than another launch.
    private static let fewRows = 1024
    private let reduceKernel: Kernel
    private let rowScale: LossRowScale
    /// `mlkd` only.
    private let alignment: MultiLevelAlignment?
    private let programs: ProgramCache
    private let reduceSize: Int
    private let terms: Int
    /// [terms, capacity]; the last call's terms per row, [terms, rows], lie at its beginning.
    private let termRows: Buffer
    private let rowStatus: Buffer
    private var unusedGradient: Buffer?
    private let storage: LossStorage
    /// [capacity, AuditRecord.words] float32, if audit rows are wanted.
    private let audit: Buffer?

    /// - Parameters:
    ///   - localSize: work-items per row of the gpu profile; chosen by the number of classes if nil.
    ///   - ignoreLabel: costs one more tiny launch per call, which counts the rows that remain.
    ///   - storage: how student, teacher and gradient are stored; `mlkd` takes float32 only.
    ///   - audit: whether the launch also fills what `auditRows` reads; a program of its own, so that a loss without it pays nothing.
    ///   - products: the device's matrix products, which `mlkd` needs.
    ///   - constants: of the row kernels, in place of those that fit the device: a test of what another device would get.
    /// - Throws: `.buildFailed`, `.outOfMemory`; `.shapeMismatch` for sizes below 1.
    package init(
        _ method: Method, rows capacity: Int, classes: Int, programs: ProgramCache, profile: KernelProfile,
        localSize: Int? = nil, ignoring ignoreLabel: Int32? = nil, storage: LossStorage = LossStorage(), audit: Bool = false,
        products: MatrixProducts? = nil, constants: [(String, String)] = []
    ) throws(DeviceError) {
        guard capacity > 0, classes > 0, capacity < 1 << 31, classes < 1 << 24 else {
            throw DeviceError(.shapeMismatch, "a loss over \(capacity) rows of \(classes) classes")
        }
        let context = programs.context
        methodID = method.id
        self.programs = programs
        self.classes = classes
        self.capacity = capacity
        self.ignoreLabel = ignoreLabel
        terms = method.termNames.count
        self.storage = storage
        let variant = storage.defines + (audit ? [("LOSS_AUDIT", "1")] : []) + constants
        self.audit = audit ? try Buffer(context, bytes: 4 * AuditRecord.words * capacity, label: "audit rows") : nil
        rowKernel = try LossRowKernel(
            method, classes: classes, programs: programs, profile: profile, localSize: localSize, variant: variant)
        reduceSize = try programs.lossBatchItems()
        reduceKernel = try programs.lossBatchKernel("loss_reduce_rows")
        termRows = try Buffer(context, bytes: 4 * terms * capacity, label: "loss terms per row")
        rowStatus = try Buffer(context, bytes: 4 * capacity, label: "loss row status")
        rowScale = try LossRowScale(
            method, rows: capacity, classes: classes, programs: programs, profile: profile, localSize: rowKernel.layout.items,
            reduceSize: reduceSize, ignoring: ignoreLabel, variant: variant)
        if case .multiLevelLogitDistillation = method {
            guard storage == LossStorage() else { throw DeviceError(.shapeMismatch, "method 'mlkd' takes float32 logits") }
            guard let products else { throw DeviceError(.shapeMismatch, "a loss of method 'mlkd' without matrix products") }
            alignment = try MultiLevelAlignment(
                rows: capacity, classes: classes, programs: programs, profile: profile, localSize: rowKernel.layout.items,
                medianSize: reduceSize, products: products)
        } else {
            alignment = nil
        }
    }

    /// Enqueues the loss; returns at once.
    /// - Parameters:
    ///   - method: one that validates, of the id that this was prepared for.
    ///   - rows: at most `capacity`, which is the default.
    ///   - scale: upstream factor of the gradient; the sums are not multiplied by it.
    ///   - student, teacher: [rows, classes] float32, row-major; the teacher is needed if `method.needsTeacher`.
    ///   - labels: [rows] int32.
    ///   - rowWeights: [rows] float32, finite and at least 0 (not checked): every mean becomes sum(weight * value) / sum(weight).
    ///     Costs one more tiny launch. Nil: every row counts the same.
    ///   - gradient: d (scale * total) / d student, [rows, classes], overwritten; must not overlap an input. Nil: not wanted.
    ///   - softTargets: corrects the cross-entropy, one more tiny launch; methods without one leave it out. Not together with row
    ///     weights or an ignored label.
    ///   - accumulator: gets terms, total and counts of this batch added; nil: not wanted.
    /// - Throws: `.shapeMismatch` if a slice is too short or the method is another; `.launchFailed`.
    package func enqueue(
        _ method: Method, rows: Int? = nil, warmup: Double = 1, scale: Double = 1, student: DeviceSlice, teacher: DeviceSlice?,
        labels: DeviceSlice, rowWeights: DeviceSlice? = nil, gradient: DeviceSlice?, softTargets: SoftTargets? = nil,
        into accumulator: LossAccumulator?, on queue: CommandQueue
    ) throws(DeviceError) {
        let rows = rows ?? capacity
        let gradient = if let gradient { gradient } else { try scratchGradient() }
        try check(method, rows, student, method.needsTeacher ? teacher : student, labels, rowWeights, gradient)
        guard rows > 0 else { return }
        let mode = try rowScale.enqueue(rows: rows, teacher: teacher, labels: labels, weights: rowWeights, on: queue)
        if let alignment, let teacher {
            try alignment.enqueueMedians(
                rows: rows, student: student, teacher: teacher, labels: labels, rowScale: DeviceSlice(rowScale.buffer),
                mode: mode,
                ignoring: ignoreLabel, on: queue)
        }

        // A method without a teacher does not read it.
        let other = method.needsTeacher ? teacher ?? student : student
        let kernel = try rowKernel.prepared(for: method, offsets: student.offset, other.offset, gradient.offset)
        let finishes = rowKernel.layout.finishes && rows <= Self.fewRows && mode.isEmpty && softTargets == nil
        var next = 0
        func value<T: BitwiseCopyable>(_ value: T) throws(DeviceError) {
            try kernel.setArgument(next, value)
            next += 1
        }
        func slice(_ buffer: Buffer, _ offset: Int) throws(DeviceError) {
            try kernel.setArgument(next, buffer)
            next += 1
            try value(UInt64(offset))
        }
        try value(UInt32(rows))
        try value(UInt32(classes))
        try slice(student.buffer, student.offset)
        try slice(other.buffer, other.offset)
        try slice(labels.buffer, labels.offset)
        try slice(rowScale.buffer, 0)
        try slice(gradient.buffer, gradient.offset)
        try slice(termRows, 0)
        try slice(rowStatus, 0)
        try value(ignoreLabel ?? 0)
        try value(mode.rawValue)
        try value(Float(mode.isEmpty ? scale / Double(rows) : scale))
        let weights = method.termWeights(warmup: warmup).map(Float.init)
        switch method {
        case .labelRevision(let m):
            for weight in weights { try value(weight) }
            try value(Float(m.eta))
        case .multiLevelLogitDistillation(let m):
            guard let alignment else { return }
            for weight in weights { try value(weight) }
            let levels = m.levels
            var (temperatures, counts) = (SIMD8<Float>(repeating: 1), SIMD8<Float>.zero)
            for (k, level) in levels.enumerated() {
                (temperatures[k], counts[k]) = (Float(level.temperature), Float(level.count))
            }
            try value(UInt32(m.standardize ? 1 : 0))
            try value(UInt32(levels.count))
            try value(temperatures)
            try value(counts)
            try kernel.setArgument(next, alignment.levels)
            next += 1
        default:
            // The arguments of kernels/common/logit_loss.clh: weights by kind of term, temperatures, standardisation.
            for weight in weightsByKind(method, weights) { try value(weight) }
            let temperatures = rowKernel.temperatures
            try value(Float(temperatures.distillation ?? 1))
            try value(Float(temperatures.confidence))
            try value(UInt32(temperatures.standardize ? 1 : 0))
            if rowKernel.layout.finishes {
                try kernel.setArgument(next, accumulator?.buffer ?? rowStatus)
                next += 1
                try value(UInt32(finishes && accumulator != nil ? 1 : 0))
            }
        }
        if let audit {
            let (temperature, standardize) = method.auditConfidence
            try slice(audit, 0)
            try value(Float(temperature))
            try value(UInt32(standardize ? 1 : 0))
        }
        try kernel.setLocalMemory(next, 16 * rowKernel.layout.items)
        if let blockBytes = rowKernel.layout.blockBytes { try kernel.setLocalMemory(next + 1, blockBytes) }
        try queue.enqueue(kernel, global: [rows * rowKernel.layout.items], local: [rowKernel.layout.items])
        if case .multiLevelLogitDistillation(let m) = method, let alignment, let teacher {
            try alignment.enqueueAlignments(
                m, rows: rows, scale: scale, student: student, teacher: teacher, gradient: gradient, termRows: termRows, on: queue
            )
        }
        if let softTargets, mode.isEmpty, let term = method.termNames.firstIndex(of: "ce") {
            try softTargets.enqueue(
                rows: rows, classes: classes, student: student, labels: labels, gradient: gradient,
                terms: DeviceSlice(termRows, offset: term * rows, count: rows),
                gradientScale: method.termWeights(warmup: warmup)[term] * scale / Double(rows), programs: programs, on: queue)
        }
        if let accumulator, !finishes { try reduce(method, rows, weights, mode, into: accumulator, on: queue) }
    }

    /// The last call's terms per row, unweighted, waiting for it. - Returns: per term, per row.
    package func perRow(rows: Int? = nil, on queue: CommandQueue) throws(DeviceError) -> [[Float]] {
        let rows = rows ?? capacity
        let values = try queue.read(Float.self, from: termRows, count: terms * rows)
        return (0..<terms).map { Array(values[($0 * rows)..<(($0 + 1) * rows)]) }
    }

    /// What the last call, of `method`, found in each row, waiting for it. Empty unless `audit` was asked for.
    /// - Parameters:
    ///   - labels: those of the call.
    ///   - firstRow: what the first row is called.
    package func auditRows(
        _ method: Method, labels: [Int32], firstRow: Int = 0, on queue: CommandQueue
    ) throws(DeviceError) -> [AuditRow] {
        guard let audit else { return [] }
        let values = try queue.read(Float.self, from: audit, count: AuditRecord.words * labels.count)
        let terms = try perRow(rows: labels.count, on: queue)
        return labels.indices.map { row in
            AuditRecord(values[(row * AuditRecord.words)..<((row + 1) * AuditRecord.words)]).row(
                firstRow + row, label: labels[row], counts: labels[row] != ignoreLabel, hasTeacher: method.needsTeacher,
                terms: terms.map { Double($0[row]) })
        }
    }

    /// Rows of the last call that the fast arithmetic did not serve; waits for it.
    package func carefulRows(_ rows: Int, on queue: CommandQueue) throws(DeviceError) -> Int {
        // ROW_CAREFUL of common/loss_row.clh.
        try queue.read(UInt32.self, from: rowStatus, count: rows).count { $0 & 8 != 0 }
    }

    /// Of the last call, per row, whether its label is the student's first largest logit; waits for it.
    func correctRows(_ rows: Int, on queue: CommandQueue) throws(DeviceError) -> [Bool] {
        // ROW_TOP1 and the faults of common/loss_row.clh; an infinite loss is none of the ranks.
        try queue.read(UInt32.self, from: rowStatus, count: rows).map { $0 & 2 != 0 && $0 & 0x70 == 0 }
    }

    /// Weights of cross-entropy, the pair term and the set term, 0 for one that the method does not have.
    private func weightsByKind(_ method: Method, _ weights: [Float]) -> [Float] {
        [["ce"], ["tckd", "scd", "rc"], ["kd", "nckd", "mcd"]].map { names in
            zip(method.termNames, weights).first { names.contains($0.0) }?.1 ?? 0
        }
    }

    private func reduce(
        _ method: Method, _ rows: Int, _ weights: [Float], _ mode: LossRowScale.Mode, into accumulator: LossAccumulator,
        on queue: CommandQueue
    ) throws(DeviceError) {
        if let kernel = rowKernel.addsRows, !mode.contains(.scaled) {
            try kernel.setArgument(0, UInt32(rows))
            try kernel.setArgument(1, termRows)
            try kernel.setArgument(2, rowStatus)
            for (index, weight) in weightsByKind(method, weights).enumerated() { try kernel.setArgument(3 + index, weight) }
            try kernel.setArgument(6, accumulator.buffer)
            return try queue.enqueue(kernel, global: [1], local: [1])
        }
        try reduceKernel.setArgument(0, UInt32(rows))
        try reduceKernel.setArgument(1, UInt32(terms))
        for (index, buffer) in [termRows, rowStatus, accumulator.buffer].enumerated() {
            try reduceKernel.setArgument(2 + 2 * index, buffer)
            try reduceKernel.setArgument(3 + 2 * index, UInt64(0))
        }
        for term in 0..<LossAccumulator.maxTerms {
            try reduceKernel.setArgument(8 + term, term < weights.count ? weights[term] : 0)
        }
        let next = 8 + LossAccumulator.maxTerms
        try reduceKernel.setArgument(next, rowScale.buffer)
        try reduceKernel.setArgument(next + 1, UInt64(0))
        try reduceKernel.setArgument(next + 2, UInt32(mode.contains(.scaled) ? 1 : 0))
        try reduceKernel.setArgument(next + 3, Float(LossAccumulator.sumScale(methodID: methodID)))
        try queue.enqueue(reduceKernel, global: [reduceSize], local: [reduceSize])
    }

    private func scratchGradient() throws(DeviceError) -> DeviceSlice {
        if let unusedGradient { return DeviceSlice(unusedGradient, count: capacity * classes) }
        let buffer = try Buffer(
            programs.context, bytes: storage.gradient.size * capacity * classes, label: "loss gradient, not wanted")
        unusedGradient = buffer
        return DeviceSlice(buffer, count: capacity * classes)
    }

    private func check(
        _ method: Method, _ rows: Int, _ student: DeviceSlice, _ teacher: DeviceSlice?, _ labels: DeviceSlice,
        _ rowWeights: DeviceSlice?, _ gradient: DeviceSlice
    ) throws(DeviceError) {
        guard method.id == methodID else {
            throw DeviceError(.shapeMismatch, "a loss prepared for method '\(methodID)' was given '\(method.id)'")
        }
        guard (0...capacity).contains(rows) else {
            throw DeviceError(.shapeMismatch, "a loss prepared for \(capacity) rows was given \(rows)")
        }
        guard let teacher else {
            throw DeviceError(.shapeMismatch, "method '\(methodID)' needs teacher logits")
        }
        let sizes = [
            ("student logits", student, rows * classes, storage.student),
            ("teacher logits", teacher, rows * classes, storage.teacher),
            ("labels", labels, rows, .float32), ("row weights", rowWeights ?? labels, rows, .float32),
            ("gradient", gradient, rows * classes, storage.gradient),
        ]
        for (name, slice, count, element) in sizes {
            // The kernels trust these numbers: nothing past a buffer's end may be reachable.
            guard slice.count >= count, slice.offset >= 0, slice.offset + count <= slice.buffer.bytes / element.size else {
                throw DeviceError(
                    .shapeMismatch, "\(name): \(slice.count) elements at \(slice.offset), expected \(count)")
            }
        }
    }
}
