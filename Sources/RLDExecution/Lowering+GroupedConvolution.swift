import OpenCLRuntime
import RLDGraph

/// Grouped and depthwise convolution: kernels of their own in both profiles, vectors of channels on a CPU (rows of all channels if
/// depthwise), on a GPU one channel per work-item or, depthwise, four.
extension Lowering {
    private func lower(
        _ id: Network.NodeID, file: String, _ function: String, defines: [(String, String)], global: [Int],
        _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        try engine.launch(
            network.nodes[id].name, file, function, defines: [("PIXELS", "\(engine.pixelsPerItem)")] + defines, global: global,
            heavyItems: true, arguments)
    }

    /// A kernel of depthwise convolutions: on a CPU a work-item for each of `rows` takes all channels, on a GPU there are `global`
    /// for so many vectors of channels.
    private func lowerDepthwise(
        _ id: Network.NodeID, _ function: String, defines: [(String, String)] = [], channels: Int, rows: Int,
        else global: (Int) -> [Int], _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let vectors = engine.channelVectors(channels, arguments, lanes: engine.profile.packingLanes(engine.registers))
        return try lower(
            id, file: "depthwise_convolution.cl", function, defines: vectors.defines + defines,
            global: engine.profile == .cpu ? [1, rows] : global(ceilDivide(channels, vectors.width)), arguments)
    }

    func lowerGroupedConvolution(_ id: Network.NodeID, _ c: Convolution) throws(DeviceError) {
        let node = network.nodes[id]
        let (x, y, input, output) = (value(node.inputs[0]), value(id), extent(node.inputs[0]), extent(id))
        let packed = try store.packedWeights(node.name, transposed: false).slice
        let bias = c.bias ? store.parameter("\(node.name).bias", count: c.outputChannels) : nil
        let residual = c.epilogue.residual ? value(node.inputs[1]) : nil
        let rectify = c.epilogue.relu6 ? 2 : c.epilogue.relu ? 1 : 0
        builder.step(reads: [x] + (residual.map { [$0] } ?? []), writes: [y]) { memory throws(DeviceError) in
            [
                try grouped(
                    id, c, transposed: false, from: input, to: output,
                    defines: DeviceSlice.storageDefines(
                        x: memory[x], residual: residual.map { memory[$0] }, y: memory[y]),
                    [
                        .slice(memory[x]), .slice(packed), .slice(bias ?? packed),
                        .slice(residual.map { memory[$0] } ?? packed), .long(c.outputChannels * c.fanIn), .slice(memory[y]),
                        .int(bias == nil ? 0 : 1), .int(residual == nil ? 0 : 1), .int(rectify), .int(1),
                    ])
            ]
        }
    }

    func lowerGroupedConvolutionBackward(_ step: BackwardPass.Step, _ c: Convolution) throws(DeviceError) {
        let id = step.node
        let node = network.nodes[id]
        let (dy, input, output) = (gradient(id), extent(node.inputs[0]), extent(id))
        if c.bias {
            lowerColumnSums(
                id, rows: batch * output.plane, columns: c.outputChannels, of: dy,
                into: store.gradient("\(node.name).bias", count: c.outputChannels))
        }
        lowerGroupedWeightGradient(id, c)
        guard let target = target(step, input: 0) else { return }
        let packed = try store.packedWeights(node.name, transposed: true).slice
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [
                try grouped(
                    id, c, transposed: true, from: output, to: input,
                    [
                        .slice(memory[dy]), .slice(packed), .slice(packed), .slice(packed), .long(c.outputChannels * c.fanIn),
                        .slice(memory[target.value]), .int(0), .int(0), .int(0), .int(target.mode),
                    ])
            ]
        }
    }

    /// One launch over the pixels of `to`, which reads `from`.
    private func grouped(
        _ id: Network.NodeID, _ c: Convolution, transposed: Bool, from: Extent, to: Extent, defines: [(String, String)] = [],
        _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let pixels = batch * to.plane
        let sizes: [KernelArgument] = [.long(pixels), .int(from.height), .int(from.width), .int(from.channels)]
        let window: [KernelArgument] = [.int(c.kernel), .int(c.stride), .int(c.padding)]
        let suffix = transposed ? "input_gradient" : "forward"
        // On the gpu profile items stride over the pixels.
        func tiles(_ columns: Int) -> Int {
            engine.profile == .cpu
                ? ceilDivide(pixels, engine.pixelsPerItem) : engine.rowGroups(columns: columns, rows: pixels).count
        }
        if c.isDepthwise {
            return try lowerDepthwise(
                id, "depthwise_convolution_\(suffix)", defines: defines, channels: to.channels, rows: batch * to.height,
                else: { [$0, tiles($0)] },
                sizes + [.int(to.height), .int(to.width)] + window + arguments)
        }
        let (sources, targets) = (from.channels / c.groups, to.channels / c.groups)
        let columns = c.groups * ceilDivide(targets, engine.laneWidth)
        return try lower(
            id, file: "grouped_convolution.cl", "grouped_convolution_\(suffix)",
            defines: [("VECTOR", "\(engine.laneWidth)")] + defines, global: [columns, tiles(columns)],
            sizes + [.int(sources), .int(to.height), .int(to.width), .int(to.channels), .int(targets)] + window + arguments)
    }

    private func lowerGroupedWeightGradient(_ id: Network.NodeID, _ c: Convolution) {
        let node = network.nodes[id]
        let (x, dy, input, output) = (value(node.inputs[0]), gradient(id), extent(node.inputs[0]), extent(id))
        let (count, taps) = (c.outputChannels * c.fanIn, c.kernel * c.kernel)
        // Chunks are of images; of a depthwise convolution on a GPU of rows, 256 at most, for 1,024 items on every compute unit.
        let ofRows = c.isDepthwise && engine.profile == .gpu
        let units = ofRows ? batch * output.height : batch
        // On a CPU few chunks: their sums have to be added up again.
        let most =
            ofRows
            ? min(256, ceilDivide(1024 * engine.device.computeUnits, ceilDivide(c.outputChannels, 4) * taps))
            : engine.profile == .cpu ? 4 * engine.device.computeUnits : batch
        let perChunk = ceilDivide(units, max(1, min(units, most, engine.partialSumLimit / count)))
        let chunks = ceilDivide(units, perChunk)
        let partial = builder.value(chunks * count)
        let dweight = store.gradient("\(node.name).weight", count: count)
        builder.step(reads: [x, dy], writes: [partial]) { memory throws(DeviceError) in
            let values: [KernelArgument] = [
                .int(c.kernel), .int(c.stride), .int(c.padding), .slice(memory[x]), .slice(memory[dy]), .slice(memory[partial]),
            ]
            let head: [KernelArgument] = [
                .int(batch), .int(perChunk), .int(input.height), .int(input.width), .int(input.channels),
            ]
            let sums =
                c.isDepthwise
                ? try lowerDepthwise(
                    id, "depthwise_weight_partial", channels: c.outputChannels, rows: chunks, else: { [$0 * taps, chunks] },
                    head + [.int(output.height), .int(output.width)] + values)
                : try groupedWeightSums(
                    id, c, chunks: chunks,
                    head + [
                        .int(c.inputsPerGroup), .int(output.height), .int(output.width), .int(c.outputChannels),
                        .int(c.outputsPerGroup),
                    ] + values)
            let merged =
                ofRows
                ? try weightMerge(
                    node.name, groups: chunks, channels: c.outputChannels, outputs: 1, taps: taps, memory[partial], into: dweight)
                : try engine.launch(
                    node.name, "partial_sums.cl", "grouped_weight_combine", global: [c.outputChannels, c.fanIn],
                    [.int(chunks), .slice(memory[partial]), .slice(dweight)])
            return [sums, merged]
        }
    }

    private func groupedWeightSums(
        _ id: Network.NodeID, _ c: Convolution, chunks: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let blocks = ceilDivide(c.outputsPerGroup, engine.laneWidth)
        return try lower(
            id, file: "grouped_convolution_weights.cl", "grouped_weight_partial", defines: [("VECTOR", "\(engine.laneWidth)")],
            global: [c.groups * blocks * c.kernel * c.kernel * ceilDivide(c.inputsPerGroup, 4), chunks], arguments)
    }
}
