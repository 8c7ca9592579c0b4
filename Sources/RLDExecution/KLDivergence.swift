import OpenCLRuntime

/// KL(q || p) of rows of log-probabilities (as `Softmax` writes logarithms), forward and backward. q is the target, in distillation
/// the teacher's; p learns. Formulas and limits: `kernels/kl_divergence.cl`.
public final class KLDivergence {
    private let rows: RowKernels
    private let forwardKernel: Kernel
    private let backwardKernel: Kernel

    /// - Throws: `.buildFailed`, `.shapeMismatch`.
    public init(classes: Int, on engine: DeviceEngine) throws(DeviceError) {
        rows = try RowKernels(engine, classes: classes)
        forwardKernel = try rows.kernel("kl_divergence.cl", "kl_divergence_rows_forward")
        backwardKernel = try rows.kernel("kl_divergence.cl", "kl_divergence_rows_backward")
    }

    /// Writes factor * KL of every row.
    /// - Parameters:
    ///   - logP, logQ: [rows, classes] float32, each row a distribution over the same subset; infinite KL where p = 0 < q.
    ///   - divergence: [rows].
    ///   - factor: T^2 in distillation.
    public func forward(
        rows count: Int, logP: DeviceSlice, logQ: DeviceSlice, factor: Double = 1, into divergence: DeviceSlice
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check([("log p", logP, size), ("log q", logQ, size), ("divergence", divergence, count)])
        try rows.enqueue(
            forwardKernel, rows: count,
            [.int(rows.classes), .slice(logP), .slice(logQ), .slice(divergence), .float(factor)])
    }

    /// The gradient with respect to log p: -factor * upstream * q. Through the log-softmax of p it becomes factor * upstream * (p - q) / T.
    /// - Parameters:
    ///   - upstream: [rows], d loss / d divergence.
    ///   - gradient: [rows, classes], overwritten or, with `accumulate`, added to.
    public func backward(
        rows count: Int, logQ: DeviceSlice, upstream: DeviceSlice, factor: Double = 1, into gradient: DeviceSlice,
        accumulate: Bool = false
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check([("log q", logQ, size), ("upstream", upstream, count), ("gradient of log p", gradient, size)])
        try rows.enqueue(
            backwardKernel, rows: count,
            [
                .int(rows.classes), .slice(logQ), .slice(upstream), .slice(gradient), .float(factor),
                .int(accumulate ? 1 : 0),
            ], reduces: false)
    }
}
