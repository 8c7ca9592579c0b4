import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference

/// Compares every operation of every training step with the Double reference, each on the inputs that the device really had, so
/// that rounding does not add up and a deviation is where it arises (RLD_VALIDATE=1).
///
/// The bound of a value is `DeviceChecks.bound` times the largest expected magnitude in its tensor or, where the terms of sums
/// cancel, times what random signs would leave of them (`ErrorScale`); losses have the bounds of `rld doctor`. An updated weight may be off
/// by 1e-6 of itself and `DeviceChecks.bound` of the largest movement in its tensor.
package final class StepValidator: StepWatcher {
    private let reference = ReferenceExecutor()
    private var teachers: [Int: (network: Network, state: NetworkState)] = [:]
    private var selection: BatchSelection?
    private var labels: [Int32] = []
    /// The network of the last forward pass in training mode, as the device computed it.
    private var student: ReferenceNetwork?
    private let updater = ReferenceUpdater()
    private(set) var step = 0
    /// Worst |error| / bound so far.
    package private(set) var worst = 0.0
    /// Quantities that were compared.
    package private(set) var comparisons = 0

    /// Sees each place after the device has written it and before it is compared, by part and node: tests spoil something.
    package var beforeComparing: (_ part: String, _ node: String, DeviceSlice) throws -> Void = { _, _, _ in }

    private let precision: Precision

    /// - Parameter precision: the executor's.
    package init(precision: Precision = .float32) { self.precision = precision }

    package func loads(_ images: ImageTable, as name: String, staged: Bool) throws {
        try reference.load(images, as: name, staged: staged)
    }

    package func preparesTeacher(_ network: Network, state: NetworkState, at index: Int) {
        let folded = network.foldingBatchNorm(state: state)
        teachers[index] = (folded.network.fusingEpilogues(for: .inference), folded.state)
    }

    // MARK: Parts of a step

    package func gathered(_ selection: BatchSelection, in batch: BatchBuffers, engine: DeviceEngine) throws {
        step += 1
        self.selection = selection
        let (images, labels) = try reference.gather(selection, inputShape: batch.shape)
        self.labels = labels
        let place = Place(step, "batch", "input", "augmentation")
        try beforeComparing("batch", "input", batch.images)
        let found = Layout.toNCHW(try engine.read(batch.images), batch: labels.count, shape: batch.shape)
        try compare(found, images, scale: 0, shape: [labels.count] + batch.shape, place, "value")
        let foundLabels = try engine.queue.read(Int32.self, from: batch.labels, count: labels.count)
        try compare(foundLabels.map(Double.init), labels.map(Double.init), scale: 0, shape: [labels.count], place, "label")
    }

    package func forward(_ plan: NetworkPlan, of network: DeviceNetwork, teacher index: Int?) throws {
        let part = plan.mode == .training ? "student forward" : "teacher forward"
        let state: NetworkState
        if plan.mode == .training {
            state = try network.store.state()
        } else if let teacher = index.flatMap({ teachers[$0] }), teacher.network == plan.network {
            state = teacher.state
        } else {
            throw InputError("RLD_VALIDATE", "the teacher's network is not the one that was prepared")
        }
        let own = try ReferenceNetwork(plan.network, state: state, precision: precision)
        let batch = plan.batch
        plan.beginForward()
        var scales: [String: Double] = [:]
        try own.forward(try plan.currentValue(of: 0), batch: batch, training: plan.mode == .training) { id, expected in
            try plan.runForward(id)
            let node = plan.network.nodes[id]
            try self.beforeComparing(part, node.name, plan.place(of: id))
            let found = try plan.currentValue(of: id)
            let inputs = node.inputs.map(own.value(of:))
            let scale = ErrorScale.forward(
                node, inputs: inputs, input: Extent(plan.network.nodes[node.inputs[0]].shape), batch: batch
            ) { state["\(node.name).\($0)"]?.values ?? [] }
            scales.merge(ErrorScale.statistics(node, input: inputs.first ?? [])) { $1 }
            let place = Place(self.step, part, node, self.precision)
            let allowed = place.bound * max(ErrorScale.largest(expected), scale)
            let stored = plan.place(of: id).element
            try self.compare(
                found, expected, bound: { allowed + stored.rounding(of: expected[$0]) }, shape: [batch] + node.shape, place,
                "value")
            return found
        }
        guard plan.mode == .training else { return }
        student = own
        let after = try network.store.state()
        for tensor in plan.network.stateTensors where tensor.kind != .parameter {
            let name = tensor.name.split(separator: ".").dropLast().joined(separator: ".")
            try compare(
                after[tensor.name]?.values ?? [], own.state[tensor.name]?.values ?? [], scale: scales[tensor.name] ?? 0,
                shape: tensor.shape, Place(step, part, name, "batch_norm"), tensor.name)
        }
    }

    package func loss(_ loss: WatchedLoss, engine: DeviceEngine) throws {
        guard let selection else { return }
        let components = loss.objective.components
        let id = components.map(\.method.id).joined(separator: "+")
        try beforeComparing("loss", id, loss.gradient)
        let logits = try engine.read(loss.student)
        let teachers = try loss.teachers.mapValues { try engine.read($0) }
        // A loss that is not finite is the trainer's to report.
        guard logits.allSatisfy(\.isFinite), teachers.values.allSatisfy({ $0.allSatisfy(\.isFinite) }) else { return }
        let place = Place(step, "loss", "loss", id)
        var gradient = [Double](repeating: 0, count: logits.count)
        for (index, part) in components.enumerated() {
            var expected = try ReferenceLoss.evaluate(
                part.method, student: logits, teacher: teachers[part.teacher], labels: labels, classes: loss.classes,
                warmup: part.warmup)
            expected.soften(selection, method: part.method, warmup: part.warmup, logits: logits, labels: labels)
            guard expected.total.isFinite else { return }
            for i in gradient.indices { gradient[i] += part.weight * expected.gradient[i] }
            // A method's rows are those of its last component.
            guard !components[(index + 1)...].contains(where: { $0.method.id == part.method.id }) else { continue }
            for (name, (a, b)) in zip(part.method.termNames, zip(try loss.perRow(part.method), expected.perRow)) {
                try compare(
                    a.map(Double.init), b, bound: { 2e-5 * abs(b[$0]) + 1e-4 * ErrorScale.largest(b) + 1e-6 },
                    shape: [loss.rows], place, "term \(name), row ")
            }
        }
        // What cancels where two classes pull against each other is of the order of 1 / rows.
        let scale = loss.classes == 2 ? 0.2 / Double(loss.rows) : 0
        try compare(
            try engine.read(loss.gradient), gradient, scale: scale, shape: [loss.rows, loss.classes], place,
            "gradient of the logits")
    }

    package func backward(_ plan: NetworkPlan, of network: DeviceNetwork) throws {
        guard let own = student else { return }
        let (net, batch) = (plan.network, plan.batch)
        var scales: (input: Double, weight: Double, bias: Double) = (0, 0, 0)
        try own.backward(
            try plan.currentGradient(of: net.output),
            before: { id in
                let node = net.nodes[id]
                scales = ErrorScale.backward(
                    node, x: own.value(of: node.inputs[0]), dy: own.gradient(of: id),
                    input: Extent(net.nodes[node.inputs[0]].shape), batch: batch
                ) { own.state["\(node.name).\($0)"]?.values ?? [] }
                try plan.runBackward(id)
            },
            replacing: { id, input, expected in
                let node = net.nodes[id]
                try self.beforeComparing("backward", node.name, plan.placeOfGradient(of: input))
                let found = try plan.currentGradient(of: input)
                // What another node had put there counts as well.
                let scale = max(scales.input, ErrorScale.largest(own.gradient(of: id)) * (node.inputs.count > 1 ? 1 : 0))
                try self.compare(
                    found, expected, scale: scale, shape: [batch] + net.nodes[input].shape,
                    Place(self.step, "backward", node, self.precision), "gradient of \(net.nodes[input].name)")
                return found
            },
            after: { id in
                let node = net.nodes[id]
                let names = ["\(node.name).weight", "\(node.name).bias"]
                for tensor in net.parameters where names.contains(tensor.name) {
                    let slice = network.store.gradient(tensor.name, count: tensor.count)
                    try self.beforeComparing("backward", tensor.name, slice)
                    try self.compare(
                        try network.store.readGradient(tensor.name, count: tensor.count), own.gradients[tensor.name] ?? [],
                        scale: tensor.name.hasSuffix("bias") ? scales.bias : scales.weight, shape: tensor.shape,
                        Place(self.step, "backward", node, self.precision), "gradient of \(tensor.name)")
                }
            })
    }

    package func update(_ update: ParameterUpdate, of network: DeviceNetwork) throws {
        let store = network.store
        let before = TrainingState(weights: try store.state(), slots: try store.optimizerSlots())
        var gradients: [String: [Double]] = [:]
        let unmoved = network.network.parametersWithoutGradient
        for tensor in network.network.parameters where !unmoved.contains(tensor.name) {
            gradients[tensor.name] = try store.readGradient(tensor.name, count: tensor.count)
        }
        try store.apply(update)
        let own = try ReferenceNetwork(network.network, state: before.weights)
        own.take(gradients: gradients)
        updater.restore(
            before.slots.mapValues { slot in
                Dictionary(uniqueKeysWithValues: slot.names.map { ($0, slot[$0]?.values ?? []) })
            })
        _ = updater.apply(update, to: own)
        let place = Place(step, "update", "optimizer", update.rule.optimizer.slotNames.first ?? "")
        try beforeComparing("update", "optimizer", DeviceSlice(store.parameters))
        let after = try store.state()
        for tensor in network.network.parameters {
            let (old, expected) = (before.weights[tensor.name]?.values ?? [], own.state[tensor.name]?.values ?? [])
            let movement = zip(old, expected).reduce(0) { max($0, abs($1.1 - $1.0)) }
            try compare(
                after[tensor.name]?.values ?? [], expected,
                bound: { 1e-6 * abs(expected[$0]) + DeviceChecks.bound * movement }, shape: tensor.shape, place, tensor.name)
        }
        // What was added up is spent once the parameters have moved.
        for (slot, found) in try store.optimizerSlots() where slot != "accumulated" || !update.ends {
            for name in found.names {
                // What the reference does not know is 0, as on a device before the first update.
                let values = found[name]?.values ?? []
                let expected = updater.slots[slot]?[name] ?? values.map { _ in 0 }
                try compare(
                    values, expected, scale: ErrorScale.largest(gradients[name] ?? []) * 1e-2, shape: found[name]?.shape ?? [],
                    place, "\(slot) of \(name)")
            }
        }
    }

    // MARK: Comparing

    private struct Place {
        let (step, part, node, operation): (Int, String, String, String)
        /// Of one value, relative to the largest.
        var bound = DeviceChecks.bound
        init(_ step: Int, _ part: String, _ node: String, _ operation: String) {
            (self.step, self.part, self.node, self.operation) = (step, part, node, operation)
        }
        init(_ step: Int, _ part: String, _ node: Network.Node, _ precision: Precision) {
            self.init(step, part, node.name, node.operation.label)
            bound = DeviceChecks.bound(node.operation, precision)
        }
    }

    private func compare(
        _ found: [Double], _ expected: [Double], scale: Double, shape: [Int], _ place: Place, _ quantity: String
    ) throws {
        let allowed = place.bound * max(ErrorScale.largest(expected), scale)
        try compare(found, expected, bound: { _ in allowed }, shape: shape, place, quantity)
    }

    private func compare(
        _ found: [Double], _ expected: [Double], bound: (Int) -> Double, shape: [Int], _ place: Place, _ quantity: String
    ) throws {
        comparisons += 1
        var bad: (index: Int, ratio: Double)?
        // Nothing that is missing passes.
        if found.count != expected.count { bad = (min(found.count, expected.count), .infinity) }
        for i in 0..<min(found.count, expected.count) where found[i] != expected[i] {
            // What float32 cannot hold, and what is not a number on both sides, ends the run as a loss that is not finite.
            if !(abs(expected[i]) <= Double(Float.greatestFiniteMagnitude)), !found[i].isFinite { continue }
            let ratio = abs(found[i] - expected[i]) / max(bound(i), .leastNonzeroMagnitude)
            if !(ratio <= 1), !(ratio <= bad?.ratio ?? 1) { bad = (i, ratio.isNaN ? .infinity : ratio) }
            worst = max(worst, ratio)
        }
        guard let bad else { return }
        var rest = bad.index
        var element: [Int] = []
        for extent in shape.reversed() {
            element.insert(rest % max(extent, 1), at: 0)
            rest /= max(extent, 1)
        }
        func value(_ values: [Double]) -> Double { bad.index < values.count ? values[bad.index] : .nan }
        throw DeviationError(
            step: place.step, part: place.part, node: place.node, operation: place.operation, quantity: quantity,
            element: element, found: value(found), expected: value(expected),
            bound: expected.isEmpty ? 0 : bound(min(bad.index, expected.count - 1)))
    }
}
