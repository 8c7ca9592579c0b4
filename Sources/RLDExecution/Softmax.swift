import OpenCLRuntime

/// Softmax or log-softmax of the rows of a matrix at a temperature, forward and backward, over all classes or over a subset of
/// each row. Formulas: `kernels/softmax.cl`. Calls enqueue and return at once; sums are in a fixed order.
///
/// -infinity is an excluded class: 0 (log: -infinity), without gradient. So is a class outside the subset. A row without any class
/// left is all excluded. A row with nan or +infinity becomes nan.
public final class Softmax {
    /// What forward writes.
    public enum Output: Sendable {
        case probabilities
        case logarithms
    }

    public let output: Output
    private let rows: RowKernels
    private let forwardKernel: Kernel
    private let backwardKernel: Kernel

    /// - Parameter classes: columns of every matrix, at least 1.
    /// - Throws: `.buildFailed`, `.shapeMismatch`.
    public init(_ output: Output, classes: Int, on engine: DeviceEngine) throws(DeviceError) {
        self.output = output
        rows = try RowKernels(engine, classes: classes)
        forwardKernel = try rows.kernel("softmax.cl", "softmax_rows_forward")
        backwardKernel = try rows.kernel("softmax.cl", "softmax_rows_backward")
    }

    /// - Parameters:
    ///   - logits, result: [rows, classes] float32, not the same buffer range.
    ///   - subset: [rows, classes] float32, 1 for a class that is in, 0 for one that is not; nil: all are in.
    /// - Throws: `.shapeMismatch` for a slice that is too short; `.launchFailed`.
    public func forward(
        rows count: Int, logits: DeviceSlice, subset: DeviceSlice? = nil, temperature: Double = 1, into result: DeviceSlice
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check(temperature: temperature)
        try rows.check([("logits", logits, size), ("subset", subset ?? logits, size), ("result", result, size)])
        try rows.enqueue(
            forwardKernel, rows: count,
            [
                .int(rows.classes), .slice(logits), .slice(subset ?? logits), .slice(result), .float(temperature),
                .int(subset == nil ? 0 : 1), .int(output == .logarithms ? 1 : 0),
            ])
    }

    /// The gradient with respect to the logits.
    /// - Parameters:
    ///   - result: what forward wrote, with the same temperature.
    ///   - gradient: d loss / d result; into: d loss / d logits, overwritten or, with `accumulate`, added to. [rows, classes]
    public func backward(
        rows count: Int, result: DeviceSlice, gradient: DeviceSlice, temperature: Double = 1, into logits: DeviceSlice,
        accumulate: Bool = false
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check(temperature: temperature)
        try rows.check([("result", result, size), ("gradient", gradient, size), ("gradient of the logits", logits, size)])
        try rows.enqueue(
            backwardKernel, rows: count,
            [
                .int(rows.classes), .slice(result), .slice(gradient), .slice(logits), .float(temperature),
                .int(output == .logarithms ? 1 : 0), .int(accumulate ? 1 : 0),
            ])
    }
}
