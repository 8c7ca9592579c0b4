import OpenCLRuntime
import RLDMethods

/// A method's loss on the device, prepared once for a method, a number of classes and a largest batch. One launch computes the
/// terms of every row, d total / d student and correctness; a second, tiny one adds them to an accumulator (a small batch on a cpu
/// needs no second one). Rows that take another arithmetic (nan, an infinite loss, a subset that lies far below the rest of its row
/// ...) are recomputed by one work-item, slowly: they are rare.
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

    let rowKernel: LossRowKernel
    /// Up to so many rows a work-item of the row kernel adds them up at its end, where it can: faster than another launch.
    private static let fewRows = 1024
    let reduceKernel: Kernel
    /// The term that soft targets correct, and the kernel that does so; nil for a method without it.
    private static let labelTerm = "ce"
    private let softTargetKernel: Kernel?
    let rowScale: LossRowScale
    /// `mlkd` only.
    let alignment: MultiLevelAlignment?
    private let programs: ProgramCache
    let reduceSize: Int
    let terms: Int
    /// [terms, capacity]; the last call's terms per row, [terms, rows], lie at its beginning.
    let termRows: Buffer
    let rowStatus: Buffer
    private var unusedGradient: Buffer?
    private let storage: LossStorage
    /// [capacity, AuditRecord.words] float32, if audit rows are wanted.
    let audit: Buffer?

    /// Logits of a batch that one thread is through with in 15 us.
    static let fewLogits = 1 << 13
    package static let callsUntilBuilt = 64
    /// Calls so far of no more than `fewLogits`, made while nothing was queued.
    var briefCalls = 0
    /// What the row kernel was given last; nil if it may have been given something else since.
    var lastArguments: (kernel: Kernel, call: Call, sums: LossAccumulator?)?

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
        guard method.termNames.count <= LossAccumulator.maxTerms else {
            throw DeviceError(
                .unsupported,
                "method '\(method.id)' has \(method.termNames.count) terms, sums on a device hold \(LossAccumulator.maxTerms)")
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
        (reduceKernel, reduceSize) = try programs.lossReduceKernel(profile)
        softTargetKernel =
            method.termNames.contains(Self.labelTerm)
            ? try programs.lossBatchKernel("soft_targets", items: reduceSize) : nil
        termRows = try Buffer(context, bytes: 4 * terms * capacity, label: "loss terms per row")
        rowStatus = try Buffer(context, bytes: 4 * capacity, label: "loss row status")
        rowScale = try LossRowScale(
            method, rows: capacity, classes: classes, programs: programs, layout: rowKernel.layout, reduceSize: reduceSize,
            ignoring: ignoreLabel, variant: variant)
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

    /// One call of `enqueue`.
    struct Call: Equatable {
        let method: Method
        let rows: Int
        /// Of the terms, in the order of `Method.termNames`.
        let weights: [Float]
        let scale: Double
        let student: DeviceSlice
        /// The student's, where the method has none: it is not read.
        let teacher: DeviceSlice
        let labels: DeviceSlice
        let gradient: DeviceSlice
        let mode: LossRowScale.Mode
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
                mode: mode, ignoring: ignoreLabel, on: queue)
        }
        let finishes = rowKernel.layout.finishes && rows <= Self.fewRows && mode.isEmpty && softTargets == nil
        let call = Call(
            method: method, rows: rows, weights: method.termWeights(warmup: warmup).map(Float.init), scale: scale,
            student: student, teacher: method.needsTeacher ? teacher ?? student : student, labels: labels, gradient: gradient,
            mode: mode)
        try enqueueRows(call, addingTo: finishes ? accumulator : nil, on: queue)
        if case .multiLevelLogitDistillation(let m) = method, let alignment, let teacher {
            try alignment.enqueueAlignments(
                m, rows: rows, scale: scale, student: student, teacher: teacher, gradient: gradient, termRows: termRows, on: queue
            )
        }
        if let softTargets, let softTargetKernel, mode.isEmpty, let term = method.termNames.firstIndex(of: Self.labelTerm) {
            try softTargets.enqueue(
                softTargetKernel, items: reduceSize, rows: rows, classes: classes, student: student, labels: labels,
                gradient: gradient,
                terms: DeviceSlice(termRows, offset: term * rows, count: rows),
                gradientScale: method.termWeights(warmup: warmup)[term] * scale / Double(rows), on: queue)
        }
        if let accumulator, !finishes { try reduce(call, into: accumulator, on: queue) }
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
        try rowStatuses(rows, on: queue).count { $0.contains(.careful) }
    }

    /// Of the last call, per row, whether its label is the student's first largest logit; waits for it.
    func correctRows(_ rows: Int, on queue: CommandQueue) throws(DeviceError) -> [Bool] {
        try rowStatuses(rows, on: queue).map(\.isCorrect)
    }

    private func rowStatuses(_ rows: Int, on queue: CommandQueue) throws(DeviceError) -> [LossRowStatus] {
        try queue.read(UInt32.self, from: rowStatus, count: rows).map(LossRowStatus.init(rawValue:))
    }

    /// Where the gradient goes that nobody wants; made at the first request.
    @discardableResult
    func scratchGradient() throws(DeviceError) -> DeviceSlice {
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
        try student.check("student logits", holds: rows * classes, of: storage.student)
        try teacher.check("teacher logits", holds: rows * classes, of: storage.teacher)
        try labels.check("labels", holds: rows)
        try rowWeights?.check("row weights", holds: rows)
        try gradient.check("gradient", holds: rows * classes, of: storage.gradient)
    }
}
