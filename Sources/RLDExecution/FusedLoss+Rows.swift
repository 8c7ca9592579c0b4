import OpenCLRuntime
import RLDMethods

/// The launches of a loss over the rows of a batch, and the order of their kernels' arguments.
extension FusedLoss {
    /// Terms, gradient and status of every row.
    /// - Parameter sums: what the row kernel adds the batch to at its end, where it can; nil: it does not.
    func enqueueRows(_ call: Call, addingTo sums: LossAccumulator?, on queue: CommandQueue) throws(DeviceError) {
        let layout = rowKernel.layout
        let now = runsNow(call, on: queue)
        let kernel =
            now
            ? try rowKernel.preparedOnCallingThread(for: call.method)
            : try rowKernel.prepared(
                for: call.method, offsets: call.student.offset, call.teacher.offset, call.gradient.offset)
        try setArguments(of: kernel, call, sums)
        let groups = layout.sharesGroups ? now ? 1 : groups(of: call.rows, on: queue.context.device) : call.rows
        let (global, local) = ([groups * layout.items], [layout.items])
        now
            ? try queue.runNow(kernel, global: global, local: local)
            : try queue.enqueue(kernel, global: global, local: local)
    }

    /// Leaves the arguments as they are where the last launch was of the same kernel and the same call.
    private func setArguments(of kernel: Kernel, _ call: Call, _ sums: LossAccumulator?) throws(DeviceError) {
        if let last = lastArguments, last.kernel === kernel, last.sums === sums, last.call == call { return }
        lastArguments = nil
        var arguments = ArgumentSetter(kernel)
        try setBatch(call, &arguments)
        switch call.method {
        case .crossEntropy, .knowledgeDistillation, .decoupledKnowledgeDistillation, .labelAugment, .reviewCorrection,
            .refinedLogitDistillation:
            try setKinds(call, sums, &arguments)
        case .labelRevision(let m): try setRevision(m, call, &arguments)
        case .multiLevelLogitDistillation(let m): try setLevels(m, call, &arguments)
        }
        if let audit {
            let (temperature, standardize) = call.method.auditConfidence
            try arguments.slice(audit)
            try arguments.value(Float(temperature))
            try arguments.value(UInt32(standardize ? 1 : 0))
        }
        try arguments.localMemory(rowKernel.layout.scratchBytes)
        if let blockBytes = rowKernel.layout.blockBytes { try arguments.localMemory(blockBytes) }
        lastArguments = (kernel, call, sums)
    }

    /// Whether the rows are so few that they are over before another thread would have woken for them, and are computed here. What that
    /// needs takes half a second to build and saves 10 us a call: only a loss that is called again and again gets it.
    private func runsNow(_ call: Call, on queue: CommandQueue) -> Bool {
        guard rowKernel.layout.items == 1, call.rows * classes <= Self.fewLogits, queue.canRunNow else { return false }
        briefCalls += 1
        return briefCalls > Self.callsUntilBuilt && !queue.context.counters.isSteadyState
    }

    /// Work-groups that share so many rows: each of the device's threads gets 64 if it can, or 8 where rows are computed together, of
    /// which a group needs some; of long rows a group has one, beside which what a group costs is nothing.
    private func groups(of rows: Int, on device: Device) -> Int {
        let (groupsPerThread, rowsPerGroup) = rowKernel.layout.rowsTogether ? (8, 16) : (64, 8)
        return classes > 4096 ? rows : ceilDivide(rows, min(max(rows / (groupsPerThread * device.computeUnits), 1), rowsPerGroup))
    }

    /// What all row kernels take first.
    private func setBatch(_ call: Call, _ arguments: inout ArgumentSetter) throws(DeviceError) {
        try arguments.value(UInt32(call.rows))
        try arguments.value(UInt32(classes))
        try arguments.slice(call.student.buffer, call.student.offset)
        try arguments.slice(call.teacher.buffer, call.teacher.offset)
        try arguments.slice(call.labels.buffer, call.labels.offset)
        try arguments.slice(rowScale.buffer)
        try arguments.slice(call.gradient.buffer, call.gradient.offset)
        try arguments.slice(termRows)
        try arguments.slice(rowStatus)
        try arguments.value(ignoreLabel ?? 0)
        try arguments.value(call.mode.rawValue)
        try arguments.value(Float(call.mode.isEmpty ? call.scale / Double(call.rows) : call.scale))
    }

    /// `kernels/label_revision.cl`.
    private func setRevision(_ method: LabelRevision, _ call: Call, _ arguments: inout ArgumentSetter) throws(DeviceError) {
        for weight in call.weights { try arguments.value(weight) }
        try arguments.value(Float(method.eta))
    }

    /// `kernels/mlkd.cl`.
    private func setLevels(
        _ method: MultiLevelLogitDistillation, _ call: Call, _ arguments: inout ArgumentSetter
    ) throws(DeviceError) {
        let levels = method.levels
        var (temperatures, counts) = (SIMD8<Float>(repeating: 1), SIMD8<Float>.zero)
        for (k, level) in levels.enumerated() {
            (temperatures[k], counts[k]) = (Float(level.temperature), Float(level.count))
        }
        // Of ce and kd; those of cc and bc go to what adds these.
        for weight in call.weights.prefix(2) { try arguments.value(weight) }
        try arguments.value(UInt32(method.standardize ? 1 : 0))
        try arguments.value(UInt32(levels.count))
        try arguments.value(temperatures)
        try arguments.value(counts)
        if let alignment { try arguments.buffer(alignment.levels) }
    }

    /// `kernels/common/logit_loss.clh`: weights by kind of term, temperatures, standardisation.
    private func setKinds(_ call: Call, _ sums: LossAccumulator?, _ arguments: inout ArgumentSetter) throws(DeviceError) {
        for weight in weightsByKind(call) { try arguments.value(weight) }
        let temperatures = rowKernel.temperatures
        try arguments.value(Float(temperatures.distillation ?? 1))
        try arguments.value(Float(temperatures.confidence))
        try arguments.value(UInt32(temperatures.standardize ? 1 : 0))
        guard rowKernel.layout.finishes else { return }
        // Any buffer stands for sums that are not wanted.
        try arguments.buffer(sums?.buffer ?? rowStatus)
        try arguments.value(UInt32(sums == nil ? 0 : 1))
    }

    /// Weights of cross-entropy, the pair term and the set term, 0 for one that the method does not have.
    private func weightsByKind(_ call: Call) -> [Float] {
        let kinds = rowKernel.kinds
        return [kinds?.crossEntropy, kinds?.pair, kinds?.set].map { $0.map { call.weights[$0] } ?? 0 }
    }

    /// Adds the rows' terms and counts to an accumulator.
    func reduce(_ call: Call, into accumulator: LossAccumulator, on queue: CommandQueue) throws(DeviceError) {
        let isScaled = call.mode.contains(.scaled)
        if let kernel = rowKernel.addsRows, !isScaled {
            var arguments = ArgumentSetter(kernel)
            try arguments.value(UInt32(call.rows))
            try arguments.buffer(termRows)
            try arguments.buffer(rowStatus)
            for weight in weightsByKind(call) { try arguments.value(weight) }
            try arguments.buffer(accumulator.buffer)
            return try queue.enqueue(kernel, global: [1], local: [1])
        }
        var arguments = ArgumentSetter(reduceKernel)
        try arguments.value(UInt32(call.rows))
        try arguments.value(UInt32(terms))
        for buffer in [termRows, rowStatus, accumulator.buffer] { try arguments.slice(buffer) }
        for term in 0..<LossAccumulator.maxTerms {
            try arguments.value(term < call.weights.count ? call.weights[term] : 0)
        }
        try arguments.slice(rowScale.buffer)
        try arguments.value(UInt32(isScaled ? 1 : 0))
        try arguments.value(Float(call.method.sumScale))
        try queue.enqueue(reduceKernel, global: [reduceSize], local: [reduceSize])
    }
}
