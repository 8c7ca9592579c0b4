import OpenCLRuntime

/// RLD's mask: the classes that the teacher ranks below the label. Ties with the label are left out, and the label itself. The mask
/// depends on the teacher and the labels alone, so it has no backward.
public final class RLDMask {
    private let rows: RowKernels
    private let kernel: Kernel

    /// - Throws: `.buildFailed`, `.shapeMismatch`.
    public init(classes: Int, on engine: DeviceEngine) throws(DeviceError) {
        rows = try RowKernels(engine, classes: classes)
        kernel = try rows.kernel("rld_mask.cl", "rld_mask_rows_forward")
    }

    /// - Parameters:
    ///   - teacher: [rows, classes] float32; labels: [rows] int32. A row whose label is outside 0..<classes keeps no class.
    ///   - mask: [rows, classes] float32, 1 for a class that is kept and 0 for one that is not.
    ///   - counts: [rows] int32, classes that are kept.
    public func forward(
        rows count: Int, teacher: DeviceSlice, labels: DeviceSlice, into mask: DeviceSlice, counts: DeviceSlice
    ) throws(DeviceError) {
        let size = try rows.size(count)
        try rows.check([
            ("teacher logits", teacher, size), ("labels", labels, count), ("mask", mask, size), ("counts", counts, count),
        ])
        try rows.enqueue(
            kernel, rows: count,
            [.int(rows.classes), .slice(teacher), .slice(labels), .slice(mask), .slice(counts)])
    }
}
