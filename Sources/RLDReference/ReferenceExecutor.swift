import RLDGraph
import RLDMethods

/// Trains on the host in Double, one plain loop after the other: the oracle for every device, and the way to check a
/// recipe where there is none. Slow.
public final class ReferenceExecutor: NetworkExecutor {
    private var tables: [String: ImageTable] = [:]
    /// Names of the tables whose batches bring their pixels.
    private var stagedTables: Set<String> = []
    private var student: ReferenceNetwork?
    private var teachers: [Int: ReferenceNetwork] = [:]
    private var metrics = StepMetrics()
    /// Whose sums the metrics hold.
    private var accumulated: StepSums?
    private var lastCorrect: [Bool] = []

    public let precision: Precision

    /// - Parameter precision: of the operands of convolutions and linear layers.
    public init(precision: Precision = .float32) { self.precision = precision }

    public var executorDescription: String {
        "reference (Double, host)" + (precision == .float32 ? "" : ", \(precision.rawValue) products")
    }

    public func load(_ images: ImageTable, as name: String, staged: Bool) throws(InputError) {
        try ExecutorInputs.check(images, name: name, staged: staged)
        tables[name] = images
        stagedTables.remove(name)
        guard staged else { return }
        tables[name]?.pixels = []
        stagedTables.insert(name)
    }

    public func prepareStudent(_ network: Network, state: NetworkState) throws {
        try ExecutorInputs.check(classifier: network)
        student = try ReferenceNetwork(network, state: state, precision: precision)
        _ = takeMetrics()
        lastCorrect = []
    }

    public func prepareTeacher(_ network: Network, state: NetworkState, at index: Int) throws {
        try ExecutorInputs.check(classifier: network)
        teachers[index] = try ReferenceNetwork(network, state: state, precision: precision)
    }

    /// Nothing to plan: the host allocates as it goes.
    public func prepareSteps(training: [Int], evaluation: [Int], objective: Objective) throws {
        try objective.check()
        try ExecutorInputs.check(batchSizes: training + evaluation)
        _ = try preparedStudent
    }

    public func prepareUpdates(_ rule: UpdateRule) throws {
        let student = try preparedStudent
        student.updater.prepare(rule, for: student)
    }

    public func exchangeWithAverage() throws {
        let student = try preparedStudent
        student.updater.exchangeAverage(of: student)
    }

    public func trainStep(_ batch: BatchSelection, objective: Objective, update: ParameterUpdate) throws {
        try objective.check()
        try update.check()
        try ExecutorInputs.check(sumsOf: accumulated, goOnWith: StepSums(objective))
        let student = try preparedStudent
        let (images, labels) = try gather(batch, for: student.network)
        var teacherLogits = batch.teacherLogits.mapValues { $0.map(Double.init) }
        for index in objective.teachers {
            if let known = batch.teacherLogits[index] {
                try ExecutorInputs.check(teacherLogits: known, rows: labels.count, classes: student.network.classes)
                continue
            }
            let teacher = try teacher(index)
            try ExecutorInputs.check(teacher: teacher.network, of: student.network)
            teacherLogits[index] = try teacher.forward(images, batch: labels.count, training: false)
        }
        let logits = try student.forward(images, batch: labels.count, training: true)
        accumulated = StepSums(objective)
        guard logits.allSatisfy(\.isFinite) else { return addNonFinite(objective.termNames, rows: labels.count) }
        var gradient = [Double](repeating: 0, count: logits.count)
        var parts: [StepMetrics] = []
        for part in objective.components {
            var result = try ReferenceLoss.evaluate(
                part.method, student: logits, teacher: teacherLogits[part.teacher], labels: labels,
                classes: student.network.classes, warmup: part.warmup, ignoring: nil)
            result.soften(batch, method: part.method, warmup: part.warmup, logits: logits, labels: labels)
            for i in gradient.indices { gradient[i] += part.weight * result.gradient[i] }
            parts.append(StepMetrics(result))
        }
        try student.backward(gradient)
        _ = student.updater.apply(update, to: student)
        metrics = metrics + objective.sum(parts)
    }

    public func trainStep(
        _ batch: BatchSelection, update: ParameterUpdate, gradient: (Tensor, [Int32]) throws -> Tensor
    ) throws {
        try update.check()
        let student = try preparedStudent
        let (images, labels) = try gather(batch, for: student.network)
        let logits = Tensor(
            shape: [labels.count, student.network.classes],
            values: try student.forward(images, batch: labels.count, training: true))
        let result = try gradient(logits, labels)
        try ExecutorInputs.check(gradient: result, of: logits)
        try student.backward(result.values)
        _ = student.updater.apply(update, to: student)
    }

    public func teacherLogits(_ batch: BatchSelection, of index: Int) throws -> [Float] {
        let teacher = try teacher(index)
        let (images, labels) = try gather(batch, for: teacher.network)
        return try teacher.forward(images, batch: labels.count, training: false).map(Float.init)
    }

    public func studentLogits(_ batch: BatchSelection) throws -> [Float] {
        let student = try preparedStudent
        let (images, labels) = try gather(batch, for: student.network)
        return try student.forward(images, batch: labels.count, training: false).map(Float.init)
    }

    private func teacher(_ index: Int) throws(InputError) -> ReferenceNetwork {
        try ExecutorInputs.prepared(teachers[index], "teacher")
    }

    public func evaluateStep(_ batch: BatchSelection) throws {
        try ExecutorInputs.check(sumsOf: accumulated, goOnWith: .evaluation)
        let student = try preparedStudent
        let (images, labels) = try gather(batch, for: student.network)
        let logits = try student.forward(images, batch: labels.count, training: false)
        accumulated = .evaluation
        let classes = student.network.classes
        // Not by `rank`: a row that is nan has no largest logit, and its neighbours keep theirs.
        lastCorrect = labels.indices.map { row in
            let (z, k) = (logits[row * classes..<(row + 1) * classes], Int(labels[row]))
            guard (0..<classes).contains(k) else { return false }
            let own = z[z.startIndex + k]
            return !z.enumerated().contains { !($0.element < own) && ($0.element != own || $0.offset < k) }
        }
        guard logits.allSatisfy(\.isFinite) else {
            return addNonFinite(StepSums.evaluation.objective.termNames, rows: labels.count)
        }
        let result = try ReferenceLoss.evaluate(
            .crossEntropy(CrossEntropy()), student: logits, teacher: nil, labels: labels, classes: classes, ignoring: nil)
        metrics = metrics + StepMetrics(result)
    }

    public func lastEvaluated(rows: Int) throws -> [Bool] {
        try ExecutorInputs.check(rows: rows, evaluated: lastCorrect.count)
        return lastCorrect
    }

    public func takeMetrics() -> StepMetrics {
        defer { (metrics, accumulated) = (StepMetrics(), nil) }
        return metrics
    }

    public func studentState() throws -> NetworkState { try preparedStudent.state }

    public func trainingState() throws -> TrainingState {
        let student = try preparedStudent
        var slots: [String: NetworkState] = [:]
        for (slot, values) in student.updater.slots {
            var state = NetworkState()
            for tensor in student.network.stateTensors {
                if let values = values[tensor.name] { state[tensor.name] = Tensor(shape: tensor.shape, values: values) }
            }
            slots[slot] = state
        }
        return TrainingState(weights: student.state, slots: slots)
    }

    public func restore(_ state: TrainingState) throws {
        let network = try preparedStudent.network
        try state.checkSlots(of: network)
        let restored = try ReferenceNetwork(network, state: state.weights, precision: precision)
        restored.updater.restore(
            state.slots.mapValues { slot in
                Dictionary(uniqueKeysWithValues: slot.names.map { ($0, slot[$0]?.values ?? []) })
            })
        student = restored
        _ = takeMetrics()
    }

    public func studentLogits(_ images: Tensor) throws -> Tensor {
        let student = try preparedStudent
        let batch = try student.network.batchSize(of: images)
        return Tensor(
            shape: [batch, student.network.classes],
            values: try student.forward(images.values, batch: batch, training: false))
    }

    public func studentFeatures(_ images: Tensor, named names: [String]) throws -> [String: Tensor] {
        let student = try preparedStudent
        let batch = try student.network.batchSize(of: images)
        let nodes = try student.network.features(named: names)
        try student.forward(images.values, batch: batch, training: false)
        return nodes.mapValues { node in
            Tensor(shape: [batch] + student.network.nodes[node].shape, values: student.value(of: node))
        }
    }

    public func loss(
        _ method: Method, student: Tensor, teacher: Tensor?, labels: [Int32], settings: LossSettings
    ) throws -> LossReport {
        try LossInputs.check(method, student: student, teacher: teacher, labels: labels, settings: settings)
        let classes = student.shape.last ?? 0
        let result = try ReferenceLoss.evaluate(
            method, student: student.values, teacher: teacher?.values, labels: labels, classes: classes, warmup: settings.warmup,
            scale: settings.scale, ignoring: settings.ignoreLabel, rowWeights: settings.rowWeights)
        let audit =
            settings.audit
            ? ReferenceLoss.auditRows(
                method, student: student.values, teacher: teacher?.values, labels: labels, classes: classes,
                ignoring: settings.ignoreLabel, result) : []
        return LossReport(
            terms: Array(zip(method.termNames, result.terms)), total: result.total,
            gradient: Tensor(shape: student.shape, values: result.gradient), top1: result.top1, top5: result.top5,
            rows: result.rows, audit: audit)
    }

    private var preparedStudent: ReferenceNetwork {
        get throws(InputError) { try ExecutorInputs.prepared(student, "student") }
    }

    /// A batch in NCHW as the network takes it, and its labels.
    private func gather(_ batch: BatchSelection, for network: Network) throws(InputError) -> ([Double], [Int32]) {
        let table = try ExecutorInputs.table(batch.table, of: tables)
        try batch.check(images: table.imageShape, count: table.count, classes: table.classes, network: network)
        return try gather(batch, inputShape: network.inputShape)
    }

    /// The same of a batch that can be (`BatchSelection.check`).
    package func gather(_ batch: BatchSelection, inputShape: [Int]) throws(InputError) -> ([Double], [Int32]) {
        let table = try ExecutorInputs.table(batch.table, of: tables)
        var images: [Double] = []
        images.reserveCapacity(batch.indices.count * inputShape.reduce(1, *))
        let isStaged = stagedTables.contains(batch.table)
        let pixels = isStaged ? try batch.stagedPixels(imageSize: table.imageSize) : table.pixels
        let placed = batch.indices.enumerated().map { row, index in
            let start = (isStaged ? row : index) * table.imageSize
            return batch.transform.apply(
                to: pixels[start..<start + table.imageSize], of: table, index: index, seed: batch.seed, epoch: batch.epoch)
        }
        for (row, image) in placed.enumerated() {
            let other = placed[placed.count - 1 - row]
            images += batch.transform.normalized(
                batch.mixing.map { $0.mixed(image, with: other, height: inputShape[1], width: inputShape[2]) } ?? image)
        }
        return (images, batch.indices.map { table.labels[$0] })
    }

    /// A network that has exploded shows in the metrics, as on a device, where no one looks at logits; the loss would refuse them.
    private func addNonFinite(_ terms: [String], rows: Int) {
        metrics = metrics + StepMetrics(rows: rows, termSums: terms.map { _ in .nan }, totalSum: .nan)
    }
}

extension StepMetrics {
    /// One batch.
    fileprivate init(_ result: LossResult) {
        let rows = Double(result.rows)
        self.init(
            rows: result.rows, termSums: result.terms.map { $0 * rows }, totalSum: result.total * rows, top1: result.top1,
            top5: result.top5)
    }
}
