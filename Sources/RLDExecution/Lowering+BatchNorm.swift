import OpenCLRuntime
import RLDGraph

extension Lowering {
    private func statistics(_ id: Network.NodeID) -> PlanBuilder.Value { batchNormStatistics[id] ?? value(id) }

    /// A kernel over all rows whose arguments begin with their number, that of channels, and the rows per work-item.
    private func perRow(
        _ id: Network.NodeID, _ function: String, defines: [(String, String)] = [], rows: Int, channels: Int,
        _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let vectors = engine.channelVectors(channels, arguments)
        let columns = ceilDivide(channels, vectors.width)
        let groups = engine.rowGroups(columns: columns, rows: rows)
        return try engine.launch(
            network.nodes[id].name, "batch_norm.cl", function, defines: vectors.defines + defines,
            global: [columns, groups.count], heavyItems: true,
            [.long(rows), .int(channels), .int(groups.perItem)] + arguments)
    }

    /// Sums over chunks of rows: one work-item per channel and chunk, or on the gpu profile one work-group.
    private func summingChunks(
        _ id: Network.NodeID, _ sums: BatchNormSums, chunks: Int, channels: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        guard engine.profile == .gpu else {
            return try engine.launch(
                network.nodes[id].name, "batch_norm.cl", "batch_norm_\(sums)_partial",
                defines: [("VECTOR", "\(engine.laneWidth)")], global: [ceilDivide(channels, engine.laneWidth), chunks],
                heavyItems: true, arguments)
        }
        return try groupChunks(
            network.nodes[id].name, "batch_norm_groups.cl", "batch_norm_\(sums)_chunk", channels: channels, chunks: chunks,
            arguments)
    }

    /// Merges the chunks' sums.
    private func mergingChunks(
        _ id: Network.NodeID, _ sums: BatchNormSums, channels: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        guard engine.profile == .gpu else {
            // The program that the chunks have, though this kernel takes channels one by one.
            return try engine.launch(
                network.nodes[id].name, "batch_norm.cl", "batch_norm_\(sums)_combine",
                defines: [("VECTOR", "\(engine.laneWidth)")], global: [channels], arguments)
        }
        return try groupMerge(
            network.nodes[id].name, "batch_norm_groups.cl", "batch_norm_\(sums)_merge", channels: channels, arguments)
    }

    func lowerBatchNorm(_ id: Network.NodeID, _ b: BatchNorm) throws(DeviceError) {
        let node = network.nodes[id]
        let (x, y, statistics) = (value(node.inputs[0]), value(id), statistics(id))
        let residual = b.epilogue.residual ? value(node.inputs[1]) : x
        let rows = batch * extent(id).plane
        let meanOffset = store.runningOffset("\(node.name).running_mean")
        let varianceOffset = store.runningOffset("\(node.name).running_var")
        let gamma = store.parameter("\(node.name).weight", count: b.channels)
        let beta = store.parameter("\(node.name).bias", count: b.channels)
        let frozen = mode == .training ? nil : store.frozenStatistics(node.name)

        if mode == .training {
            let (rowsPerChunk, chunks) = engine.rowChunks(rows)
            let partial = builder.value(2 * chunks * b.channels)
            builder.step(reads: [x], writes: [partial, statistics]) { memory throws(DeviceError) in
                [
                    try summingChunks(
                        id, .statistics, chunks: chunks, channels: b.channels,
                        [.long(rows), .int(b.channels), .int(rowsPerChunk), .slice(memory[x]), .slice(memory[partial])]),
                    try mergingChunks(
                        id, .statistics, channels: b.channels,
                        [
                            .long(rows), .int(b.channels), .int(rowsPerChunk), .int(chunks), .slice(memory[partial]),
                            .slice(memory[statistics]), .buffer(store.running), .long(meanOffset), .long(varianceOffset),
                            .float(b.epsilon), .float(b.momentum),
                        ]),
                ]
            }
        } else if frozen == nil {
            builder.step(reads: [], writes: [statistics]) { memory throws(DeviceError) in
                [
                    try engine.runningStatistics(
                        node.name, b, running: store.running, mean: meanOffset, variance: varianceOffset,
                        into: memory[statistics])
                ]
            }
        }
        builder.step(reads: [x, residual] + (frozen == nil ? [statistics] : []), writes: [y]) { memory throws(DeviceError) in
            [
                try perRow(
                    id, "batch_norm_normalize",
                    defines: DeviceSlice.storageDefines(
                        x: memory[x], residual: b.epilogue.residual ? memory[residual] : nil, y: memory[y]),
                    rows: rows, channels: b.channels,
                    [
                        .slice(memory[x]), .slice(frozen ?? memory[statistics]), .buffer(gamma.buffer),
                        .offset(gamma.offset), .offset(beta.offset), .slice(memory[residual]), .slice(memory[y]),
                        .int(b.epilogue.residual ? 1 : 0),
                        .int(b.epilogue.relu ? 1 : 0),
                    ])
            ]
        }
    }

    func lowerBatchNormBackward(_ step: BackwardPass.Step, _ b: BatchNorm) {
        let id = step.node
        let node = network.nodes[id]
        let (x, y, dy, statistics) = (value(node.inputs[0]), value(id), gradient(id), statistics(id))
        let rows = batch * extent(id).plane
        let (rowsPerChunk, chunks) = engine.rowChunks(rows)
        let partial = builder.value(2 * chunks * b.channels)
        let gamma = store.parameter("\(node.name).weight", count: b.channels)
        let dgamma = store.gradient("\(node.name).weight", count: b.channels)
        let dbeta = store.gradient("\(node.name).bias", count: b.channels)
        let beta = store.parameter("\(node.name).bias", count: b.channels)
        // y is read only where a residual was added before it was rectified; otherwise its place may be taken by then.
        let readsOutput = b.epilogue.relu && b.epilogue.residual
        let rectified = readsOutput ? 2 : b.epilogue.relu ? 1 : 0
        let mask = readsOutput ? y : x

        builder.step(reads: [x, mask, dy, statistics], writes: [partial]) { memory throws(DeviceError) in
            [
                try summingChunks(
                    id, .gradient, chunks: chunks, channels: b.channels,
                    [
                        .long(rows), .int(b.channels), .int(rowsPerChunk), .slice(memory[x]), .slice(memory[mask]),
                        .slice(memory[dy]), .slice(memory[statistics]), .buffer(gamma.buffer), .offset(gamma.offset),
                        .offset(beta.offset), .slice(memory[partial]), .int(rectified),
                    ]),
                try mergingChunks(
                    id, .gradient, channels: b.channels,
                    [
                        .int(b.channels), .int(chunks), .slice(memory[partial]), .buffer(dgamma.buffer), .long(dgamma.offset),
                        .long(dbeta.offset),
                    ]),
            ]
        }
        let dx = target(step, input: 0)
        let dresidual = target(step, input: 1)
        guard dx != nil || dresidual != nil else { return }
        let targets = [dx, dresidual].compactMap { $0 }
        builder.step(
            reads: [x, mask, dy, statistics] + targets.flatMap(\.reads), writes: targets.map(\.value)
        ) { memory throws(DeviceError) in
            // A gradient that nobody needs gets mode 0 and any address.
            let dxSlice = memory[dx?.value ?? dy]
            let dresidualSlice = memory[dresidual?.value ?? dy]
            return [
                try perRow(
                    id, "batch_norm_gradient_input", rows: rows, channels: b.channels,
                    [
                        .slice(memory[x]), .slice(memory[mask]), .slice(memory[dy]), .slice(memory[statistics]),
                        .buffer(gamma.buffer), .offset(gamma.offset), .offset(beta.offset), .buffer(dgamma.buffer),
                        .offset(dgamma.offset), .offset(dbeta.offset), .slice(dxSlice), .slice(dresidualSlice),
                        .int(rectified), .int(dx?.mode ?? 0), .int(dresidual?.mode ?? 0),
                    ])
            ]
        }
    }
}

/// What is summed over the rows of a batch norm; the names are part of the kernels'.
private enum BatchNormSums: String, CustomStringConvertible {
    case statistics
    case gradient

    var description: String { rawValue }
}
