import OpenCLRuntime
import RLDMethods

/// The kernel that computes the rows of a method's loss: which program, with which constants.
final class LossRowKernel {
    let layout: LossRowLayout
    /// nil for a kernel with arguments of its own.
    var kinds: Kinds? { source.kinds }

    private let source: Source
    private let programs: ProgramCache
    private let variant: [(String, String)]
    private var kernel: Kernel
    /// Adds a batch up in a launch of one work-item, where no row has a scale; nil where only a work-group can.
    let addsRows: Kernel?
    /// Whether `kernel` reads four classes at once.
    private var readsQuads: Bool
    private var constants: Constants?
    private var onCallingThread: (kernel: Kernel, constants: Constants?)?
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
        let source = Self.source(of: method)
        let temperatures = Temperatures(method)
        func build(_ items: Int?) throws(DeviceError) -> (LossRowLayout, Constants?, Kernel) {
            let layout = LossRowLayout(
                method, kinds: source.kinds, classes: classes, profile: profile, device: programs.context.device, items: items)
            let constants = layout.takesConstants ? Constants(temperatures) : nil
            let kernel = try Self.kernel(programs, source, layout, variant, constants, quads: layout.inQuads)
            return (layout, constants, kernel)
        }
        var built = try build(localSize)
        // A kernel may have too many registers for what its device allows others.
        if built.2.maxWorkGroupSize < built.0.items { built = try build(max(1, built.2.maxWorkGroupSize)) }
        (layout, constants, kernel) = built
        addsRows =
            layout.finishes
            ? try Self.kernel(
                programs, Source(file: source.file, function: "loss_add_rows_alone", kinds: nil), layout, variant, constants,
                quads: false) : nil
        readsQuads = layout.inQuads
        (self.source, self.programs, self.variant) = (source, programs, variant)
        (self.method, self.temperatures) = (method, temperatures)
    }

    private static func kernel(
        _ programs: ProgramCache, _ source: Source, _ layout: LossRowLayout, _ variant: [(String, String)],
        _ constants: Constants?, quads: Bool
    ) throws(DeviceError) -> Kernel {
        try programs.kernel(
            source.file, source.function,
            defines: layout.defines + variant + (constants?.defines ?? []) + (quads ? LossRowLayout.quads : []),
            options: layout.options)
    }

    /// The kernel for a method of the same id. One with other temperatures than before may need a program of its own, which is
    /// built at the first time.
    /// - Parameter offsets: of what it reads and writes row by row, in elements.
    func prepared(for method: Method, offsets: Int...) throws(DeviceError) -> Kernel {
        let quads = layout.inQuads && offsets.allSatisfy { $0 % 4 == 0 }
        // Looking options up takes longer than comparing, and every step comes here with the same.
        guard method != self.method || quads != readsQuads else { return kernel }
        let found = Temperatures(method)
        let wanted = layout.takesConstants ? Constants(found) : nil
        if wanted != constants || quads != readsQuads {
            kernel = try Self.kernel(programs, source, layout, variant, wanted, quads: quads)
        }
        (constants, temperatures, self.method, readsQuads) = (wanted, found, method, quads)
        return kernel
    }

    /// The same for the device's calling thread (`CommandQueue.runNow`), built at the first request.
    func preparedOnCallingThread(for method: Method) throws(DeviceError) -> Kernel {
        _ = try prepared(for: method)
        if let onCallingThread, onCallingThread.constants == constants { return onCallingThread.kernel }
        let kernel = try programs.kernelOnCallingThread(
            source.file, source.function, defines: layout.defines + variant + (constants?.defines ?? []), options: layout.options)
        onCallingThread = (kernel, constants)
        return kernel
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

    /// Where a method's kernel is, and what it takes.
    struct Source {
        let file: String
        let function: String
        let kinds: Kinds?
    }

    /// Which of a method's terms `kernels/common/logit_loss.clh` computes as what, by their indices in `Method.termNames`; a kernel without
    /// them takes arguments of its own (`FusedLoss+Rows.swift`).
    struct Kinds {
        var crossEntropy: Int?
        /// Of the label against the rest, or towards the student's own logits.
        var pair: Int?
        /// Over a set of classes.
        var set: Int?
    }

    private static func source(of method: Method) -> Source {
        func shared(_ file: String, _ function: String, ce: Int? = nil, pair: Int? = nil, set: Int? = nil) -> Source {
            Source(file: file, function: function, kinds: Kinds(crossEntropy: ce, pair: pair, set: set))
        }
        return switch method {
        case .crossEntropy: shared("cross_entropy.cl", "cross_entropy_rows_fused", ce: 0)
        case .knowledgeDistillation:
            shared("knowledge_distillation.cl", "knowledge_distillation_rows_fused", ce: 0, set: 1)
        case .decoupledKnowledgeDistillation: shared("dkd.cl", "dkd_rows_fused", ce: 0, pair: 1, set: 2)
        case .labelAugment: shared("label_augment.cl", "label_augment_rows_fused", set: 0)
        case .reviewCorrection: shared("review_correction.cl", "review_correction_rows_fused", ce: 0, pair: 2, set: 1)
        case .refinedLogitDistillation: shared("rld_loss.cl", "rld_loss_rows_fused", ce: 0, pair: 1, set: 2)
        case .labelRevision: Source(file: "label_revision.cl", function: "label_revision_rows_fused", kinds: nil)
        case .multiLevelLogitDistillation: Source(file: "mlkd.cl", function: "mlkd_rows_fused", kinds: nil)
        }
    }
}
