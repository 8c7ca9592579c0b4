import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Trains on an OpenCL device. A step enqueues and returns: losses and counters stay on the device until `takeMetrics`.
/// Owned by one task, like the queue that it holds.
public final class DeviceExecutor: NetworkExecutor {
    /// What its kernels run on, for losses of one's own (`trainStep(_:update:loss:)`).
    public let engine: DeviceEngine
    private let losses: ObjectiveLoss
    private var tables: [String: DeviceImageTable] = [:]
    private let batches: BatchPool
    private var knownLogits: [KnownKey: Buffer] = [:]
    /// Of all plans of a queue: one runs at a time.
    private let planMemory: PlanMemory
    private var student: DeviceNetwork?
    private let teachers: DeviceTeachers
    /// The last that could be minimised.
    private var checkedObjective: Objective?
    /// Rows of the last evaluation step of this student.
    private var evaluated = 0
    /// Training steps since a network was prepared: after the second nothing may be built any more (RLD_ASSERT_COMPILE).
    private var steps = 0
    /// Sees the steps from inside; nil in ordinary training.
    package var watcher: (any StepWatcher)?

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

    /// - Parameter overlap: teachers have a queue of their own; RLD_OVERLAP, or as the device is, if nil.
    /// - Throws: `.wrongResult` if the engine is for tf32 and the device does not give what tf32 does.
    package init(engine: DeviceEngine, teacherStorage: TeacherStorage = .float32, overlap: Bool? = nil) throws {
        self.engine = engine
        self.teacherStorage = teacherStorage
        losses = try ObjectiveLoss(engine: engine)
        let overlap = overlap ?? Environment.settings.overlap ?? !engine.device.isCPU
        planMemory = PlanMemory(engine, advice: overlap ? "RLD_OVERLAP=0 lets teachers and student share their memory" : "")
        batches = BatchPool(engine)
        teachers = try DeviceTeachers(
            besides: engine, batches: batches, memory: planMemory, overlap: overlap, storage: teacherStorage)
        if engine.precision == .tf32 { try TileProductCheck.verify(engine) }
    }

    /// What it computes on.
    public var device: Device { engine.device }

    /// The choices among kernels that it computes with.
    public var tuning: ChosenTuning { engine.tuning }

    public var precision: Precision { engine.precision }
    public let teacherStorage: TeacherStorage

    public var executorDescription: String {
        // Sums are split by the number of compute units: another one rounds otherwise.
        "\(engine.device), \(engine.device.computeUnits) compute units, \(engine.profile.rawValue) kernels, tuning \(tuning.tuning.hash)"
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
        try ExecutorInputs.check(classifier: network)
        student = try prepare(network, state: state, role: .student, on: engine, planMemory, replacing: student)
        try losses.reset()
        evaluated = 0
    }

    public func prepareTeacher(_ network: Network, state: NetworkState, at index: Int) throws {
        try ExecutorInputs.check(classifier: network)
        teachers[index] = try prepare(
            network, state: state, role: .teacher, on: teachers.engine, teachers.memory, replacing: teachers[index])
        watcher?.preparesTeacher(network, state: state, at: index)
    }

    /// The same network again keeps its plans and gets new weights.
    private func prepare(
        _ network: Network, state: NetworkState, role: DeviceNetwork.Role, on engine: DeviceEngine, _ memory: PlanMemory,
        replacing current: DeviceNetwork?
    ) throws -> DeviceNetwork {
        steps = 0
        engine.context.counters.markSteadyState(false)
        if let current, current.original == network {
            try current.load(state)
            return current
        }
        return try DeviceNetwork(
            network, state: state, role: role, engine: engine, memory: memory, storage: teacherStorage)
    }

    public func prepareSteps(training: [Int], evaluation: [Int], objective: Objective) throws {
        try objective.check(float32: true)
        try ExecutorInputs.check(batchSizes: training + evaluation)
        let student = try preparedStudent
        let (classes, shape) = (student.network.classes, student.network.inputShape)
        for table in tables.values { try table.reserve(images: (training + evaluation).max() ?? 0) }
        for size in Set(training) {
            for index in objective.teachers {
                try teachers[index]?.announce(
                    batch: size, mode: .inference, input: try teachers.batches.buffers(size, shape: shape).images)
            }
            try student.announce(batch: size, mode: .training, input: try batches.buffers(size, shape: shape).images)
        }
        for size in Set(evaluation) {
            try student.announce(batch: size, mode: .inference, input: try batches.buffers(size, shape: shape).images)
        }
        defer {
            planMemory.forgetAnnounced()
            teachers.memory.forgetAnnounced()
        }
        for size in Set(training).sorted(by: >) {
            for index in objective.teachers {
                // Which of the two a step needs, its batch tells.
                if teachers[index] != nil {
                    _ = try teacherPlan(index, size, for: student)
                    try teachers.prepareLogits(index, count: size * classes)
                }
                _ = try knownLogits(of: index, count: size * classes)
            }
            _ = try student.plan(batch: size, mode: .training, input: try batches.buffers(size, shape: shape).images)
            try losses.prepare(objective, rows: size, classes: classes)
        }
        for size in Set(evaluation).sorted(by: >) {
            _ = try student.plan(batch: size, mode: .inference, input: try batches.buffers(size, shape: shape).images)
            try losses.prepare(StepSums.evaluation.objective, rows: size, classes: classes, gradient: false)
        }
    }

    public func prepareUpdates(_ rule: UpdateRule) throws {
        try preparedStudent.store.prepareUpdates(rule)
    }

    public func exchangeWithAverage() throws { try preparedStudent.store.exchangeWithAverage() }

    public func trainStep(_ selection: BatchSelection, objective: Objective, update: ParameterUpdate) throws {
        // Looking all options up takes longer than comparing, and every step comes here with the same.
        if objective != checkedObjective {
            try objective.check(float32: true)
            checkedObjective = objective
        }
        try update.check()
        try losses.check(StepSums(objective))
        let student = try preparedStudent
        // Logits that are known already spare the teacher.
        var known: [Int: DeviceSlice] = [:]
        for index in objective.teachers {
            guard let logits = selection.teacherLogits[index] else { continue }
            known[index] = try upload(logits, of: index, rows: selection.indices.count, classes: student.network.classes)
        }
        let batch = try gather(selection, for: student, teachersToo: objective.teachers.contains { known[$0] == nil })
        try watcher?.gathered(selection, in: batch, engine: engine)
        for part in StepPart.allCases {
            try enqueue(
                part, batch: batch, objective: objective, update: update, softTargets: SoftTargets(selection), known: known)
        }
        try endStep()
    }

    private func endStep() throws(DeviceError) {
        steps += 1
        if steps == 2 { engine.context.counters.markSteadyState() }
        try engine.queue.flush()
    }

    /// One training step with a loss of one's own on the device: as the protocol's, but nothing waits.
    /// - Parameter loss: enqueues on `engine.queue` what writes d loss / d logits: `Softmax` and the other building blocks, or kernels
    ///   of one's own.
    public func trainStep(_ selection: BatchSelection, update: ParameterUpdate, loss: (StudentBatch) throws -> Void) throws {
        try update.check()
        let student = try preparedStudent
        let batch = try gather(selection, for: student, teachersToo: false)
        try watcher?.gathered(selection, in: batch, engine: engine)
        let plan = try student.plan(batch: batch.batch, mode: .training, input: batch.images)
        func enqueue(_ part: StepPart) throws {
            try self.enqueue(
                part, batch: batch, objective: Objective(components: []), update: update, softTargets: nil, known: [:])
        }
        try enqueue(.studentForward)
        if let gradient = plan.outputGradient {
            try loss(
                StudentBatch(
                    rows: batch.batch, classes: student.network.classes, logits: plan.output, labels: DeviceSlice(batch.labels),
                    gradient: gradient))
        }
        try enqueue(.backward)
        try enqueue(.update)
        try endStep()
    }

    public func trainStep(
        _ selection: BatchSelection, update: ParameterUpdate, gradient: (Tensor, [Int32]) throws -> Tensor
    ) throws {
        try trainStep(selection, update: update) { batch in
            let logits = Tensor(shape: [batch.rows, batch.classes], values: try engine.read(batch.logits))
            let labels = try engine.queue.read(
                Int32.self, from: batch.labels.buffer, at: batch.labels.offset, count: batch.rows)
            let result = try gradient(logits, labels)
            try ExecutorInputs.check(gradient: result, of: logits)
            try engine.write(result.values, to: batch.gradient)
        }
    }

    /// What a training step consists of once its batch is there, in order.
    package enum StepPart: CaseIterable, Sendable {
        case teacherForward, studentForward, loss, backward, update
    }

    /// Enqueues one part of a step alone, on whatever the parts before it left: for benchmarks.
    package func enqueue(_ part: StepPart, batch: Int, method: Method, update: ParameterUpdate) throws {
        let buffers = try batches.buffers(batch, shape: preparedStudent.network.inputShape)
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
                .map { ($0, try teacherPlan($0, batch.batch, for: student)) }
        }
        switch part {
        case .teacherForward:
            for teacher in try teacherPlans() {
                if let watcher, let network = teachers[teacher.index] {
                    try watcher.forward(teacher.plan, of: network, teacher: teacher.index)
                } else {
                    try teacher.plan.forward()
                }
                try teachers.keepLogits(of: teacher.plan, teacher.index)
            }
        case .studentForward:
            if let watcher { try watcher.forward(plan, of: student, teacher: nil) } else { try plan.forward() }
        case .loss:
            let (rows, classes) = (batch.batch, student.network.classes)
            var logits = known
            for teacher in try teacherPlans() { logits[teacher.index] = try teachers.logits(of: teacher.plan, teacher.index) }
            if logits.count > known.count { try teachers.awaitLogits() }
            try losses.enqueue(
                StepSums(objective), student: plan.output, teachers: logits, labels: DeviceSlice(batch.labels),
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
        let network = try teachers.network(index).network
        _ = try teachers.gather(selection, from: ExecutorInputs.table(selection.table, of: tables), for: network)
        let plan = try teachers.plan(index, batch: selection.indices.count, shape: network.inputShape)
        try plan.forward()
        let output = plan.output
        return try teachers.engine.queue.read(Float.self, from: output.buffer, at: output.offset, count: output.count)
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

    /// Enqueues the student's forward pass in evaluation mode on a batch.
    private func inference(_ selection: BatchSelection, _ student: DeviceNetwork) throws -> (BatchBuffers, NetworkPlan) {
        let batch = try gather(selection, for: student, teachersToo: false)
        let plan = try student.plan(batch: batch.batch, mode: .inference, input: batch.images)
        try plan.forward()
        return (batch, plan)
    }

    public func evaluateStep(_ selection: BatchSelection) throws {
        try losses.check(.evaluation)
        let student = try preparedStudent
        let (batch, plan) = try inference(selection, student)
        try losses.enqueue(
            .evaluation, student: plan.output, teachers: [:], labels: DeviceSlice(batch.labels), gradient: nil,
            rows: batch.batch, classes: student.network.classes)
        try engine.queue.flush()
        evaluated = batch.batch
    }

    public func lastEvaluated(rows: Int) throws -> [Bool] {
        try ExecutorInputs.check(rows: rows, evaluated: evaluated)
        return try losses.correctRows(rows, classes: preparedStudent.network.classes)
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

    public func studentLogits(_ selection: BatchSelection) throws -> [Float] {
        let (_, plan) = try inference(selection, preparedStudent)
        return try engine.queue.read(Float.self, from: plan.output.buffer, at: plan.output.offset, count: plan.output.count)
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

    /// - Parameter teachersToo: teachers run on the batch.
    private func gather(_ selection: BatchSelection, for network: DeviceNetwork, teachersToo: Bool) throws -> BatchBuffers {
        let table = try ExecutorInputs.table(selection.table, of: tables)
        let network = network.network
        guard teachersToo, teachers.overlap else { return try batches.gather(selection, from: table, for: network) }
        let batch = try batches.buffers(selection.indices.count, shape: network.inputShape)
        try teachers.gather(selection, from: table, for: network, copyingTo: batch)
        return batch
    }

    private func teacherPlan(_ index: Int, _ batch: Int, for student: DeviceNetwork) throws -> NetworkPlan {
        try ExecutorInputs.check(teacher: teachers.network(index).network, of: student.network)
        return try teachers.plan(index, batch: batch, shape: student.network.inputShape)
    }
}
