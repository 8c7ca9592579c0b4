import OpenCLRuntime
import RLDGraph

/// Convolutions of any size on the cpu profile, as products over patches that stay in cache.
extension Lowering {
    /// Elements of one worker's patches: half of a level-2 cache of 512 KiB.
    private static let workerPatches = 64 << 10
    /// Patches per group for a patch of `depth` elements: a multiple of the tile's rows, at most 16 times as many.
    private func groupPixels(depth: Int, pixels: Int, rows: Int) -> Int {
        let limit = min(Self.workerPatches, engine.allocationLimit / 4)
        return rows * engine.groupSize(ceilDivide(pixels, rows), most: max(1, min(16, limit / max(depth, 1) / rows)))
    }

    func lowerPatches(
        _ id: Network.NodeID, _ g: ConvolutionGeometry, from x: PlanBuilder.Value, to y: PlanBuilder.Value, packed: DeviceSlice,
        finish: ConvolutionFinish
    ) {
        let (c, pixels) = (g.c, batch * g.output.plane)
        let tile = engine.registers.forwardTile(block: engine.registers.block(c.outputChannels))
        let group = groupPixels(depth: c.fanIn, pixels: pixels, rows: tile.rows)
        let workers = engine.workers(ceilDivide(pixels, group), scratch: group * c.fanIn)
        let scratch = builder.value(workers * group * c.fanIn)
        builder.step(reads: [x] + finish.reads, writes: [y, scratch]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[id].name, "convolution_patches.cl", "convolution_patches_forward",
                    defines: tile.defines + finish.placed(memory).storageDefines(x: memory[x], y: memory[y]), global: [workers],
                    heavyItems: true,
                    [
                        .long(pixels), .int(g.input.height), .int(g.input.width), .int(c.inputChannels), .int(g.output.height),
                        .int(g.output.width), .int(c.outputChannels), .int(c.kernel), .int(c.stride), .int(c.padding),
                        .int(group), .slice(memory[x]), .slice(packed),
                    ] + finish.placed(memory).addends(otherwise: packed) + [.slice(memory[y]), .slice(memory[scratch])]
                        + finish.placed(memory).flags)
            ]
        }
    }

    func lowerPatchInputGradient(
        _ id: Network.NodeID, _ g: ConvolutionGeometry, packed: DeviceSlice, _ target: GradientTarget
    ) {
        let (c, dy) = (g.c, gradient(id))
        let tile = engine.registers.forwardTile(block: engine.registers.block(c.inputChannels))
        let taps = ceilDivide(c.kernel, c.stride)
        let depth = taps * taps * c.outputChannels
        let pixels = batch * g.input.plane
        let group = groupPixels(depth: depth, pixels: ceilDivide(pixels, c.stride * c.stride), rows: tile.rows)
        let workers = engine.workers(ceilDivide(pixels, group), scratch: group * depth)
        let scratch = builder.value(workers * group * depth)
        builder.step(reads: [dy] + target.reads, writes: [target.value, scratch]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[id].name, "convolution_patches.cl", "convolution_patches_input_gradient",
                    defines: tile.defines, global: [workers], heavyItems: true,
                    [
                        .int(batch), .int(g.output.height), .int(g.output.width), .int(c.outputChannels), .int(g.input.height),
                        .int(g.input.width), .int(c.inputChannels), .int(c.kernel), .int(c.stride), .int(c.padding),
                        .int(group), .slice(memory[dy]), .slice(packed), .slice(memory[target.value]), .slice(memory[scratch]),
                        .int(target.accumulates ? 1 : 0),
                    ])
            ]
        }
    }

    func lowerPatchWeightGradient(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
        let (c, node) = (g.c, network.nodes[id])
        let (x, dy, pixels) = (value(node.inputs[0]), gradient(id), batch * g.output.plane)
        let tile = engine.registers.weightTile(block: engine.registers.block(c.fanIn))
        let depth = ceilDivide(c.fanIn, tile.block) * tile.block
        let limit = engine.partialSumLimit
        // Groups large enough to outweigh the adding of their sums.
        let wanted = min(4 * engine.device.computeUnits, ceilDivide(pixels, 256), limit / (c.outputChannels * depth))
        let groupPixels = ceilDivide(pixels, max(1, wanted))
        let groups = ceilDivide(pixels, groupPixels)
        let chunk = max(1, min(128, groupPixels, Self.workerPatches / depth, limit / groups / depth))
        let partial = builder.value(groups * c.outputChannels * depth)
        let scratch = builder.value(groups * chunk * depth)
        builder.step(reads: [x, dy], writes: [partial, scratch]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    node.name, "convolution_patches_weights.cl", "convolution_patches_weight_partial", defines: tile.defines,
                    global: [groups], heavyItems: true,
                    [
                        .long(pixels), .int(g.input.height), .int(g.input.width), .int(c.inputChannels), .int(g.output.height),
                        .int(g.output.width), .int(c.outputChannels), .int(c.kernel), .int(c.stride), .int(c.padding),
                        .long(groupPixels), .int(chunk), .int(depth), .slice(memory[x]), .slice(memory[dy]),
                        .slice(memory[partial]), .slice(memory[scratch]),
                    ]),
                try combineWeightGradient(
                    id, g, groups: groups, depth: depth, partial: memory[partial], into: dweight),
            ]
        }
    }

    /// Adds the groups' sums [groups][outputs][depth], the depth by kernel position and then channel, in order.
    private func combineWeightGradient(
        _ id: Network.NodeID, _ g: ConvolutionGeometry, groups: Int, depth: Int, partial: DeviceSlice, into dweight: DeviceSlice
    ) throws(DeviceError) -> Launch {
        try engine.launch(
            network.nodes[id].name, "partial_sums.cl", "convolution_weight_combine",
            global: [g.c.inputChannels, g.c.outputChannels],
            [
                .int(groups), .int(g.c.inputChannels), .int(g.c.outputChannels), .int(g.taps), .int(depth), .slice(partial),
                .slice(dweight),
            ])
    }
}
