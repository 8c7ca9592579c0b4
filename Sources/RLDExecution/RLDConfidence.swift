import OpenCLRuntime

/// The confidence pair of RLD's SCD and DKD's TCKD, its divergence a^2 KL({q, 1 - q} || {p, 1 - p}) and the gradient:
/// p = softmax(s / a) of the label, q = softmax(t / a) of a class of the teacher. Formulas: `kernels/rld_confidence.cl`.
public final class RLDConfidence {
    /// Which class of the teacher q is.
    public enum TeacherClass: Sendable {
        /// The first largest logit (SCD).
        case top
        /// The label (TCKD).
        case label
    }

    private let teacherClass: TeacherClass
    private let rows: RowKernels
    private let forwardKernel: Kernel
    private let backwardKernel: Kernel

    /// - Throws: `.buildFailed`, `.shapeMismatch`.
    public init(_ teacherClass: TeacherClass = .top, classes: Int, on engine: DeviceEngine) throws(DeviceError) {
        self.teacherClass = teacherClass
        rows = try RowKernels(engine, classes: classes)
        forwardKernel = try rows.kernel("rld_confidence.cl", "rld_confidence_rows_forward")
        backwardKernel = try rows.kernel("rld_confidence.cl", "rld_confidence_rows_backward")
    }

    /// - Parameters:
    ///   - student, teacher: [rows, classes] float32; labels: [rows] int32, a row whose label is outside 0..<classes gives 0.
    ///   - pairs: [4, rows]: log p, log(1 - p), log q, log(1 - q); divergence: [rows].
    public func forward(
        rows count: Int, student: DeviceSlice, teacher: DeviceSlice, labels: DeviceSlice, temperature: Double = 1,
        pairs: DeviceSlice, divergence: DeviceSlice
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check(temperature: temperature)
        try rows.check([
            ("student logits", student, size), ("teacher logits", teacher, size), ("labels", labels, count),
            ("pairs", pairs, 4 * count), ("divergence", divergence, count),
        ])
        try rows.enqueue(
            forwardKernel, rows: count,
            [
                .int(count), .int(rows.classes), .slice(student), .slice(teacher), .slice(labels), .slice(pairs),
                .slice(divergence), .float(temperature), .int(teacherClass == .label ? 1 : 0),
            ])
    }

    /// The gradient with respect to the student's logits, times factor.
    /// - Parameters:
    ///   - pairs: what forward wrote; upstream: [rows], d loss / d divergence.
    ///   - gradient: [rows, classes], overwritten or, with `accumulate`, added to.
    public func backward(
        rows count: Int, student: DeviceSlice, labels: DeviceSlice, pairs: DeviceSlice, upstream: DeviceSlice,
        temperature: Double = 1, factor: Double = 1, into gradient: DeviceSlice, accumulate: Bool = false
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check(temperature: temperature)
        try rows.check([
            ("student logits", student, size), ("labels", labels, count), ("pairs", pairs, 4 * count),
            ("upstream", upstream, count), ("gradient", gradient, size),
        ])
        try rows.enqueue(
            backwardKernel, rows: count,
            [
                .int(count), .int(rows.classes), .slice(student), .slice(labels), .slice(pairs), .slice(upstream),
                .slice(gradient), .float(temperature), .float(factor), .int(accumulate ? 1 : 0),
            ])
    }
}
