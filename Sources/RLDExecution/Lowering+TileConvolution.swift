import OpenCLRuntime
import RLDGraph

/// Convolutions of any size on the gpu profile, as products whose tiles are gathered into local memory; for tf32 all products.
extension Lowering {
    /// Work-items along each side of a work-group, and what one computes along the other side of the tile than its channels.
    private static let (side, rows) = (16, 4)
    /// Products that a tile adds at a time.
    private static let depth = 16
    /// Largest memory for the partial sums of one weight gradient, in elements.
    private static let partialLimit = 4 << 20

    /// Whether the device runs work-groups of this size, and indices of pixels fit 32 bits. A plain product in float32 is left to
    /// CLBlast.
    /// - Throws: `.unsupported` for tf32, which has no other kernels, where it does not fit.
    func takesTiles(_ g: ConvolutionGeometry) throws(DeviceError) -> Bool {
        let fits =
            engine.device.maxWorkGroupSize >= Self.side * Self.side && engine.device.localMemory >= 16 << 10
            && batch * max(g.input.plane, g.output.plane) < 1 << 30
        guard engine.precision == .tf32 else { return fits && !g.isPlainProduct }
        guard fits else {
            throw DeviceError(
                .unsupported,
                "precision tf32: a batch of \(batch) images of \(g.input.plane) pixels does not fit the kernels on "
                    + "\(engine.device.name); give a smaller batch, or precision=float32")
        }
        return true
    }

    /// Sums per work-item along `channels`, so that few channels do not leave most of a tile empty.
    private func tileLanes(_ channels: Int) -> Int { [1, 2].first { channels <= Self.side * $0 } ?? 4 }

    /// The local memory of a work-group: both sides of its products, more columns than needed to spread the banks, and six values
    /// per work-item for the emulation of matrix units.
    private func tileMemory(lanes: Int) -> KernelArgument {
        let padding = engine.precision == .tf32 ? 8 : 1
        let exchange = engine.tileProduct == .emulation ? 6 * Self.side * Self.side : 0
        return .local(4 * (Self.depth * (Self.side * (Self.rows + lanes) + 2 * padding) + exchange))
    }

    private func tileDefines(lanes: Int) -> [(String, String)] { [("LANES", "\(lanes)")] + engine.tileProduct.defines }

    /// The forward pass, or with dy and dx in the places of x and y the input gradient.
    /// - Parameters:
    ///   - input: extent of what is read.
    ///   - output: extent of what is computed.
    func lowerTiles(
        _ id: Network.NodeID, _ c: Convolution, from x: PlanBuilder.Value, _ input: Extent, to y: PlanBuilder.Value,
        _ output: Extent, transposed: Bool, finish: ConvolutionFinish
    ) {
        let lanes = tileLanes(output.channels)
        let weight = store.parameter("\(network.nodes[id].name).weight", count: c.outputChannels * c.fanIn)
        let step = transposed ? c.stride : 1
        let results = batch * ceilDivide(output.height, step) * ceilDivide(output.width, step)
        builder.step(reads: [x] + finish.reads, writes: [y]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[id].name, "convolution_tiles.cl", "convolution_tiles", defines: tileDefines(lanes: lanes),
                    global: [
                        ceilDivide(results, Self.side * Self.rows) * Self.side,
                        ceilDivide(output.channels, Self.side * lanes) * Self.side, step * step,
                    ],
                    local: [Self.side, Self.side, 1],
                    [
                        .int(batch), .int(input.height), .int(input.width), .int(input.channels), .int(output.height),
                        .int(output.width), .int(output.channels), .int(c.kernel), .int(c.stride), .int(c.padding),
                        .int(transposed ? 1 : 0), .slice(memory[x]), .slice(weight),
                    ] + finish.addends(memory, otherwise: weight) + [.slice(memory[y])] + finish.flags + [
                        tileMemory(lanes: lanes)
                    ])
            ]
        }
    }

    func lowerTileWeightGradient(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
        let (c, node) = (g.c, network.nodes[id])
        let (x, dy, pixels) = (value(node.inputs[0]), gradient(id), batch * g.output.plane)
        let lanes = tileLanes(c.outputChannels)
        let tiles = (
            columns: ceilDivide(c.fanIn, Self.side * Self.rows), outputs: ceilDivide(c.outputChannels, Self.side * lanes)
        )
        // Enough work-groups for every compute unit, groups large enough to outweigh the adding of their sums.
        let limit = min(Self.partialLimit, engine.allocationLimit / 4)
        let wanted = min(
            ceilDivide(8 * engine.device.computeUnits, tiles.columns * tiles.outputs), ceilDivide(pixels, 256),
            limit / (c.outputChannels * c.fanIn))
        let groupPixels = ceilDivide(pixels, max(1, wanted))
        let groups = ceilDivide(pixels, groupPixels)
        let partial = builder.value(groups * c.outputChannels * c.fanIn)
        builder.step(reads: [x, dy], writes: [partial]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    node.name, "convolution_tiles_weights.cl", "convolution_tiles_weight_partial",
                    defines: tileDefines(lanes: lanes),
                    global: [tiles.columns * Self.side, tiles.outputs * Self.side, groups], local: [Self.side, Self.side, 1],
                    [
                        .int(pixels), .int(g.input.height), .int(g.input.width), .int(c.inputChannels), .int(g.output.height),
                        .int(g.output.width), .int(c.outputChannels), .int(c.kernel), .int(c.stride), .int(c.padding),
                        .int(groupPixels), .slice(memory[x]), .slice(memory[dy]), .slice(memory[partial]),
                        tileMemory(lanes: lanes),
                    ]),
                try combineWeightGradient(
                    id, g, groups: groups, depth: c.fanIn, partial: memory[partial], into: dweight),
            ]
        }
    }

    /// Adds the groups' sums [groups][outputs][depth], the depth by kernel position and then channel, in order.
    func combineWeightGradient(
        _ id: Network.NodeID, _ g: ConvolutionGeometry, groups: Int, depth: Int, partial: DeviceSlice, into dweight: DeviceSlice
    ) throws(DeviceError) -> Launch {
        try engine.launch(
            network.nodes[id].name, "convolution_weight_combine.cl", "convolution_weight_combine",
            global: [g.c.inputChannels, g.c.outputChannels],
            [
                .int(groups), .int(g.c.inputChannels), .int(g.c.outputChannels), .int(g.taps), .int(depth), .slice(partial),
                .slice(dweight),
            ])
    }
}
