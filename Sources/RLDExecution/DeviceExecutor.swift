import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Trains on an OpenCL device. A step enqueues and returns: losses and counters stay on the device until `takeMetrics`.
/// Owned by one task, like the queue that it holds.
public final class DeviceExecutor: NetworkExecutor {
    package let engine: DeviceEngine
    private let accumulator: LossAccumulator
    private var losses: [LossKey: FusedLoss] = [:]
    private var tables: [String: DeviceImageTable] = [:]
    private var batches: [BatchKey: BatchBuffers] = [:]
    /// By number of values.
    private var knownLogits: [Int: Buffer] = [:]
    /// Of all plans: one runs at a time.
    private let planMemory: PlanMemory
    private var student: DeviceNetwork?
    private var teacher: DeviceNetwork?
    /// Training steps since a network was prepared: after the second nothing may be built any more (RLD_ASSERT_COMPILE).
    private var steps = 0
    /// The method whose terms the accumulator holds; evaluation counts as cross-entropy.
    private var accumulated: Method?

    private struct BatchKey: Hashable {
        let batch: Int
        let shape: [Int]
    }

    private struct LossKey: Hashable {
        let method: String
        let rows: Int
        let classes: Int
    }

    /// - Parameter profile: which kernels to use; those for the device's kind if nil.
    public convenience init(_ device: Device, profile: KernelProfile? = nil) throws(DeviceError) {
        try self.init(engine: DeviceEngine(device, profile: profile))
    }

    package init(engine: DeviceEngine) throws(DeviceError) {
        self.engine = engine
        accumulator = try LossAccumulator(on: engine.queue, context: engine.context)
        planMemory = PlanMemory(engine)
    }

    public var executorDescription: String { "\(engine.device), \(engine.profile.rawValue) kernels" }

    public func load(_ images: ImageTable, as name: String) throws {
        tables[name] = nil
        tables[name] = try DeviceImageTable(images, name: name, engine: engine)
    }

    public func prepareStudent(_ network: Network, state: NetworkState) throws {
        student = try prepare(network, state: state, role: .student, replacing: student)
        try accumulator.reset(on: engine.queue)
        accumulated = nil
    }

    public func prepareTeacher(_ network: Network, state: NetworkState) throws {
        teacher = try prepare(network, state: state, role: .teacher, replacing: teacher)
    }

    /// The same network again keeps its plans and gets new weights.
    private func prepare(
        _ network: Network, state: NetworkState, role: DeviceNetwork.Role, replacing current: DeviceNetwork?
    ) throws -> DeviceNetwork {
        steps = 0
        engine.context.counters.markSteadyState(false)
        if let current, current.original == network {
            try current.load(state)
            return current
        }
        return try DeviceNetwork(network, state: state, role: role, engine: engine, memory: planMemory)
    }

    public func prepareSteps(training: [Int], evaluation: [Int], method: Method) throws {
        let student = try prepared(student, "student")
        let classes = student.network.classes
        for size in Set(training) {
            let images = try buffers(size, for: student).images
            if method.needsTeacher, let teacher { try teacher.announce(batch: size, mode: .inference, input: images) }
            try student.announce(batch: size, mode: .training, input: images)
        }
        for size in Set(evaluation) {
            try student.announce(batch: size, mode: .inference, input: try buffers(size, for: student).images)
        }
        defer { planMemory.forgetAnnounced() }
        for size in Set(training).sorted(by: >) {
            let images = try buffers(size, for: student).images
            if method.needsTeacher, teacher != nil { _ = try teacherPlan(size, for: student, input: images) }
            _ = try student.plan(batch: size, mode: .training, input: images)
            _ = try preparedLoss(method, rows: size, classes: classes)
        }
        for size in Set(evaluation).sorted(by: >) {
            _ = try student.plan(batch: size, mode: .inference, input: try buffers(size, for: student).images)
            _ = try preparedLoss(.crossEntropy(CrossEntropy()), rows: size, classes: classes)
        }
    }

    public func prepareUpdates(_ rule: UpdateRule) throws {
        try prepared(student, "student").store.prepareUpdates(rule)
        _ = try engine.programs.kernel("soft_targets.cl", "soft_targets")
    }

    public func exchangeWithAverage() throws { try prepared(student, "student").store.exchangeWithAverage() }

    public func trainStep(_ selection: BatchSelection, method: Method, warmup: Double, update: ParameterUpdate) throws {
        let student = try prepared(student, "student")
        let batch = try gather(selection, for: student)
        // Logits that are known already spare the teacher.
        let known = try selection.teacherLogits.map {
            try upload($0, rows: selection.indices.count, classes: student.network.classes)
        }
        for part in StepPart.allCases where part != .teacherForward || known == nil {
            try enqueue(
                part, batch: batch, method: method, warmup: warmup, update: update, softTargets: SoftTargets(selection),
                teacherLogits: known)
        }
        steps += 1
        if steps == 2 { engine.context.counters.markSteadyState() }
        try engine.queue.flush()
    }

    /// What a training step consists of once its batch is there, in order.
    package enum StepPart: CaseIterable, Sendable {
        case teacherForward, studentForward, loss, backward, update
    }

    /// Enqueues one part of a step alone, on whatever the parts before it left: for benchmarks.
    package func enqueue(_ part: StepPart, batch: Int, method: Method, update: ParameterUpdate) throws {
        let buffers = try buffers(batch, for: prepared(student, "student"))
        try enqueue(
            part, batch: buffers, method: method, warmup: 1, update: update, softTargets: nil,
            teacherLogits: nil)
    }

    private func enqueue(
        _ part: StepPart, batch: BatchBuffers, method: Method, warmup: Double, update: ParameterUpdate, softTargets: SoftTargets?,
        teacherLogits: DeviceSlice?
    ) throws {
        let student = try prepared(student, "student")
        let teacherPlan =
            method.needsTeacher && teacherLogits == nil ? try teacherPlan(batch.batch, for: student, input: batch.images) : nil
        let plan = try student.plan(batch: batch.batch, mode: .training, input: batch.images)
        switch part {
        case .teacherForward: try teacherPlan?.forward()
        case .studentForward: try plan.forward()
        case .loss:
            try enqueueLoss(
                method, warmup: warmup, student: plan.output, teacher: teacherLogits ?? teacherPlan?.output, labels: batch.labels,
                gradient: plan.outputGradient, rows: batch.batch, classes: student.network.classes, softTargets: softTargets)
        case .backward: try plan.backward()
        case .update: try student.store.apply(update)
        }
    }

    public func teacherLogits(_ selection: BatchSelection) throws -> [Float] {
        let student = try prepared(student, "student")
        let batch = try gather(selection, for: student)
        let plan = try teacherPlan(selection.indices.count, for: student, input: batch.images)
        try plan.forward()
        return try engine.queue.read(Float.self, from: plan.output.buffer, at: plan.output.offset, count: plan.output.count)
    }

    /// Logits that are known already, on the device.
    private func upload(_ logits: [Float], rows: Int, classes: Int) throws -> DeviceSlice {
        guard logits.count == rows * classes else {
            throw InputError("teacher logits", "are \(logits.count) values for \(rows) rows of \(classes) classes")
        }
        let buffer: Buffer
        if let known = knownLogits[logits.count] {
            buffer = known
        } else {
            buffer = try engine.makeBuffer(logits.count, label: "known teacher logits")
            knownLogits[logits.count] = buffer
        }
        try engine.queue.write(logits, to: buffer)
        return DeviceSlice(buffer)
    }

    public func evaluateStep(_ selection: BatchSelection) throws {
        let student = try prepared(student, "student")
        let batch = try gather(selection, for: student)
        let plan = try student.plan(batch: selection.indices.count, mode: .inference, input: batch.images)
        try plan.forward()
        try enqueueLoss(
            .crossEntropy(CrossEntropy()), warmup: 1, student: plan.output, teacher: nil, labels: batch.labels, gradient: nil,
            rows: selection.indices.count, classes: student.network.classes)
        try engine.queue.flush()
    }

    public func lastEvaluated(rows: Int) throws -> [Bool] {
        let classes = try prepared(student, "student").network.classes
        let loss = try preparedLoss(.crossEntropy(CrossEntropy()), rows: rows, classes: classes)
        return try loss.correctRows(rows, on: engine.queue)
    }

    public func takeMetrics() throws -> StepMetrics {
        try takeTotals().metrics
    }

    public func studentState() throws -> NetworkState { try prepared(student, "student").store.state() }

    public func trainingState() throws -> TrainingState {
        let store = try prepared(student, "student").store
        return TrainingState(weights: try store.state(), slots: try store.optimizerSlots())
    }

    public func restore(_ state: TrainingState) throws {
        let student = try prepared(student, "student")
        try student.load(state.weights)
        try student.store.loadOptimizerSlots(state.slots)
        _ = try takeTotals()
    }

    public func studentLogits(_ images: Tensor) throws -> Tensor {
        let student = try prepared(student, "student")
        let batch = try batchSize(images, for: student)
        let plan = try student.plan(batch: batch, mode: .inference)
        try plan.write(images.values)
        try plan.forward()
        return Tensor(shape: [batch, student.network.classes], values: try engine.read(plan.output))
    }

    public func studentFeatures(_ images: Tensor, named names: [String]) throws -> [String: Tensor] {
        let student = try prepared(student, "student")
        let batch = try batchSize(images, for: student)
        let plan = try student.inspectionPlan(batch: batch, features: names)
        try plan.write(images.values)
        try plan.forward()
        return try plan.network.features(named: names).mapValues { node in
            Tensor(shape: [batch] + plan.network.nodes[node].shape, values: try plan.value(of: node))
        }
    }

    public var plannedBytes: Int? { engine.context.counters.allocatedBytes }

    // MARK: -

    /// Waits, returns what was added up, and starts again from zero.
    private func takeTotals() throws(DeviceError) -> LossTotals {
        let totals = try accumulator.read(accumulated, on: engine.queue)
        try accumulator.reset(on: engine.queue)
        accumulated = nil
        return totals
    }

    private func batchSize(_ images: Tensor, for network: DeviceNetwork) throws(InputError) -> Int {
        let batch = images.shape.first ?? 0
        guard images.shape == [batch] + network.network.inputShape, batch > 0 else {
            throw InputError("images", "have shape \(images.shape), the network takes [N] + \(network.network.inputShape)")
        }
        return batch
    }

    private func prepared(_ network: DeviceNetwork?, _ role: String) throws(InputError) -> DeviceNetwork {
        guard let network else { throw InputError(role, "is not prepared", advice: "prepare it before the first step") }
        return network
    }

    private func gather(_ selection: BatchSelection, for network: DeviceNetwork) throws -> BatchBuffers {
        guard let table = tables[selection.table] else {
            throw InputError.unknown("image table", selection.table, known: tables.keys.sorted())
        }
        guard !selection.indices.isEmpty else { throw InputError("batch", "has no images") }
        let buffers = try buffers(selection.indices.count, for: network)
        try buffers.gather(selection, from: table)
        return buffers
    }

    private func buffers(_ batch: Int, for network: DeviceNetwork) throws -> BatchBuffers {
        let key = BatchKey(batch: batch, shape: network.network.inputShape)
        if let buffers = batches[key] { return buffers }
        let buffers = try BatchBuffers(batch: key.batch, shape: key.shape, engine: engine)
        batches[key] = buffers
        return buffers
    }

    private func teacherPlan(_ batch: Int, for student: DeviceNetwork, input: DeviceSlice) throws -> NetworkPlan {
        let teacher = try prepared(teacher, "teacher")
        let (own, its) = (student.network, teacher.network)
        guard its.inputShape == own.inputShape, its.classes == own.classes else {
            throw InputError(
                "teacher \(its.id)",
                "maps \(its.inputShape) to \(its.classes) classes, the student \(own.inputShape) to \(own.classes)",
                advice: "both need the same input and classes")
        }
        return try teacher.plan(batch: batch, mode: .inference, input: input)
    }

    private func preparedLoss(_ method: Method, rows: Int, classes: Int) throws -> FusedLoss {
        let key = LossKey(method: method.id, rows: rows, classes: classes)
        let loss =
            try losses[key]
            ?? FusedLoss(
                method, rows: rows, classes: classes, programs: engine.programs, profile: engine.profile,
                products: engine.products)
        losses[key] = loss
        return loss
    }

    private func enqueueLoss(
        _ method: Method, warmup: Double, student: DeviceSlice, teacher: DeviceSlice?, labels: Buffer, gradient: DeviceSlice?,
        rows: Int, classes: Int, softTargets: SoftTargets? = nil
    ) throws {
        if let accumulated, accumulated.id != method.id {
            throw InputError("metrics", "of \(accumulated.id) have not been taken", advice: "call takeMetrics between methods")
        }
        accumulated = method
        let loss = try preparedLoss(method, rows: rows, classes: classes)
        try loss.enqueue(
            method, warmup: warmup, student: student, teacher: teacher, labels: DeviceSlice(labels), gradient: gradient,
            softTargets: softTargets, into: accumulator, on: engine.queue)
    }
}
