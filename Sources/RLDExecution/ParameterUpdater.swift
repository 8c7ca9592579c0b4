import Foundation
import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Moves a store's parameters by its gradients, all on the device. Buffers and kernels are made when the rule is first seen;
/// a step allocates nothing and waits for nothing.
final class ParameterUpdater {
    private let engine: DeviceEngine
    private let count: Int
    /// So many, from the first on, have a gradient.
    private let moving: Int
    private let runningCount: Int
    private let gradients: Buffer
    private let parameters: Buffer
    private let running: Buffer
    /// Flat, by the optimiser's names, and "accumulated", "average" and "running_average".
    private var slots: [String: Buffer] = [:]
    private var kernels: [String: Kernel] = [:]
    private var clip: (sums: Buffer, factor: Buffer, chunk: Int, chunks: Int)?

    /// Keeps the store's buffers, not the store.
    init(store: ParameterStore, gradients: Buffer, running: Buffer, runningCount: Int) {
        engine = store.engine
        count = store.parameterCount
        moving = store.movingCount
        parameters = store.parameters
        self.gradients = gradients
        self.running = running
        self.runningCount = runningCount
    }

    /// Makes what a rule needs; nothing where it is there already. A moving average begins with the parameters as they are.
    func prepare(_ rule: UpdateRule) throws(DeviceError) {
        for name in rule.optimizer.slotNames { _ = try slot(name) }
        _ = try kernel(rule.optimizer)
        if rule.accumulation > 1 {
            _ = try slot("accumulated")
            _ = try kernel("updates.cl", "accumulate_gradients")
        }
        if rule.clipNorm != nil { try prepareClip() }
        if rule.averageDecay != nil, slots["average"] == nil {
            try copy(parameters, count, to: "average")
            if runningCount > 0 { try copy(running, runningCount, to: "running_average") }
            for name in ["move_average", "exchange_values"] { _ = try kernel("updates.cl", name) }
        }
    }

    /// Enqueues what a step does with its gradients. - Returns: whether the parameters moved.
    func apply(_ update: ParameterUpdate) throws(DeviceError) -> Bool {
        let rule = update.rule
        // Before the parameters move: an average that a resumed run has anew begins with them.
        try prepare(rule)
        var gradients = self.gradients
        if rule.accumulation > 1 {
            let total = try slot("accumulated")
            try launch(
                try kernel("updates.cl", "accumulate_gradients"), moving,
                [.long(moving), .buffer(gradients), .buffer(total), .float(update.share), .int(update.begins ? 1 : 0)])
            gradients = total
        }
        guard update.ends else { return false }
        if let limit = rule.clipNorm { try clip(gradients, limit) }
        switch rule.optimizer {
        case .sgd(let sgd):
            try launch(
                try kernel(rule.optimizer), moving,
                [
                    .long(moving), .buffer(gradients), .buffer(parameters), .buffer(try slot("momentum")),
                    .float(sgd.learningRate),
                    .float(sgd.momentum), .float(sgd.weightDecay), .int(sgd.nesterov ? 1 : 0),
                ])
        case .adamW(let adam):
            let t = Double(update.number)
            try launch(
                try kernel(rule.optimizer), moving,
                [
                    .long(moving), .buffer(gradients), .buffer(parameters), .buffer(try slot("first_moment")),
                    .buffer(try slot("second_moment")), .float(1 - adam.learningRate * adam.weightDecay),
                    .float(adam.learningRate / (1 - pow(adam.beta1, t))), .float(1 / (1 - pow(adam.beta2, t)).squareRoot()),
                    .float(adam.beta1), .float(1 - adam.beta1), .float(adam.beta2), .float(1 - adam.beta2), .float(adam.epsilon),
                ])
        }
        if let decay = rule.averageDecay(update: update.number) {
            let kernel = try kernel("updates.cl", "move_average")
            try launch(kernel, count, [.long(count), .buffer(parameters), .buffer(try slot("average")), .float(1 - decay)])
            if runningCount > 0, let average = slots["running_average"] {
                try launch(kernel, runningCount, [.long(runningCount), .buffer(running), .buffer(average), .float(1 - decay)])
            }
        }
        return true
    }

    /// Exchanges the parameters and running statistics with their moving average; again to undo it.
    /// - Returns: false when there is no average.
    func exchangeAverage() throws(DeviceError) -> Bool {
        guard let average = slots["average"] else { return false }
        let kernel = try kernel("updates.cl", "exchange_values")
        try launch(kernel, count, [.long(count), .buffer(parameters), .buffer(average)])
        if runningCount > 0, let other = slots["running_average"] {
            try launch(kernel, runningCount, [.long(runningCount), .buffer(running), .buffer(other)])
        }
        return true
    }

    // MARK: Slots

    /// Names and values of what was made.
    func slotValues() throws(DeviceError) -> [String: [Float]] {
        var values: [String: [Float]] = [:]
        for (name, buffer) in slots {
            values[name] = try engine.queue.read(
                Float.self, from: buffer, count: name == "running_average" ? runningCount : count)
        }
        return values
    }

    /// Puts values back; slots that are not named start from 0, an average from the parameters.
    func restore(_ values: [String: [Float]]) throws(DeviceError) {
        try reset()
        for (name, flat) in values { try engine.queue.write(flat, to: try slot(name, zeroed: false)) }
    }

    /// Everything as before the first step.
    func reset() throws(DeviceError) {
        slots["average"] = nil
        slots["running_average"] = nil
        for buffer in slots.values { try engine.queue.fill(buffer, Float(0)) }
    }

    private func slot(_ name: String, zeroed: Bool = true) throws(DeviceError) -> Buffer {
        if let buffer = slots[name] { return buffer }
        let size = name == "running_average" ? runningCount : count
        let buffer = try engine.makeBuffer(size, label: name)
        if zeroed { try engine.queue.fill(buffer, Float(0)) }
        slots[name] = buffer
        return buffer
    }

    private func copy(_ source: Buffer, _ count: Int, to name: String) throws(DeviceError) {
        try engine.queue.copy(Float.self, from: source, to: slot(name, zeroed: false), count: count)
    }

    // MARK: Launches

    private func kernel(_ optimizer: Optimizer) throws(DeviceError) -> Kernel {
        switch optimizer {
        case .sgd: try kernel("sgd.cl", "sgd_update")
        case .adamW: try kernel("adamw.cl", "adamw_update")
        }
    }

    private func kernel(_ file: String, _ function: String) throws(DeviceError) -> Kernel {
        if let kernel = kernels[function] { return kernel }
        let kernel = try engine.programs.kernel(file, function, defines: [("ITEM", "\(engine.elementsPerItem)")])
        kernels[function] = kernel
        return kernel
    }

    private func launch(_ kernel: Kernel, _ count: Int, _ arguments: [KernelArgument]) throws(DeviceError) {
        guard count > 0 else { return }
        try kernel.setArguments(arguments)
        try engine.queue.enqueue(kernel, global: [engine.elementItems(count)])
    }

    private func prepareClip() throws(DeviceError) {
        guard clip == nil else { return }
        let chunk = max(ceilDivide(moving, 1024), 256)
        let chunks = max(ceilDivide(moving, chunk), 1)
        clip = (
            try engine.makeBuffer(chunks, label: "squares of gradients"), try engine.makeBuffer(1, label: "clip factor"), chunk,
            chunks
        )
        for name in ["chunk_squares", "clip_factor", "scale_gradients"] { _ = try kernel("updates.cl", name) }
    }

    private func clip(_ gradients: Buffer, _ limit: Double) throws(DeviceError) {
        try prepareClip()
        guard let clip else { return }
        let squares = try kernel("updates.cl", "chunk_squares")
        let items = engine.profile == .cpu ? 1 : min(256, squares.maxWorkGroupSize)
        try squares.setArguments([.long(moving), .long(clip.chunk), .buffer(gradients), .buffer(clip.sums), .local(4 * items)])
        try engine.queue.enqueue(squares, global: [clip.chunks * items], local: [items])
        let factor = try kernel("updates.cl", "clip_factor")
        try factor.setArguments([
            .int(clip.chunks), .buffer(clip.sums), .float(limit), .buffer(clip.factor), .local(4 * items),
        ])
        try engine.queue.enqueue(factor, global: [items], local: [items])
        try launch(
            try kernel("updates.cl", "scale_gradients"), moving, [.long(moving), .buffer(clip.factor), .buffer(gradients)])
    }
}
