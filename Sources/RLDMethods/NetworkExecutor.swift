import RLDGraph

/// Which images go into one step and how they are transformed.
public struct BatchSelection: Sendable, Equatable {
    /// The name under which the table was loaded.
    public var table: String
    /// Rows of the table, in batch order; their number is the batch size.
    public var indices: [Int]
    public var transform: ImageTransform
    /// Seed and epoch of the transform's random part.
    public var seed: UInt64
    public var epoch: Int
    /// Share of each target that is spread evenly over the classes (torch.nn.CrossEntropyLoss's label_smoothing). Concerns the
    /// cross-entropy with the label; methods that have none leave it out.
    public var labelSmoothing = 0.0
    /// Every image is mixed with another one of the batch.
    public var mixing: BatchMixing?
    /// By index of the teacher its logits for the images as they are transformed, [rows, classes], where they are known already.
    public var teacherLogits: [Int: [Float]] = [:]
    /// The images of the batch as they are stored, in batch order: needed where the table is staged, not looked at elsewhere.
    public var pixels: [UInt8]?

    public init(table: String, indices: [Int], transform: ImageTransform, seed: UInt64 = 0, epoch: Int = 0) {
        self.table = table
        self.indices = indices
        self.transform = transform
        self.seed = seed
        self.epoch = epoch
    }
}

extension BatchSelection {
    /// The batch's own pixels.
    /// - Throws: when there are none, or not one image per index.
    package func stagedPixels(imageSize: Int) throws(InputError) -> [UInt8] {
        guard let pixels, pixels.count == indices.count * imageSize else {
            throw InputError(
                "batch of '\(table)'", "brings \(pixels?.count ?? 0) bytes of pixels, needed are \(indices.count * imageSize)")
        }
        return pixels
    }
}

/// What the steps since the last `takeMetrics` added up to.
public struct StepMetrics: Sendable, Equatable {
    /// Rows that went through.
    public var rows: Int
    /// Of each unweighted term its mean over a batch times the batch's rows, summed, in the order of the objective's `termNames`.
    public var termSums: [Double]
    /// The same of the weighted total.
    public var totalSum: Double
    /// Rows whose label is the student's first largest logit.
    public var top1: Int
    /// Rows whose label is among the student's five largest logits.
    public var top5: Int

    public init(rows: Int = 0, termSums: [Double] = [], totalSum: Double = 0, top1: Int = 0, top5: Int = 0) {
        self.rows = rows
        self.termSums = termSums
        self.totalSum = totalSum
        self.top1 = top1
        self.top5 = top5
    }

    public var loss: Double { rows > 0 ? totalSum / Double(rows) : 0 }
    public var accuracy: Double { rows > 0 ? Double(top1) / Double(rows) : 0 }

    /// Share of rows whose label is among the student's five largest logits.
    public var top5Share: Double { rows > 0 ? Double(top5) / Double(rows) : 0 }

    /// The sums over both; terms of one side alone stay as they are.
    package static func + (a: StepMetrics, b: StepMetrics) -> StepMetrics {
        let terms = a.termSums.isEmpty ? b.termSums : b.termSums.isEmpty ? a.termSums : zip(a.termSums, b.termSums).map(+)
        return StepMetrics(
            rows: a.rows + b.rows, termSums: terms, totalSum: a.totalSum + b.totalSum, top1: a.top1 + b.top1,
            top5: a.top5 + b.top5)
    }
}

/// What runs a student and, for distillation, frozen teachers: the reference (Double, on the host) or an OpenCL device.
/// The trainer knows nothing else. Calls come from one task; steps may be asynchronous until a call that returns values.
public protocol NetworkExecutor: AnyObject {
    /// What computes, for logs ("PoCL: cpu ...", "reference (Double, host)").
    var executorDescription: String { get }

    /// Of the products of convolutions and linear layers; float32 where an executor does not say.
    var precision: Precision { get }

    /// Of the activations of teachers; float32 where an executor does not say.
    var teacherStorage: TeacherStorage { get }

    /// Bytes of the largest table of images that it holds; nil for as many as the host does.
    var residentImageBytes: Int? { get }

    /// Takes in a table of images under a name; a table of the same name is replaced.
    /// - Parameter staged: without its pixels: each batch brings its own (`BatchSelection.pixels`).
    func load(_ images: ImageTable, as name: String, staged: Bool) throws

    /// Makes a student ready to train. Momentum starts empty.
    func prepareStudent(_ network: Network, state: NetworkState) throws

    /// Makes a frozen teacher ready (batch norm folded); it replaces an earlier one of the same index.
    func prepareTeacher(_ network: Network, state: NetworkState, at index: Int) throws

    /// Plans the steps to come, so that what does not fit is said before anything is written and no later step allocates.
    /// - Parameters:
    ///   - training: batch sizes of training steps; evaluation: of evaluation steps.
    /// - Throws: an error that names the batch that would fit, if memory does not suffice.
    func prepareSteps(training: [Int], evaluation: [Int], objective: Objective) throws

    /// Makes what an update rule needs, so that no later step allocates. A moving average begins with the weights as they are.
    func prepareUpdates(_ rule: UpdateRule) throws

    /// One training step: batch, forward of the teachers that the objective needs, student forward, loss, backward, and what
    /// the update says about gradient and parameters.
    func trainStep(_ batch: BatchSelection, objective: Objective, update: ParameterUpdate) throws

    /// One training step with a loss of one's own; waits for the logits, and adds nothing to the metrics.
    /// - Parameter gradient: gets the student's logits in training mode, [rows, classes], and the rows' labels; returns
    ///   d loss / d logits, of the same shape.
    func trainStep(_ batch: BatchSelection, update: ParameterUpdate, gradient: (Tensor, [Int32]) throws -> Tensor) throws

    /// Exchanges the student's weights with their moving average; again to undo it. Does nothing without an average.
    func exchangeWithAverage() throws

    /// A teacher's logits for one batch, [rows, classes]; waits.
    func teacherLogits(_ batch: BatchSelection, of index: Int) throws -> [Float]

    /// The student's logits in evaluation mode for one batch, [rows, classes]; waits.
    func studentLogits(_ batch: BatchSelection) throws -> [Float]

    /// The student in evaluation mode on one batch, added to the metrics: cross-entropy and correctness.
    func evaluateStep(_ batch: BatchSelection) throws

    /// Waits, and returns for each row of the last `evaluateStep` whether its label is the student's first largest logit.
    /// - Parameter rows: how many it had.
    func lastEvaluated(rows: Int) throws -> [Bool]

    /// Waits for all steps, returns what they added up to and starts again from zero.
    func takeMetrics() throws -> StepMetrics

    /// The student's state dict, as it is after all steps so far.
    func studentState() throws -> NetworkState

    /// The student with all that its optimiser remembers, exactly, as it is after all steps so far.
    func trainingState() throws -> TrainingState

    /// Puts back what `trainingState` gave; steps after it do what they would have done then. The student must be prepared.
    func restore(_ state: TrainingState) throws

    /// The student's logits in evaluation mode for images that are already normalised.
    /// - Parameter images: [N, C, H, W]. - Returns: [N, classes].
    func studentLogits(_ images: Tensor) throws -> Tensor

    /// Named intermediate values of the student in evaluation mode (`Network.features`), for images that are already normalised.
    /// - Parameter images: [N, C, H, W]. - Returns: by name, [N] + the feature's shape.
    /// - Throws: an error that suggests the nearest name for one that the network does not have.
    func studentFeatures(_ images: Tensor, named names: [String]) throws -> [String: Tensor]

    /// Bytes that weights, images and plans so far hold on a device (steps allocate nothing); nil for an executor without plans.
    var plannedBytes: Int? { get }

    /// A method's loss on given logits.
    /// - Parameters:
    ///   - student: [rows, classes]; teacher the same, needed if `method.needsTeacher`.
    ///   - labels: one per row.
    /// - Throws: what `LossInputs.check` throws. An infinite loss is no error: the student excludes (-infinity) a class that
    ///   the target needs.
    func loss(
        _ method: Method, student: Tensor, teacher: Tensor?, labels: [Int32], settings: LossSettings
    ) throws -> LossReport
}

extension NetworkExecutor {
    /// The loss with the warm-up over, every row counting the same.
    public func loss(_ method: Method, student: Tensor, teacher: Tensor?, labels: [Int32]) throws -> LossReport {
        try loss(method, student: student, teacher: teacher, labels: labels, settings: LossSettings())
    }
}

/// One method, one teacher.
extension NetworkExecutor {
    public func prepareTeacher(_ network: Network, state: NetworkState) throws {
        try prepareTeacher(network, state: state, at: 0)
    }

    public func prepareSteps(training: [Int], evaluation: [Int], method: Method) throws {
        try prepareSteps(training: training, evaluation: evaluation, objective: Objective(method))
    }

    public func teacherLogits(_ batch: BatchSelection) throws -> [Float] { try teacherLogits(batch, of: 0) }

    /// - Parameter warmup: factor of the distillation terms (`Method.warmup(epoch:)`).
    public func trainStep(_ batch: BatchSelection, method: Method, warmup: Double, update: ParameterUpdate) throws {
        try trainStep(batch, objective: Objective(method, warmup: warmup), update: update)
    }

    /// One training step with plain SGD.
    public func trainStep(_ batch: BatchSelection, method: Method, warmup: Double, optimizer: SGD) throws {
        try trainStep(batch, method: method, warmup: warmup, update: ParameterUpdate(UpdateRule(.sgd(optimizer)), number: 1))
    }
}

extension NetworkExecutor {
    public func load(_ images: ImageTable, as name: String) throws { try load(images, as: name, staged: false) }

    public var residentImageBytes: Int? { nil }

    /// Whether it cannot hold a table's images, so that they have to come batch by batch.
    public func mustStage(_ table: ImageTable) -> Bool {
        table.stream != nil || table.bytes > residentImageBytes ?? .max
    }

    public var precision: Precision { .float32 }

    public var teacherStorage: TeacherStorage { .float32 }

    public var plannedBytes: Int? { nil }

    public func trainStep(
        _ batch: BatchSelection, update: ParameterUpdate, gradient: (Tensor, [Int32]) throws -> Tensor
    ) throws {
        throw InputError("step", "with a loss of one's own is not taken by \(executorDescription)")
    }

    public func studentLogits(_ batch: BatchSelection) throws -> [Float] {
        throw InputError("logits of a batch", "cannot be read from \(executorDescription)")
    }

    public func studentFeatures(_ images: Tensor, named names: [String]) throws -> [String: Tensor] {
        throw InputError("features", "cannot be read from \(executorDescription)")
    }
}
