import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Trains on an OpenCL device. A step enqueues and returns: losses and counters stay on the device until `takeMetrics`.
/// Owned by one task, like the queue that it holds.
public final class DeviceExecutor: NetworkExecutor {
    package let engine: DeviceEngine
    private let losses: ObjectiveLoss
    private var tables: [String: DeviceImageTable] = [:]
    private var batches: [BatchKey: BatchBuffers] = [:]
    private var knownLogits: [KnownKey: Buffer] = [:]
    /// Of all plans: one runs at a time.
    private let planMemory: PlanMemory
    private var student: DeviceNetwork?
    private var teachers: [Int: DeviceNetwork] = [:]
    /// Training steps since a network was prepared: after the second nothing may be built any more (RLD_ASSERT_COMPILE).
    private var steps = 0
    /// Sees the steps from inside; nil in ordinary training.
    package var watcher: (any StepWatcher)?

    private struct BatchKey: Hashable {
        let batch: Int
        let shape: [Int]
    }

    private struct KnownKey: Hashable {
        let teacher: Int
        let count: Int
    }

    /// - Parameters:
    ///   - profile: which kernels to use; those for the device's kind if nil.
    ///   - precision: of the products of convolutions and linear layers.
    ///   - teacherStorage: of the activations of teachers.
    /// - Throws: `DeviceError`: `.unsupported` or `.wrongResult` if the device does not have the precision.
    public convenience init(
        _ device: Device, profile: KernelProfile? = nil, precision: Precision = .float32,
        teacherStorage: TeacherStorage = .float32
    ) throws {
        try self.init(
            engine: DeviceEngine(device, profile: profile, precision: precision), teacherStorage: teacherStorage)
    }

    /// - Throws: `.wrongResult` if the engine is for tf32 and the device does not give what tf32 does.
    package init(engine: DeviceEngine, teacherStorage: TeacherStorage = .float32) throws {
        self.engine = engine
        self.teacherStorage = teacherStorage
        losses = try ObjectiveLoss(engine: engine)
        planMemory = PlanMemory(engine)
        if engine.precision == .tf32 { try TileProductCheck.verify(engine) }
    }

    /// What it computes on.
    public var device: Device { engine.device }

    /// The choices among kernels that it computes with.
    public var tuning: ChosenTuning { engine.tuning }

    public var precision: Precision { engine.precision }
    public let teacherStorage: TeacherStorage

    public var executorDescription: String {
        "\(engine.device), \(engine.profile.rawValue) kernels, tuning \(tuning.tuning.hash)"
            + (precision == .float32 ? "" : ", \(precision.rawValue) products")
            + (teacherStorage == .float32 ? "" : ", teachers in \(teacherStorage.rawValue)")
            + (watcher == nil ? "" : ", validated")
    }

    /// A quarter of the memory, since there are two tables and a network, and what fits in one buffer.
    public var residentImageBytes: Int? { min(engine.allocationLimit, engine.memoryLimit / 4) }

    public func load(_ images: ImageTable, as name: String, staged: Bool) throws {
        try ExecutorInputs.check(images, name: name, staged: staged)
        tables[name] = nil
        tables[name] = try DeviceImageTable(images, name: name, staged: staged, engine: engine)
        try watcher?.loads(images, as: name, staged: staged)
    }

    public func prepareStudent(_ network: Network, state: NetworkState) throws {
        student = try prepare(network, state: state, role: .student, replacing: student)
        try losses.reset()
    }

    public func prepareTeacher(_ network: Network, state: NetworkState, at index: Int) throws {
        teachers[index] = try prepare(network, state: state, role: .teacher, replacing: teachers[index])
        watcher?.preparesTeacher(network, state: state, at: index)
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
        return try DeviceNetwork(
            network, state: state, role: role, engine: engine, memory: planMemory, storage: teacherStorage)
    }

    public func prepareSteps(training: [Int], evaluation: [Int], objective: Objective) throws {
        for part in objective.components { try LossInputs.check(float32: part.method) }
        let student = try preparedStudent
        let classes = student.network.classes
        for table in tables.values { try table.reserve(images: (training + evaluation).max() ?? 0) }
        for size in Set(training) {
            let images = try buffers(size, for: student).images
            for index in objective.teachers {
                try teachers[index]?.announce(batch: size, mode: .inference, input: images)
            }
            try student.announce(batch: size, mode: .training, input: images)
        }
        for size in Set(evaluation) {
            try student.announce(batch: size, mode: .inference, input: try buffers(size, for: student).images)
        }
        defer { planMemory.forgetAnnounced() }
        for size in Set(training).sorted(by: >) {
            let images = try buffers(size, for: student).images
            for index in objective.teachers {
                // Which of the two a step needs, its batch tells.
                if teachers[index] != nil { _ = try teacherPlan(index, size, for: student, input: images) }
                _ = try knownLogits(of: index, count: size * classes)
            }
            _ = try student.plan(batch: size, mode: .training, input: images)
            try losses.prepare(objective, rows: size, classes: classes)
        }
        for size in Set(evaluation).sorted(by: >) {
            _ = try student.plan(batch: size, mode: .inference, input: try buffers(size, for: student).images)
            try losses.prepare(Objective(.crossEntropy(CrossEntropy())), rows: size, classes: classes)
        }
    }

    public func prepareUpdates(_ rule: UpdateRule) throws {
        try preparedStudent.store.prepareUpdates(rule)
    }

    public func exchangeWithAverage() throws { try preparedStudent.store.exchangeWithAverage() }

    public func trainStep(_ selection: BatchSelection, objective: Objective, update: ParameterUpdate) throws {
        let student = try preparedStudent
        let batch = try gather(selection, for: student)
        try watcher?.gathered(selection, in: batch, engine: engine)
        // Logits that are known already spare the teacher.
        var known: [Int: DeviceSlice] = [:]
        for index in objective.teachers {
            guard let logits = selection.teacherLogits[index] else { continue }
            known[index] = try upload(logits, of: index, rows: selection.indices.count, classes: student.network.classes)
        }
        for part in StepPart.allCases {
            try enqueue(
                part, batch: batch, objective: objective, update: update, softTargets: SoftTargets(selection), known: known)
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
        let buffers = try buffers(batch, for: preparedStudent)
        try enqueue(part, batch: buffers, objective: Objective(method), update: update, softTargets: nil, known: [:])
    }

    /// - Parameter known: teachers' logits that need no forward.
    private func enqueue(
        _ part: StepPart, batch: BatchBuffers, objective: Objective, update: ParameterUpdate, softTargets: SoftTargets?,
        known: [Int: DeviceSlice]
    ) throws {
        let student = try preparedStudent
        let plan = try student.plan(batch: batch.batch, mode: .training, input: batch.images)
        func teacherPlans() throws -> [(index: Int, plan: NetworkPlan)] {
            try objective.teachers.filter { known[$0] == nil }
                .map { ($0, try teacherPlan($0, batch.batch, for: student, input: batch.images)) }
        }
        switch part {
        case .teacherForward:
            for teacher in try teacherPlans() {
                if let watcher, let network = teachers[teacher.index] {
                    try watcher.forward(teacher.plan, of: network, teacher: teacher.index)
                } else {
                    try teacher.plan.forward()
                }
            }
        case .studentForward:
            if let watcher { try watcher.forward(plan, of: student, teacher: nil) } else { try plan.forward() }
        case .loss:
            let (rows, classes) = (batch.batch, student.network.classes)
            var logits = known
            for teacher in try teacherPlans() { logits[teacher.index] = teacher.plan.output }
            try losses.enqueue(
                objective, student: plan.output, teachers: logits, labels: DeviceSlice(batch.labels),
                gradient: plan.outputGradient, rows: rows, classes: classes, softTargets: softTargets)
            guard let watcher, let gradient = plan.outputGradient else { return }
            try watcher.loss(
                WatchedLoss(
                    objective: objective, rows: rows, classes: classes, student: plan.output, teachers: logits,
                    gradient: gradient,
                    perRow: { [losses] method throws(DeviceError) in
                        try losses.perRow(method, rows: rows, classes: classes)
                    }), engine: engine)
        case .backward: if let watcher { try watcher.backward(plan, of: student) } else { try plan.backward() }
        case .update: if let watcher { try watcher.update(update, of: student) } else { try student.store.apply(update) }
        }
    }

    public func teacherLogits(_ selection: BatchSelection, of index: Int) throws -> [Float] {
        let student = try preparedStudent
        let batch = try gather(selection, for: student)
        let plan = try teacherPlan(index, selection.indices.count, for: student, input: batch.images)
        try plan.forward()
        return try engine.queue.read(Float.self, from: plan.output.buffer, at: plan.output.offset, count: plan.output.count)
    }

    /// Logits that are known already, on the device.
    private func upload(_ logits: [Float], of teacher: Int, rows: Int, classes: Int) throws -> DeviceSlice {
        try ExecutorInputs.check(teacherLogits: logits, rows: rows, classes: classes)
        let buffer = try knownLogits(of: teacher, count: logits.count)
        try engine.queue.write(logits, to: buffer)
        return DeviceSlice(buffer)
    }

    private func knownLogits(of teacher: Int, count: Int) throws(DeviceError) -> Buffer {
        let key = KnownKey(teacher: teacher, count: count)
        if let buffer = knownLogits[key] { return buffer }
        let buffer = try engine.makeBuffer(count, label: "known teacher logits")
        knownLogits[key] = buffer
        return buffer
    }

    public func evaluateStep(_ selection: BatchSelection) throws {
        let student = try preparedStudent
        let batch = try gather(selection, for: student)
        let plan = try student.plan(batch: selection.indices.count, mode: .inference, input: batch.images)
        try plan.forward()
        try losses.enqueue(
            Objective(.crossEntropy(CrossEntropy())), student: plan.output, teachers: [:], labels: DeviceSlice(batch.labels),
            gradient: nil, rows: selection.indices.count, classes: student.network.classes)
        try engine.queue.flush()
    }

    public func lastEvaluated(rows: Int) throws -> [Bool] {
        try losses.correctRows(rows, classes: preparedStudent.network.classes)
    }

    public func takeMetrics() throws -> StepMetrics { try losses.takeMetrics() }

    public func studentState() throws -> NetworkState { try preparedStudent.store.state() }

    public func trainingState() throws -> TrainingState {
        let store = try preparedStudent.store
        return TrainingState(weights: try store.state(), slots: try store.optimizerSlots())
    }

    public func restore(_ state: TrainingState) throws {
        let student = try preparedStudent
        try state.checkSlots(of: student.original)
        try student.load(state.weights)
        try student.store.loadOptimizerSlots(state.slots)
        try losses.reset()
    }

    public func studentLogits(_ images: Tensor) throws -> Tensor {
        let student = try preparedStudent
        let batch = try student.network.batchSize(of: images)
        let plan = try student.plan(batch: batch, mode: .inference)
        try plan.write(images.values)
        try plan.forward()
        return Tensor(shape: [batch, student.network.classes], values: try engine.read(plan.output))
    }

    public func studentFeatures(_ images: Tensor, named names: [String]) throws -> [String: Tensor] {
        let student = try preparedStudent
        let batch = try student.network.batchSize(of: images)
        let plan = try student.inspectionPlan(batch: batch, features: names)
        try plan.write(images.values)
        try plan.forward()
        return try plan.network.features(named: names).mapValues { node in
            Tensor(shape: [batch] + plan.network.nodes[node].shape, values: try plan.value(of: node))
        }
    }

    public var plannedBytes: Int? { engine.context.counters.allocatedBytes }

    // MARK: -

    private var preparedStudent: DeviceNetwork {
        get throws(InputError) { try ExecutorInputs.prepared(student, "student") }
    }

    private func gather(_ selection: BatchSelection, for network: DeviceNetwork) throws -> BatchBuffers {
        let table = try ExecutorInputs.table(selection.table, of: tables)
        try selection.check(images: table.imageShape, count: table.count, inputShape: network.network.inputShape)
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

    private func teacherPlan(_ index: Int, _ batch: Int, for student: DeviceNetwork, input: DeviceSlice) throws -> NetworkPlan {
        let teacher = try ExecutorInputs.prepared(teachers[index], "teacher")
        try ExecutorInputs.check(teacher: teacher.network, of: student.network)
        return try teacher.plan(batch: batch, mode: .inference, input: input)
    }
}
