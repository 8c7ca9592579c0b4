import OpenCLRuntime
import RLDGraph

/// Sums over the rows of channels-last values in two launches: of chunks of rows, then of the chunks.
extension Lowering {
    /// Sums of a [rows, columns] value over its rows: a bias gradient.
    func lowerColumnSums(_ id: Network.NodeID, rows: Int, columns: Int, of x: PlanBuilder.Value, into sums: DeviceSlice) {
        let node = network.nodes[id].name
        let (rowsPerChunk, chunks) = engine.rowChunks(rows)
        let partial = builder.value(chunks * columns)
        builder.step(reads: [x], writes: [partial]) { memory throws(DeviceError) in
            let combine: [KernelArgument] = [.int(columns), .int(chunks), .slice(memory[partial]), .slice(sums)]
            guard engine.profile == .cpu else {
                return [
                    try groupChunks(
                        node, "column_sums.cl", "column_sums_chunk", channels: columns, chunks: chunks,
                        [.long(rows), .int(columns), .int(rowsPerChunk), .slice(memory[x]), .slice(memory[partial])]),
                    try groupMerge(node, "column_sums.cl", "column_sums_merge", channels: columns, combine),
                ]
            }
            // A work-item takes as many neighbours as the kernel's SUMMED.
            return [
                try engine.launch(
                    node, "partial_sums.cl", "column_sums_partial", global: [ceilDivide(columns, 64), chunks], heavyItems: true,
                    [.long(rows), .int(columns), .int(rowsPerChunk), .slice(memory[x]), .slice(memory[partial])]),
                try engine.launch(node, "partial_sums.cl", "column_sums_combine", global: [columns], combine),
            ]
        }
    }

    /// A work-group for each chunk of some channels (kernels/common/group_sums.clh).
    func groupChunks(
        _ node: String, _ file: String, _ function: String, channels: Int, chunks: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let width = channels <= 16 ? 16 : 32
        let items = engine.device.maxWorkGroupSize >= 256 ? 256 : 64
        let vectors = engine.channelVectors(channels, arguments)
        return try engine.launch(
            node, file, function, defines: vectors.defines + [("WIDTH", "\(width)"), ("ITEMS", "\(items)")],
            global: [ceilDivide(channels, width) * items, chunks], local: [items, 1],
            arguments + [.local(4 * vectors.width * items)])
    }

    /// A work-group for each channel, which merges its chunks.
    func groupMerge(
        _ node: String, _ file: String, _ function: String, channels: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let mergers = 64
        return try engine.launch(
            node, file, function, defines: [("MERGERS", "\(mergers)")], global: [channels * mergers], local: [mergers],
            arguments + [.local(4 * mergers)])
    }
}
