import OpenCLRuntime
import RLDGraph

/// Convolutions of any size on the gpu profile, as products whose tiles are gathered into local memory; linear layers too where
/// CLBlast has no such products.
extension Lowering {
    /// - Throws: `.unsupported` where indices of pixels do not fit 32 bits.
    func checkTiles(_ g: ConvolutionGeometry) throws(DeviceError) {
        let plane = max(g.input.plane, g.output.plane)
        guard batch * plane < 1 << 30 else {
            throw DeviceError(
                .unsupported,
                "a batch of \(batch) images of \(plane) pixels has more than 2^30 pixels; give a smaller batch")
        }
    }

    /// Whether `count` neighbours that belong together begin at a multiple of four elements.
    private func quads(_ name: String, _ count: Int, _ slices: DeviceSlice...) -> [(String, String)] {
        count % 4 == 0 && slices.allSatisfy(\.isQuad) ? [(name, "1")] : []
    }

    /// Whether distances between values that a work-group reads take more than 32 bits.
    /// - Parameters:
    ///   - results: that a work-group follows each other through.
    ///   - plane: results of an image.
    private func far(_ c: Convolution, _ input: Extent, results: Int, plane: Int) -> [(String, String)] {
        let images = (results - 1) / max(plane, 1) + 3
        let distance = (images * input.plane + c.kernel * (input.width + c.kernel)) * input.channels
        return engine.tiles.isFar(distance) ? [("FAR", "1")] : []
    }

    /// The forward pass, or with dy and dx in the places of x and y the input gradient.
    /// - Parameters:
    ///   - input: extent of what is read.
    ///   - output: extent of what is computed.
    ///   - packed: the weights, in blocks of the tile's channels.
    func lowerTiles(
        _ id: Network.NodeID, _ c: Convolution, from x: PlanBuilder.Value, _ input: Extent, to y: PlanBuilder.Value,
        _ output: Extent, packed: DeviceSlice, transposed: Bool, finish: ConvolutionFinish
    ) {
        builder.step(reads: [x] + finish.reads, writes: [y]) { memory throws(DeviceError) in
            let (node, finish) = (network.nodes[id].name, finish.placed(memory))
            if let launch = try haloLaunch(
                node, c, from: memory[x], input, to: memory[y], output, packed: packed, transposed: transposed, finish: finish)
            {
                return [launch]
            }
            return [
                try tileLaunch(
                    node, c, batch: batch, from: memory[x], input, to: memory[y], output, packed: packed, transposed: transposed,
                    finish: finish)
            ]
        }
    }

    /// Where it is a 3x3 convolution at stride 1 of a size that suits such tiles.
    private func haloLaunch(
        _ node: String, _ c: Convolution, from x: DeviceSlice, _ input: Extent, to y: DeviceSlice, _ output: Extent,
        packed: DeviceSlice, transposed: Bool, finish: PlacedFinish
    ) throws(DeviceError) -> Launch? {
        guard c.kernel == 3, c.stride == 1, input.channels % 16 == 0, output.channels % 4 == 0, x.isQuad, y.isQuad,
            (finish.residual ?? y).isQuad, input.plane * input.channels < 1 << 31,
            let tile = engine.tiles.halo(output, batch: batch)
        else { return nil }
        let items = tile.size.items(engine.tileProduct)
        let compiled = engine.tileProduct.compilation(on: engine.device, items: items)
        return try engine.launch(
            node, "convolution_halo.cl", "convolution_halo",
            defines: tile.defines + (transposed ? [("TRANSPOSED", "1")] : []) + compiled.defines
                + finish.storageDefines(x: x, y: y),
            options: compiled.options,
            global: [tile.count(over: output) * batch * items, ceilDivide(output.channels, tile.size.channels)],
            local: [items, 1],
            [
                .int(input.height), .int(input.width), .int(input.channels), .int(output.height), .int(output.width),
                .int(output.channels), .int(transposed ? c.kernel - 1 - c.padding : c.padding), .slice(x), .slice(packed),
            ] + finish.addends(otherwise: packed) + [.slice(y)] + finish.flags + [.local(tile.memory(engine.tileProduct))])
    }

    /// - Parameter planes: how many convolutions of one pixel, which follow each other in x, y and `packed`.
    func tileLaunch(
        _ node: String, _ c: Convolution, batch: Int, from x: DeviceSlice, _ input: Extent, to y: DeviceSlice, _ output: Extent,
        packed: DeviceSlice, transposed: Bool = false, planes: Int = 1, finish: PlacedFinish = PlacedFinish()
    ) throws(DeviceError) -> Launch {
        let step = transposed ? c.stride : 1
        let results = batch * ceilDivide(output.height, step) * ceilDivide(output.width, step)
        let size = engine.tiles.fitting(results: results, channels: output.channels, phases: planes * step * step)
        let items = size.items(engine.tileProduct)
        let compiled = engine.tileProduct.compilation(on: engine.device, items: items)
        return try engine.launch(
            node, "convolution_tiles.cl", "convolution_tiles",
            defines: size.defines + (transposed ? [("TRANSPOSED", "1")] : []) + (planes > 1 ? [("PLANES", "1")] : [])
                + compiled.defines + quads("QUADS_READ", input.channels, x)
                + quads("QUADS_WRITTEN", output.channels, y, finish.residual ?? y) + finish.storageDefines(x: x, y: y)
                + far(c, input, results: size.pixels, plane: (output.height / step) * (output.width / step)),
            options: compiled.options,
            global: [
                ceilDivide(results, size.pixels) * items, ceilDivide(output.channels, size.channels), planes * step * step,
            ],
            local: [items, 1, 1],
            [
                .int(batch), .int(input.height), .int(input.width), .int(input.channels), .int(output.height), .int(output.width),
                .int(output.channels), .int(c.kernel), .int(c.stride), .int(c.padding), .slice(x), .slice(packed),
            ] + finish.addends(otherwise: packed) + [.slice(y)] + finish.flags + [.local(size.memory(engine.tileProduct))])
    }

    func lowerTileWeightGradient(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
        let (c, node) = (g.c, network.nodes[id])
        let (x, dy, pixels) = (value(node.inputs[0]), gradient(id), batch * g.output.plane)
        let size = engine.tiles.weightTile(c.outputChannels)
        // Enough work-groups for every compute unit, groups large enough to outweigh the adding of their sums.
        let tiles = ceilDivide(c.fanIn, 64) * ceilDivide(c.outputChannels, size.channels)
        let groups = weightGroups(g, units: pixels, least: 128, tiles: tiles, items: size.items(engine.tileProduct))
        let halo = haloWeights(g)
        let partial = builder.value(max(groups.count, halo?.groups.count ?? 0) * c.outputChannels * c.fanIn)
        builder.step(reads: [x, dy], writes: [partial]) { memory throws(DeviceError) in
            let (x, dy, partial) = (memory[x], memory[dy], memory[partial])
            let takesHalo = x.isQuad && dy.isQuad && partial.isQuad ? halo : nil
            let sums =
                if let takesHalo {
                    try haloWeightLaunch(node.name, g, takesHalo, x, dy, partial)
                } else {
                    try tileWeightLaunch(node.name, g, size, pixelsPerGroup: groups.each, groups: groups.count, x, dy, partial)
                }
            return [
                sums,
                try weightMerge(
                    node.name, groups: takesHalo?.groups.count ?? groups.count, channels: c.inputChannels,
                    outputs: c.outputChannels, taps: g.taps, partial, into: dweight),
            ]
        }
    }

    /// How many of a weight gradient's `units` of work a group takes, and how many groups there are.
    /// - Parameter tiles: groups that share a unit.
    private func weightGroups(
        _ g: ConvolutionGeometry, units: Int, least: Int, tiles: Int, items: Int
    ) -> (each: Int, count: Int) {
        let wanted = min(
            engine.tiles.weightGroups(tiles: tiles, items: items), ceilDivide(units, least),
            engine.partialSumLimit / (g.c.outputChannels * g.c.fanIn))
        let each = ceilDivide(units, max(1, wanted))
        return (each, ceilDivide(units, each))
    }

    private func tileWeightLaunch(
        _ node: String, _ g: ConvolutionGeometry, _ size: TileSize, pixelsPerGroup: Int, groups: Int, _ x: DeviceSlice,
        _ dy: DeviceSlice, _ partial: DeviceSlice
    ) throws(DeviceError) -> Launch {
        let c = g.c
        let items = size.items(engine.tileProduct)
        let compiled = engine.tileProduct.compilation(on: engine.device, items: items)
        return try engine.launch(
            node, "convolution_tiles_weights.cl", "convolution_tiles_weight_partial",
            defines: [("LANES", "\(size.lanes)")] + compiled.defines + quads("QUADS_X", c.inputChannels, x, partial)
                + quads("QUADS_DY", c.outputChannels, dy)
                + far(c, g.input, results: pixelsPerGroup, plane: g.output.plane),
            options: compiled.options,
            global: [ceilDivide(c.fanIn, 64) * items, ceilDivide(c.outputChannels, size.channels), groups], local: [items, 1, 1],
            [
                .int(batch * g.output.plane), .int(g.input.height), .int(g.input.width), .int(c.inputChannels),
                .int(g.output.height), .int(g.output.width), .int(c.outputChannels), .int(c.kernel), .int(c.stride),
                .int(c.padding), .int(pixelsPerGroup), .slice(x), .slice(dy), .slice(partial),
                .local(size.weightMemory(engine.tileProduct)),
            ])
    }

    /// The groups of a weight gradient whose tiles are gathered with what surrounds them, where its size suits them.
    private func haloWeights(_ g: ConvolutionGeometry) -> (tile: HaloWeightTile, groups: (each: Int, count: Int))? {
        let c = g.c
        guard c.kernel == 3, c.stride == 1, c.inputChannels % 16 == 0, c.outputChannels % 4 == 0,
            max(g.input.plane * c.inputChannels, g.output.plane * c.outputChannels) < 1 << 31,
            let tile = engine.tiles.weightHalo(g.output)
        else { return nil }
        let blocks = c.inputChannels / 16 * ceilDivide(c.outputChannels, tile.channels)
        return (
            tile,
            weightGroups(g, units: batch * HaloWeightTile.count(over: g.output), least: 2, tiles: blocks, items: tile.items)
        )
    }

    private func haloWeightLaunch(
        _ node: String, _ g: ConvolutionGeometry, _ halo: (tile: HaloWeightTile, groups: (each: Int, count: Int)),
        _ x: DeviceSlice, _ dy: DeviceSlice, _ partial: DeviceSlice
    ) throws(DeviceError) -> Launch {
        let (c, tile) = (g.c, halo.tile)
        let compiled = engine.tileProduct.compilation(on: engine.device, items: max(tile.items, 128))
        return try engine.launch(
            node, "convolution_halo_weights.cl", "convolution_halo_weight_partial",
            defines: [("LANES", "\(tile.lanes)")] + compiled.defines, options: compiled.options,
            global: [
                c.inputChannels / 16 * tile.items, ceilDivide(c.outputChannels, tile.channels), halo.groups.count,
            ], local: [tile.items, 1, 1],
            [
                .int(batch), .int(g.input.height), .int(g.input.width), .int(c.inputChannels), .int(g.output.height),
                .int(g.output.width), .int(c.outputChannels), .int(c.padding), .int(halo.groups.each), .slice(x), .slice(dy),
                .slice(partial), .local(tile.memory(engine.tileProduct)),
            ])
    }

    /// Adds the sums [groups, outputs, taps, channels] of a weight gradient.
    func weightMerge(
        _ node: String, groups: Int, channels: Int, outputs: Int, taps: Int, _ partial: DeviceSlice, into dweight: DeviceSlice
    ) throws(DeviceError) -> Launch {
        let items = engine.device.maxWorkGroupSize >= 256 ? 256 : 64
        return try engine.launch(
            node, "convolution_weight_merge.cl", "convolution_weight_merge", defines: [("ITEMS", "\(items)")],
            global: [ceilDivide(outputs * taps * channels, 32) * items], local: [items],
            [
                .int(groups), .int(channels), .int(outputs), .int(taps), .slice(partial), .slice(dweight), .local(4 * items),
            ])
    }
}
