import OpenCLRuntime
import RLDMethods

/// Labels that are no certainty: smoothed, or those of two mixed images. Follows a loss kernel that has the cross-entropy of
/// the plain label, and corrects its terms and gradient.
package struct SoftTargets: Sendable, Equatable {
    /// Share that is spread over all classes.
    package var smoothing: Double
    /// Share of a row's own label; the rest belongs to the row that it was mixed with, rows - 1 - row.
    package var share: Double

    package init?(_ batch: BatchSelection) {
        smoothing = batch.labelSmoothing
        share = batch.mixing?.share ?? 1
        if smoothing == 0, share == 1 { return nil }
    }

    /// Enqueues the correction.
    /// - Parameters:
    ///   - kernel: `soft_targets`, of `items` work-items per row.
    ///   - terms: [rows], the cross-entropy per row. - gradientScale: the weight of one row's cross-entropy in the gradient.
    func enqueue(
        _ kernel: Kernel, items: Int, rows: Int, classes: Int, student: DeviceSlice, labels: DeviceSlice, gradient: DeviceSlice,
        terms: DeviceSlice, gradientScale: Double, on queue: CommandQueue
    ) throws(DeviceError) {
        try kernel.setArguments([
            .int(rows), .int(classes), .slice(student), .slice(labels), .slice(gradient), .slice(terms), .float(smoothing),
            .float(share), .float(gradientScale), .local(4 * items),
        ])
        try queue.enqueue(kernel, global: [rows * items], local: [items])
    }
}
