import Glibc
import OpenCLRuntime
import RLDMethods

/// The kernel that computes the rows of a method's loss: which program, with which constants, and its work-groups.
final class LossRowKernel {
    /// Work-items per row.
    let localSize: Int
    /// Local memory for a block of the logits, in bytes; nil for the methods whose kernels keep none.
    let blockBytes: Int?
    /// Whether the kernel takes an accumulator, to which its last work-item can add a small batch.
    let finishes: Bool

    private let file: String
    private let function: String
    private let programs: ProgramCache
    private let profile: KernelProfile
    private let options: String
    private let defines: [(String, String)]
    /// Whether rows are a multiple of four classes long, so that a work-item of a gpu can read four at once.
    private let inQuads: Bool
    private var kernel: Kernel
    /// Whether `kernel` reads four classes at once.
    private var readsQuads: Bool
    private var constants: Constants?
    /// A processor with the gpu profile tests it, and would spend its time on building programs.
    private let takesConstants: Bool
    private var method: Method
    /// Of the method that the kernel was prepared for last.
    private(set) var temperatures: Temperatures

    /// - Parameters:
    ///   - localSize: work-items per row of the gpu profile; chosen by the number of classes if nil.
    ///   - variant: further constants.
    /// - Throws: `.buildFailed`.
    init(
        _ method: Method, classes: Int, programs: ProgramCache, profile: KernelProfile, localSize: Int?,
        variant: [(String, String)]
    ) throws(DeviceError) {
        let device = programs.context.device
        let (file, function) = Self.function(of: method)
        let keepsBlocks = Self.keepsBlocks(method)
        let temperatures = Temperatures(method)
        let takesConstants = keepsBlocks && (profile == .cpu || !device.isCPU)
        let constants = takesConstants ? Constants(temperatures) : nil
        let fitting =
            keepsBlocks
            ? Self.fittingItems(classes, on: device) : classes <= 512 ? 64 : classes <= 1024 ? 128 : classes <= 16384 ? 256 : 512
        let wanted = profile == .cpu ? 1 : min(localSize ?? fitting, device.maxWorkGroupSize)
        // What only threads of a host can do, and only this driver is known to.
        let onThreads = profile == .cpu && keepsBlocks && device.isPoCL && device.isCPU
        let blocks = profile == .cpu && keepsBlocks ? Self.blocks(classes, anyLength: onThreads) : []
        let options = keepsBlocks && !device.isCPU ? Self.options(long: classes > Self.longestBlock(on: device), on: device) : ""
        let inQuads = profile == .gpu && keepsBlocks && classes % 4 == 0
        func common(_ size: Int) -> [(String, String)] {
            profile.rowDefines(localSize: size, device: device) + blocks + (onThreads ? [("LOSS_FINISHES", "1")] : [])
                + (profile == .gpu && keepsBlocks ? Self.keeping(classes, items: size, on: device) : []) + variant
        }
        func build(_ size: Int) throws(DeviceError) -> Kernel {
            try programs.kernel(
                file, function, defines: common(size) + (constants?.defines ?? []) + (inQuads ? Self.quads : []), options: options)
        }
        let first = try build(wanted)
        let fits = first.maxWorkGroupSize >= wanted
        self.localSize = fits ? wanted : max(1, first.maxWorkGroupSize)
        kernel = fits ? first : try build(self.localSize)
        defines = common(self.localSize)
        (self.file, self.function, self.constants) = (file, function, constants)
        (self.method, self.temperatures) = (method, temperatures)
        (self.programs, self.profile, finishes) = (programs, profile, onThreads)
        (self.takesConstants, self.options, self.inQuads, readsQuads) = (takesConstants, options, inQuads, inQuads)
        // A cpu work-item keeps its block in private memory.
        let kept = profile == .gpu ? self.localSize * Self.keptClasses(classes, items: self.localSize, on: device) : 1
        blockBytes = keepsBlocks ? 4 * kept * (method.needsTeacher ? 2 : 1) : nil
    }

    /// The kernel for a method of the same id. One with other temperatures than before may need a program of its own, which is
    /// built at the first time.
    /// - Parameter offsets: of what it reads and writes row by row, in elements.
    func prepared(for method: Method, offsets: Int...) throws(DeviceError) -> Kernel {
        let quads = inQuads && offsets.allSatisfy { $0 % 4 == 0 }
        // Looking options up takes longer than comparing, and every step comes here with the same.
        guard method != self.method || quads != readsQuads else { return kernel }
        let found = Temperatures(method)
        let wanted = takesConstants ? Constants(found) : nil
        if wanted != constants || quads != readsQuads {
            kernel = try programs.kernel(
                file, function, defines: defines + (wanted?.defines ?? []) + (quads ? Self.quads : []), options: options)
        }
        (constants, temperatures, self.method, readsQuads) = (wanted, found, method, quads)
        return kernel
    }

    private static let quads = [("ROW_WIDTH", "4")]

    /// Work-items per row of the gpu profile. What is computed once per row, by each of them, costs as much as some thirty classes do:
    /// a row that fits is one lockstep group's.
    private static func fittingItems(_ classes: Int, on device: Device) -> Int {
        let lockstep = device.lockstepItems
        return classes <= 1024 ? lockstep : classes <= 2048 ? max(64, lockstep) : classes <= 4096 ? 128 : 256
    }

    /// Classes of each row that a work-item of the gpu profile keeps in local memory: the whole row up to 4,096 classes, at most 32 KiB
    /// of student and teacher, or half of both. The longer a block, the fewer times sums are taken to larger maxima.
    private static func keptClasses(_ classes: Int, items: Int, on device: Device) -> Int {
        let block = longestBlock(on: device)
        return [4, 8, 16, 32].first { classes <= items * $0 || items * $0 >= block } ?? 32
    }

    private static func longestBlock(on device: Device) -> Int { device.localMemory >= 48 << 10 ? 4096 : 2048 }

    private static func options(long: Bool, on device: Device) -> String {
        // Subnormal results are none of the digits that count, and cost a GPU three instructions for every exponential. NVIDIA's
        // compiler spends 105 registers on rows of several blocks; with 64, twice as many work-items run at a time.
        "-cl-denorms-are-zero" + (long && device.extensions.contains("cl_nv_compiler_options") ? " -cl-nv-maxrregcount=64" : "")
    }

    private static func keeping(_ classes: Int, items: Int, on device: Device) -> [(String, String)] {
        let kept = keptClasses(classes, items: items, on: device)
        return [("ROW_KEEP", "\(kept)"), ("ROW_ONE_BLOCK", classes <= items * kept ? "1" : "0")]
    }

    private static func keepsBlocks(_ method: Method) -> Bool {
        switch method {
        case .labelRevision, .multiLevelLogitDistillation: false
        default: true
        }
    }

    /// What the kernel is told of a method beside its weights.
    struct Temperatures {
        /// T; nil for a method without one.
        let distillation: Double?
        /// a; T where the method has no own.
        let confidence: Double
        let standardize: Bool

        init(_ method: Method) {
            distillation = method.value(of: .temperature)
            confidence = method.value(of: .confidenceTemperature) ?? distillation ?? 1
            standardize = method.value(of: .standardize) == 1
        }
    }

    /// What kernels take as constants, which spares their inner loops branches: the temperatures of all the authors' recipes and few
    /// others, so that programs are few.
    private struct Constants: Equatable {
        let temperature: Int
        let confidence: Int
        let standardize: Bool

        init?(_ temperatures: Temperatures) {
            let (t, a) = (temperatures.distillation, temperatures.confidence)
            guard let t, [1, 2, 4].contains(t), a == 1 || a == t else { return nil }
            (temperature, confidence, standardize) = (Int(t), Int(a), temperatures.standardize)
        }

        var defines: [(String, String)] {
            [
                ("LOSS_TEMPERATURE", "\(temperature).0f"), ("LOSS_CONFIDENCE", "\(confidence).0f"),
                ("LOSS_STANDARDIZE", standardize ? "1u" : "0u"),
            ]
        }
    }

    /// How a cpu work-item keeps a row. Up to 8,192 classes it is one block in private memory, exponentials included, and is read once.
    /// - Parameter anyLength: whether private memory is a thread's stack: then up to 163,840 classes, 1.3 MB, if stacks are as large
    ///   as usual.
    private static func blocks(_ classes: Int, anyLength: Bool) -> [(String, String)] {
        guard let size = [8192, 32768, 65536, 163_840].first(where: { classes <= $0 }) else { return [] }
        let alone = ("ROW_ONE_BLOCK", "1")
        guard size > 8192 else { return [alone] }
        var limit = rlimit()
        let known = getrlimit(__rlimit_resource_t(RLIMIT_STACK.rawValue), &limit) == 0
        return anyLength && known && limit.rlim_cur >= 4 << 20 ? [("ROW_WHOLE", "\(size)"), alone] : []
    }

    private static func function(of method: Method) -> (file: String, function: String) {
        switch method {
        case .crossEntropy: ("cross_entropy.cl", "cross_entropy_rows_fused")
        case .knowledgeDistillation: ("knowledge_distillation.cl", "knowledge_distillation_rows_fused")
        case .decoupledKnowledgeDistillation: ("dkd.cl", "dkd_rows_fused")
        case .labelAugment: ("label_augment.cl", "label_augment_rows_fused")
        case .reviewCorrection: ("review_correction.cl", "review_correction_rows_fused")
        case .labelRevision: ("label_revision.cl", "label_revision_rows_fused")
        case .refinedLogitDistillation: ("rld_loss.cl", "rld_loss_rows_fused")
        case .multiLevelLogitDistillation: ("mlkd.cl", "mlkd_rows_fused")
        }
    }
}

extension Device {
    /// Work-items that run in lockstep on a GPU: 64 on AMD's, as few as any vendor's elsewhere.
    fileprivate var lockstepItems: Int { vendor.contains("Advanced Micro Devices") ? 64 : 32 }
}
