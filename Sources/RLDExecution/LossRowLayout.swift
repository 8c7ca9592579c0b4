import Glibc
import OpenCLRuntime
import RLDMethods

/// How a device works on the rows of a method's loss: the work-items of a row, what they keep of it, and the variant of the kernel that
/// does so.
struct LossRowLayout {
    /// Work-items per row.
    let items: Int
    /// Local memory that work-items reduce through, in bytes.
    let scratchBytes: Int
    /// Local memory for a block of the logits, in bytes; nil for the methods whose kernels keep none.
    let blockBytes: Int?
    /// Whether the kernel takes an accumulator, to which its last work-item can add a small batch.
    let finishes: Bool
    /// Whether a work-group takes several rows where it is given them (`LOSS_ROWS`).
    let sharesGroups: Bool
    /// Whether it computes what is computed once per row of several at once (`ROWS_TOGETHER`), as short rows need it.
    let rowsTogether: Bool
    /// Whether the usual temperatures are constants of the kernel.
    let takesConstants: Bool
    /// Whether rows are a multiple of four classes long, so that a work-item of a gpu can read four at once.
    let inQuads: Bool
    /// What the kernel is built with, beside temperatures and quads.
    let defines: [(String, String)]
    /// For the OpenCL compiler.
    let options: String

    /// What a kernel is built with that reads four classes at once.
    static let quads = [("ROW_WIDTH", "4")]

    /// - Parameters:
    ///   - kinds: what its kernel computes with `kernels/common/logit_loss.clh`.
    ///   - items: work-items per row of the gpu profile; chosen by the number of classes if nil.
    init(_ method: Method, kinds: LossRowKernel.Kinds?, classes: Int, profile: KernelProfile, device: Device, items: Int?) {
        let keepsBlocks = Self.keepsBlocks(method)
        switch profile {
        case .cpu:
            (self.items, scratchBytes) = (1, 16)
            // What only threads of a host can do, and only this driver is known to.
            let onThreads = device.isPoCL && device.isCPU
            finishes = kinds != nil && onThreads && !method.needsWholeBatch
            (sharesGroups, takesConstants, inQuads, options) = (kinds != nil, keepsBlocks, false, "")
            rowsTogether = sharesGroups && classes <= 512
            // A work-item keeps its block in private memory.
            blockBytes = keepsBlocks ? 16 : nil
            defines =
                profile.rowDefines(localSize: 1, device: device)
                + (keepsBlocks ? Self.wholeRows(classes, anyLength: onThreads, mayBorrow: kinds != nil) : [])
                + (rowsTogether ? [("ROWS_TOGETHER", "1")] : [])
                + (finishes ? [("LOSS_FINISHES", "1")] : [])
        case .gpu:
            let items = min(items ?? Self.fittingItems(classes, keepsBlocks, on: device), device.maxWorkGroupSize, 1024)
            let kept = Self.keptClasses(classes, items: items, on: device)
            (self.items, finishes, sharesGroups, rowsTogether) = (items, false, false, false)
            // Twelve sums at once (`row_group_sums`), or four.
            scratchBytes = (kinds == nil ? 16 : 48) * items
            // A processor with this profile tests it, and would spend its time on building programs.
            takesConstants = keepsBlocks && !device.isCPU
            inQuads = keepsBlocks && classes % 4 == 0
            // NVIDIA's compiler spends 105 registers on rows of several blocks; with 64, twice as many work-items run at a time. Standardised
            // rows take more, and would keep what they have in memory.
            let registers = method.value(of: .standardize) == 1 ? 128 : 64
            let limit = takesConstants && classes > items * kept ? RegisterLimit(registers, on: device) : nil
            // Subnormal results are none of the digits that count, and cost a GPU three instructions for every exponential.
            options = [profile.rowOptions(device), takesConstants ? "-cl-denorms-are-zero" : "", limit?.options ?? ""]
                .filter { !$0.isEmpty }.joined(separator: " ")
            blockBytes = keepsBlocks ? 4 * items * kept * (method.needsTeacher ? 2 : 1) : nil
            defines =
                profile.rowDefines(localSize: items, device: device)
                + (keepsBlocks ? [("ROW_KEEP", "\(kept)"), ("ROW_ONE_BLOCK", classes <= items * kept ? "1" : "0")] : [])
                + (limit?.defines ?? [])
        }
    }

    private static func keepsBlocks(_ method: Method) -> Bool {
        switch method {
        case .crossEntropy, .knowledgeDistillation, .decoupledKnowledgeDistillation, .labelAugment, .reviewCorrection,
            .labelRevision, .refinedLogitDistillation:
            true
        case .multiLevelLogitDistillation: false
        }
    }

    /// Work-items per row of the gpu profile. What is computed once per row, by each of them, costs as much as some thirty classes do:
    /// a row that fits is one lockstep group's.
    private static func fittingItems(_ classes: Int, _ keepsBlocks: Bool, on device: Device) -> Int {
        guard keepsBlocks else { return classes <= 512 ? 64 : classes <= 1024 ? 128 : classes <= 16384 ? 256 : 512 }
        // 64 on AMD's, as few as any vendor's elsewhere.
        let lockstep = ShippedTuning.vendorName(device.vendor) == "amd" ? 64 : 32
        return classes <= 1024 ? lockstep : classes <= 2048 ? max(64, lockstep) : classes <= 4096 ? 128 : 256
    }

    /// Classes of each row that a work-item of the gpu profile keeps in local memory: the whole row up to 4,096 classes, at most 32 KiB
    /// of student and teacher, or half of both. The longer a block, the fewer times sums are taken to larger maxima.
    private static func keptClasses(_ classes: Int, items: Int, on device: Device) -> Int {
        let longest = device.localMemory >= 48 << 10 ? 4096 : 2048
        return [4, 8, 16, 32].first { classes <= items * $0 || items * $0 >= longest } ?? 32
    }

    /// How a cpu work-item keeps a row. Up to 8,192 classes it is one block in private memory, exponentials included, and is read once.
    /// - Parameters:
    ///   - anyLength: whether private memory is a thread's stack: then up to 163,840 classes, 1.3 MB, if stacks are as large as usual.
    ///   - mayBorrow: whether half of the block may lie where the gradient will, which saves a tenth of the time of such long rows.
    private static func wholeRows(_ classes: Int, anyLength: Bool, mayBorrow: Bool) -> [(String, String)] {
        guard let size = [8192, 32768, 65536, 163_840].first(where: { classes <= $0 }) else { return [] }
        let alone = ("ROW_ONE_BLOCK", "1")
        guard size > 8192 else { return [alone] }
        var limit = rlimit()
        let known = getrlimit(__rlimit_resource_t(RLIMIT_STACK.rawValue), &limit) == 0
        guard anyLength, known, limit.rlim_cur >= 4 << 20 else { return [] }
        return [("ROW_WHOLE", "\(size)"), alone] + (mayBorrow && classes % 16 == 0 ? [("BLOCK_IN_GRADIENT", "1")] : [])
    }
}
