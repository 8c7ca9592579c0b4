import OpenCLRuntime
import RLDMethods

/// The kernel that computes the rows of a method's loss: which program, with which constants.
final class LossRowKernel {
    let layout: LossRowLayout

    private let file: String
    private let function: String
    private let programs: ProgramCache
    private let variant: [(String, String)]
    private var kernel: Kernel
    /// Adds a batch up in a launch of one work-item, where no row has a scale; nil where only a work-group can.
    let addsRows: Kernel?
    /// Whether `kernel` reads four classes at once.
    private var readsQuads: Bool
    private var constants: Constants?
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
        let (file, function) = Self.function(of: method)
        let temperatures = Temperatures(method)
        func build(_ items: Int?) throws(DeviceError) -> (LossRowLayout, Constants?, Kernel) {
            let layout = LossRowLayout(
                method, classes: classes, profile: profile, device: programs.context.device, items: items)
            let constants = layout.takesConstants ? Constants(temperatures) : nil
            let kernel = try Self.kernel(programs, file, function, layout, variant, constants, quads: layout.inQuads)
            return (layout, constants, kernel)
        }
        var built = try build(localSize)
        // A kernel may have too many registers for what its device allows others.
        if built.2.maxWorkGroupSize < built.0.items { built = try build(max(1, built.2.maxWorkGroupSize)) }
        (layout, constants, kernel) = built
        addsRows =
            layout.finishes
            ? try Self.kernel(programs, file, "loss_add_rows_alone", layout, variant, constants, quads: false) : nil
        readsQuads = layout.inQuads
        (self.file, self.function, self.programs, self.variant) = (file, function, programs, variant)
        (self.method, self.temperatures) = (method, temperatures)
    }

    private static func kernel(
        _ programs: ProgramCache, _ file: String, _ function: String, _ layout: LossRowLayout, _ variant: [(String, String)],
        _ constants: Constants?, quads: Bool
    ) throws(DeviceError) -> Kernel {
        try programs.kernel(
            file, function,
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
            kernel = try Self.kernel(programs, file, function, layout, variant, wanted, quads: quads)
        }
        (constants, temperatures, self.method, readsQuads) = (wanted, found, method, quads)
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
