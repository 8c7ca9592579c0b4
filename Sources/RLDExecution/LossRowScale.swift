import OpenCLRuntime
import RLDMethods

/// What each row of a batch counts in a loss: nothing if its label is the ignored one, else its weight over the sum of weights;
/// of its group of rows for label revision, whose terms are means over the rows that the teacher gets right or wrong.
/// A plain batch needs no launch for it; the others one tiny launch, label revision one over the teacher's rows before it.
final class LossRowScale {
    /// Bits of `kernels/common/loss_terms.clh`; empty: every row counts the same.
    struct Mode: OptionSet {
        let rawValue: UInt32
        /// Rows with the ignored label do not count.
        static let ignored = Mode(rawValue: 1)
        /// `buffer` holds a factor per row; otherwise its first element is that of every row, if rows may be ignored.
        static let scaled = Mode(rawValue: 2)
    }

    /// [rows] float32.
    let buffer: Buffer

    private let ignoreLabel: Int32?
    private let classes: Int
    private let countKernel: Kernel
    private let scaleKernel: Kernel
    /// Label revision only: writes the group of each row.
    private let groupKernel: Kernel?
    private let groups: Buffer?
    private let localSize: Int
    private let reduceSize: Int

    init(
        _ method: Method, rows: Int, classes: Int, programs: ProgramCache, layout: LossRowLayout, reduceSize: Int,
        ignoring ignoreLabel: Int32?, variant: [(String, String)]
    ) throws(DeviceError) {
        let context = programs.context
        self.ignoreLabel = ignoreLabel
        self.classes = classes
        localSize = layout.items
        self.reduceSize = reduceSize
        countKernel = try programs.lossBatchKernel("loss_count_rows", items: reduceSize)
        scaleKernel = try programs.lossBatchKernel("loss_scale_rows", items: reduceSize)
        buffer = try Buffer(context, bytes: 4 * rows, label: "loss row scale")
        if case .labelRevision = method {
            groupKernel = try programs.kernel(
                "label_revision.cl", "label_revision_group_rows", defines: layout.defines + variant, options: layout.options)
            groups = try Buffer(context, bytes: 4 * rows, label: "loss row groups")
        } else {
            (groupKernel, groups) = (nil, nil)
        }
    }

    /// Enqueues what the batch needs; the row kernel and the reduction then read `buffer` as the returned mode says.
    func enqueue(
        rows: Int, teacher: DeviceSlice?, labels: DeviceSlice, weights: DeviceSlice?, on queue: CommandQueue
    ) throws(DeviceError) -> Mode {
        let ignored: Mode = ignoreLabel == nil ? [] : .ignored
        let label = Int(ignoreLabel ?? 0)
        let flag = Int(ignored.rawValue)
        if let groupKernel, let groups, let teacher {
            try groupKernel.setArguments([
                .int(classes), .slice(teacher), .slice(labels), .slice(DeviceSlice(groups)), .int(label), .int(flag),
                .local(16 * localSize),
            ])
            try queue.enqueue(groupKernel, global: [rows * localSize], local: [localSize])
        }
        if groups != nil || weights != nil {
            // What is not there is not read; any buffer stands for it.
            try scaleKernel.setArguments([
                .int(rows), .slice(labels), .slice(weights ?? labels), .slice(groups.map { DeviceSlice($0) } ?? labels),
                .slice(DeviceSlice(buffer)), .int(label), .int(flag), .int(weights == nil ? 0 : 1), .int(groups == nil ? 0 : 1),
            ])
            try queue.enqueue(scaleKernel, global: [reduceSize], local: [reduceSize])
            return ignored.union(.scaled)
        }
        if ignoreLabel != nil {
            try countKernel.setArguments([.int(rows), .slice(labels), .slice(DeviceSlice(buffer)), .int(label)])
            try queue.enqueue(countKernel, global: [reduceSize], local: [reduceSize])
        }
        return ignored
    }
}
