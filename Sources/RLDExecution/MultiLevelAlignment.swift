import OpenCLRuntime
import RLDMethods

/// What MLKD needs beside its row kernel: the medians before it, and after it the terms that compare all rows and all classes
/// with each other, two matrix products per temperature. `kernels/mlkd.cl` has the formulas.
///
/// Memory: 3 rows x classes and 4 rows x rows elements; no matrix of classes. Nothing is allocated after `init`, but for the
/// workspace of a product of fewer rows, the first time.
final class MultiLevelAlignment {
    /// Shares and counts of rows and classes, as `mlkd.cl` lists them.
    let levels: Buffer

    private let capacity: Int
    private let classes: Int
    private let localSize: Int
    private let medianSize: Int
    private let products: MatrixProducts
    private let confidenceRows: Kernel
    private let confidenceClasses: Kernel
    private let medianRows: Kernel
    private let medianClasses: Kernel
    private let correlate: Kernel
    private let align: Kernel
    private let propagate: Kernel
    private let rowConfidence: Buffer
    private let rowPeak: Buffer
    private let rowWeights: Buffer
    private let classConfidence: Buffer
    /// [2 rows, classes]
    private let sums: Buffer
    /// [2 rows, 2 rows]
    private let correlations: Buffer
    /// [rows, classes]
    private let towardsStudent: Buffer

    /// - Throws: `.outOfMemory` with the batch in its text if the rows' products do not fit.
    init(
        rows capacity: Int, classes: Int, programs: ProgramCache, profile: KernelProfile, localSize: Int, medianSize: Int,
        products: MatrixProducts
    ) throws(DeviceError) {
        let context = programs.context
        (self.capacity, self.classes, self.localSize, self.medianSize) = (capacity, classes, localSize, medianSize)
        self.products = products
        // The row kernel's own program, unless the device's work-groups are small.
        let defines =
            profile.rowDefines(localSize: localSize, device: context.device)
            + (medianSize == 64 ? [] : [("MEDIAN_SIZE", "\(medianSize)")])
        let options = profile.rowOptions(context.device)
        func kernel(_ name: String) throws(DeviceError) -> Kernel {
            try programs.kernel("mlkd.cl", name, defines: defines, options: options)
        }
        confidenceRows = try kernel("mlkd_confidence_rows")
        confidenceClasses = try kernel("mlkd_confidence_classes")
        medianRows = try kernel("mlkd_median")
        medianClasses = try kernel("mlkd_median")
        correlate = try kernel("mlkd_correlate_rows")
        align = try kernel("mlkd_align_rows")
        propagate = try kernel("mlkd_propagate_rows")
        func buffer(_ count: Int, _ label: String) throws(DeviceError) -> Buffer {
            try Buffer(context, bytes: 4 * count, label: "mlkd \(label) of \(capacity) rows, \(classes) classes")
        }
        levels = try buffer(4, "levels")
        rowConfidence = try buffer(capacity, "row confidences")
        rowPeak = try buffer(3 * capacity, "row maxima")
        rowWeights = try buffer(capacity, "row weights")
        classConfidence = try buffer(3 * classes, "class confidences")
        sums = try buffer(2 * capacity * classes, "sums and differences")
        correlations = try buffer(4 * capacity * capacity, "correlations")
        towardsStudent = try buffer(capacity * classes, "gradient of probabilities")
        try reserve(steps(rows: capacity))
    }

    /// Writes `levels` and the row weights of a batch.
    func enqueueMedians(
        rows: Int, student: DeviceSlice, teacher: DeviceSlice, labels: DeviceSlice, rowScale: DeviceSlice,
        mode: LossRowScale.Mode,
        ignoring ignoreLabel: Int32?, on queue: CommandQueue
    ) throws(DeviceError) {
        let flags = Int(mode.rawValue)
        try confidenceRows.setArguments([
            .int(rows), .int(classes), .slice(teacher), .slice(labels), .slice(rowScale), .buffer(rowConfidence),
            .buffer(rowPeak),
            .int(Int(ignoreLabel ?? 0)), .int(flags), .local(16 * localSize),
        ])
        try queue.enqueue(confidenceRows, global: [rows * localSize], local: [localSize])
        func median(
            _ kernel: Kernel, _ count: Int, numbers: Int, _ values: Buffer, first: Int, ofRows: Bool
        ) throws(DeviceError) {
            try kernel.setArguments([
                .int(count), .int(numbers), .buffer(values), .buffer(levels), .int(first), .int(ofRows ? 1 : 0), .slice(rowScale),
                .int(flags), .buffer(rowWeights),
            ])
            try queue.enqueue(kernel, global: [medianSize], local: [medianSize])
        }
        try median(medianRows, rows, numbers: 1, rowConfidence, first: 0, ofRows: true)
        try confidenceClasses.setArguments([
            .int(rows), .int(classes), .slice(student), .slice(teacher), .buffer(rowPeak), .buffer(rowWeights),
            .buffer(classConfidence),
        ])
        try queue.enqueue(confidenceClasses, global: [classes])
        try median(medianClasses, classes, numbers: 3, classConfidence, first: 2, ofRows: false)
    }

    /// Adds the alignments of classes and batch to the terms per row and to the gradient.
    /// - Parameters:
    ///   - scale: upstream factor, before the method's weight.
    ///   - termRows: [4, rows] from the buffer's beginning.
    func enqueueAlignments(
        _ method: MultiLevelLogitDistillation, rows: Int, scale: Double, student: DeviceSlice, teacher: DeviceSlice,
        gradient: DeviceSlice, termRows: Buffer, on queue: CommandQueue
    ) throws(DeviceError) {
        let steps = steps(rows: rows)
        if rows != capacity { try reserve(steps) }
        for level in method.levels {
            try correlate.setArguments([
                .int(rows), .int(classes), .slice(student), .slice(teacher), .buffer(rowWeights), .buffer(sums),
                .float(level.temperature), .local(16 * localSize),
            ])
            try queue.enqueue(correlate, global: [rows * localSize], local: [localSize])
            for product in steps.correlations { try products.enqueue(product) }
            try align.setArguments([
                .int(rows), .buffer(correlations), .buffer(rowWeights), .buffer(levels), .slice(DeviceSlice(termRows)),
                .float(scale), .float(method.weight), .float(method.weight), .float(Double(level.count)),
                .local(16 * localSize),
            ])
            try queue.enqueue(align, global: [rows * localSize], local: [localSize])
            try products.enqueue(steps.towardsStudent)
            try propagate.setArguments([
                .int(rows), .int(classes), .buffer(sums), .buffer(towardsStudent), .slice(gradient), .float(level.temperature),
                .local(16 * localSize),
            ])
            try queue.enqueue(propagate, global: [rows * localSize], local: [localSize])
        }
    }

    /// The products of one temperature: of all rows with each other, over parts of long ones, then what they make of the rows.
    private typealias Steps = (correlations: [MatrixProduct], towardsStudent: MatrixProduct)

    private func steps(rows: Int) -> Steps {
        let z = DeviceSlice(sums, count: 2 * rows * classes)
        let g = DeviceSlice(correlations, count: 4 * rows * rows)
        let parts = stride(from: 0, to: classes, by: Self.longestSum).map { first in
            let part = z.slice(first, z.count - first)
            var product = MatrixProduct(
                m: 2 * rows, n: 2 * rows, k: min(Self.longestSum, classes - first), a: part, b: part, transposeB: true, c: g)
            (product.rowLength, product.accumulate) = (classes, first > 0)
            return product
        }
        return (
            parts,
            MatrixProduct(
                m: rows, n: classes, k: 2 * rows, a: g, b: z, c: DeviceSlice(towardsStudent, count: rows * classes))
        )
    }

    private func reserve(_ steps: Steps) throws(DeviceError) {
        for product in steps.correlations + [steps.towardsStudent] { try products.reserve(product) }
    }

    /// A product adds one class after another: of a longer row the rounding would show.
    private static let longestSum = 4096
}
