import OpenCLRuntime
import RLDGraph
import RLDMethods

/// The losses of an executor: one prepared kernel per method and batch, gradients and sums added up over the components of an
/// objective. With one component nothing is added: its kernel writes the gradient itself.
final class ObjectiveLoss {
    private let engine: DeviceEngine
    private var losses: [Key: FusedLoss] = [:]
    /// One per component.
    private var accumulators: [LossAccumulator]
    /// By number of values: what components after the first write into.
    private var gradients: [Int: Buffer] = [:]
    /// Adds a component's gradient.
    private var sumKernel: Kernel?
    /// Whose sums the accumulators hold.
    private var accumulated: StepSums?

    private struct Key: Hashable {
        let method: String
        let rows: Int
        let classes: Int
    }

    init(engine: DeviceEngine) throws(DeviceError) {
        self.engine = engine
        accumulators = [try LossAccumulator(on: engine.queue, context: engine.context)]
    }

    /// Makes what a batch of an objective needs, so that no step allocates.
    /// - Parameter gradient: it will be asked for.
    func prepare(_ objective: Objective, rows: Int, classes: Int, gradient wanted: Bool = true) throws(DeviceError) {
        for part in objective.components {
            let loss = try loss(part.method, rows: rows, classes: classes)
            if !wanted { try loss.scratchGradient() }
        }
        try prepareSums(objective.components.count)
        if objective.components.count > 1 {
            _ = try gradient(rows * classes)
            _ = try preparedSumKernel()
        }
    }

    /// Throws where the sums so far have to be taken before these steps.
    func check(_ sums: StepSums) throws(InputError) { try ExecutorInputs.check(sumsOf: accumulated, goOnWith: sums) }

    /// - Parameters:
    ///   - student: [rows, classes]; teachers the same, by index; labels: [rows].
    ///   - gradient: overwritten; nil: not wanted, for objectives of one component.
    func enqueue(
        _ sums: StepSums, student: DeviceSlice, teachers: [Int: DeviceSlice], labels: DeviceSlice, gradient: DeviceSlice?,
        rows: Int, classes: Int, softTargets: SoftTargets? = nil
    ) throws {
        try check(sums)
        accumulated = sums
        let objective = sums.objective
        try prepareSums(objective.components.count)
        for (index, part) in objective.components.enumerated() {
            let own = index == 0 ? gradient : DeviceSlice(try self.gradient(rows * classes), count: rows * classes)
            try loss(part.method, rows: rows, classes: classes).enqueue(
                part.method, warmup: part.warmup, scale: part.weight, student: student,
                teacher: part.method.needsTeacher ? teachers[part.teacher] : nil, labels: labels, gradient: own,
                softTargets: softTargets, into: accumulators[index], on: engine.queue)
            if index > 0, let gradient, let own { try add(own, to: gradient) }
        }
    }

    /// Waits, returns what was added up, and starts again from zero.
    func takeMetrics() throws(DeviceError) -> StepMetrics {
        let objective = (accumulated ?? .evaluation).objective
        let method: (Int) -> Method? = { [accumulated] index in accumulated?.objective.components[index].method }
        var parts: [StepMetrics] = []
        for index in objective.components.indices {
            parts.append(try accumulators[index].read(method(index), on: engine.queue).metrics)
        }
        try reset()
        return objective.sum(parts)
    }

    func reset() throws(DeviceError) {
        for accumulator in accumulators { try accumulator.reset(on: engine.queue) }
        accumulated = nil
    }

    /// Of the last cross-entropy on so many rows, whether each label is the first largest logit; waits.
    func correctRows(_ rows: Int, classes: Int) throws(DeviceError) -> [Bool] {
        try loss(.crossEntropy(CrossEntropy()), rows: rows, classes: classes).correctRows(rows, on: engine.queue)
    }

    /// A method's terms per row, as its last component of an objective left them; waits.
    func perRow(_ method: Method, rows: Int, classes: Int) throws(DeviceError) -> [[Float]] {
        try loss(method, rows: rows, classes: classes).perRow(rows: rows, on: engine.queue)
    }

    private func loss(_ method: Method, rows: Int, classes: Int) throws(DeviceError) -> FusedLoss {
        let key = Key(method: method.id, rows: rows, classes: classes)
        if let loss = losses[key] { return loss }
        let loss = try FusedLoss(
            method, rows: rows, classes: classes, programs: engine.programs, profile: engine.profile, products: engine.products)
        losses[key] = loss
        return loss
    }

    private func prepareSums(_ count: Int) throws(DeviceError) {
        while accumulators.count < count { accumulators.append(try LossAccumulator(on: engine.queue, context: engine.context)) }
    }

    private func gradient(_ count: Int) throws(DeviceError) -> Buffer {
        if let buffer = gradients[count] { return buffer }
        let buffer = try engine.makeBuffer(count, label: "gradient of a component")
        gradients[count] = buffer
        return buffer
    }

    /// Adding a value is how an addition's gradient goes back.
    private func preparedSumKernel() throws(DeviceError) -> Kernel {
        if let sumKernel { return sumKernel }
        let kernel = try engine.programs.kernel(
            "elementwise.cl", "add_backward", defines: [("ITEM", "\(engine.elementsPerItem)")])
        sumKernel = kernel
        return kernel
    }

    private func add(_ other: DeviceSlice, to sum: DeviceSlice) throws(DeviceError) {
        let kernel = try preparedSumKernel()
        try kernel.setArguments([.long(other.count), .slice(other), .slice(sum), .int(2)])
        try engine.queue.enqueue(
            kernel, global: [engine.elementItems(other.count)], local: engine.profile == .cpu ? [1] : nil)
    }
}
