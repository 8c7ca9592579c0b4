import OpenCLRuntime
import RLDGraph

/// 3x3 convolutions at stride 1 on the cpu profile, by Winograd's F(4x4, 3x3), or F(2x2, 3x3) where a forward pass is differentiated.
extension Lowering {
    /// Elements of one worker's cache-resident scratch memory: about half of a level-2 cache of 1 MiB.
    private static let workerScratch = 100 << 10
    /// Elements between the launches of a weight gradient that stay in a level-3 cache.
    private static let chunkScratch = 5 << 18
    /// Most elements of one worker's sums of a weight gradient that stay in its level-2 cache.
    private static let groupSums = 40 << 10
    /// Elements of the sums of a weight gradient; with more it is computed some output channels at a time.
    private static let sumsScratch = 1 << 19

    /// y = the convolution of x with packed weights: the forward pass, or with dy and dx in their places the input gradient.
    func lowerWinograd(
        _ id: Network.NodeID, from x: PlanBuilder.Value, _ input: Extent, to y: PlanBuilder.Value, _ output: Extent, padding: Int,
        packed: DeviceSlice, results: Int, finish: ConvolutionFinish
    ) {
        let tile = engine.registers.forwardTile(block: engine.registers.block(output.channels))
        let tiles = batch * ConvolutionGeometry.winogradTiles(output, results: results)
        let area = (results + 2) * (results + 2)
        // As many tiles as keep their values in cache, at least two rows of register tiles.
        let perTile = area * (input.channels + output.channels)
        let most = 768 / (results * results)
        let wanted = max(2, min(most, Self.workerScratch / perTile) / tile.rows)
        let registerTiles = ceilDivide(tiles, tile.rows)
        // Two rows of register tiles share what is read of the weights.
        let least = min(2, ceilDivide(registerTiles, engine.device.computeUnits))
        let groupTiles = max(least, engine.groupSize(registerTiles, most: wanted)) * tile.rows
        let scratchSize = area * (groupTiles * (input.channels + output.channels) + 32)
        let workers = engine.workers(ceilDivide(tiles, groupTiles), scratch: scratchSize)
        let scratch = builder.value(workers * scratchSize)
        builder.step(reads: [x] + finish.reads, writes: [y, scratch]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[id].name, "convolution_winograd.cl", "convolution_winograd",
                    defines: tile.defines + [("RESULTS", "\(results)"), ("GROUP_TILES", "\(most)")]
                        + finish.placed(memory).storageDefines(x: memory[x], y: memory[y]),
                    global: [workers], heavyItems: true,
                    [
                        .int(batch), .int(input.height), .int(input.width), .int(input.channels), .int(output.height),
                        .int(output.width), .int(output.channels), .int(padding), .int(groupTiles), .slice(memory[x]),
                        .slice(packed),
                    ] + finish.placed(memory).addends(otherwise: packed) + [.slice(memory[y]), .slice(memory[scratch])]
                        + finish.placed(memory).flags)
            ]
        }
    }

    private func winogradSums(_ g: ConvolutionGeometry) -> Int { 36 * g.c.inputChannels * g.c.outputChannels }

    /// Elements of the transformed values of some images.
    private func winogradTransformed(_ g: ConvolutionGeometry, images: Int) -> Int {
        36 * (images * ConvolutionGeometry.winogradTiles(g.output) * (g.c.inputChannels + g.c.outputChannels) + 32)
    }

    /// Whether the device allocates enough at once.
    func fitsWinogradWeightGradient(_ g: ConvolutionGeometry) -> Bool {
        max(winogradSums(g), winogradTransformed(g, images: 1)) <= engine.allocationLimit / 4
    }

    func lowerWinogradWeightGradient(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
        if winogradSums(g) <= Self.groupSums {
            lowerWinogradGroups(id, g, dweight)
        } else {
            lowerWinogradChunks(id, g, dweight)
        }
    }

    /// Few channels: groups of tiles, each by one worker in cache.
    private func lowerWinogradGroups(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
        let (c, node) = (g.c, network.nodes[id])
        let (x, dy) = (value(node.inputs[0]), gradient(id))
        let tile = engine.registers.weightTile(block: engine.registers.block(c.inputChannels))
        let tiles = batch * ConvolutionGeometry.winogradTiles(g.output)
        let channels = c.inputChannels + c.outputChannels
        let chunk = max(1, min(Self.workerScratch / 2 / (36 * channels), tiles))
        let scratchSize = 36 * (chunk * channels + 32)
        let workers = engine.workers(ceilDivide(tiles, 2 * chunk), scratch: max(scratchSize, winogradSums(g)))
        let groupTiles = ceilDivide(tiles, workers)
        let groups = ceilDivide(tiles, groupTiles)
        let sums = builder.value(groups * winogradSums(g))
        let scratch = builder.value(groups * scratchSize)
        builder.step(reads: [x, dy], writes: [sums, scratch]) { memory throws(DeviceError) in
            [
                try winogradWeights(
                    id, "group", tile, [groups],
                    [
                        .int(tiles), .int(groupTiles), .int(chunk), .int(g.input.height), .int(g.input.width),
                        .int(c.inputChannels), .int(g.output.height), .int(g.output.width), .int(c.outputChannels),
                        .int(c.padding), .slice(memory[x]), .slice(memory[dy]), .slice(memory[sums]), .slice(memory[scratch]),
                    ]),
                try winogradWeights(
                    id, "finish", tile, [c.inputChannels / tile.lanes, c.outputChannels], heavy: false,
                    [
                        .int(c.inputChannels), .int(c.outputChannels), .int(groups), .slice(memory[sums]), .slice(dweight),
                    ]),
            ]
        }
    }

    private func winogradWeights(
        _ id: Network.NodeID, _ function: String, _ tile: RegisterTile, _ global: [Int], heavy: Bool = true,
        _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        try engine.launch(
            network.nodes[id].name, "convolution_winograd_weights.cl", "convolution_winograd_weight_\(function)",
            defines: tile.defines, global: global, heavyItems: heavy, arguments)
    }

    /// More channels: a few images at a time through launches that share out one step.
    private func lowerWinogradChunks(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
        let (c, node) = (g.c, network.nodes[id])
        let (x, dy) = (value(node.inputs[0]), gradient(id))
        let tile = engine.registers.weightTile(block: engine.registers.block(c.inputChannels))
        // Each chunk of images reads and writes all sums once: they should not outweigh its own values.
        let limit = min(max(Self.chunkScratch, 2 * winogradSums(g)), engine.allocationLimit / 4)
        let images = max(1, min(batch, limit / winogradTransformed(g, images: 1)))
        // With all images in one chunk, sums of some outputs after the other.
        let slices =
            images < batch ? 1 : ceilDivide(winogradSums(g), min(Self.sumsScratch, engine.allocationLimit / 32))
        let outputs = min(ceilDivide(ceilDivide(c.outputChannels, slices), tile.rows) * tile.rows, c.outputChannels)
        let workers = engine.workers(images * ConvolutionGeometry.winogradTiles(g.output), scratch: 1)
        let transformed = builder.value(winogradTransformed(g, images: images) + 16 * workers)
        let sums = builder.value(36 * c.inputChannels * outputs)
        builder.step(reads: [x, dy], writes: [transformed, sums]) { memory throws(DeviceError) in
            var launches: [Launch] = []
            func launch(_ function: String, _ global: [Int], heavy: Bool = true, _ arguments: [KernelArgument])
                throws(DeviceError)
            {
                launches.append(try winogradWeights(id, function, tile, global, heavy: heavy, arguments))
            }
            for first in stride(from: 0, to: batch, by: images) {
                let count = min(images, batch - first)
                let tiles = count * ConvolutionGeometry.winogradTiles(g.output)
                let (inputSize, outputSize) = (g.input.plane * c.inputChannels, g.output.plane * c.outputChannels)
                try launch(
                    "transform", [min(workers, tiles)],
                    [
                        .int(tiles), .int(g.input.height), .int(g.input.width), .int(c.inputChannels), .int(g.output.height),
                        .int(g.output.width), .int(c.outputChannels), .int(c.padding),
                        .slice(memory[x].slice(first * inputSize, count * inputSize)),
                        .slice(memory[dy].slice(first * outputSize, count * outputSize)), .slice(memory[transformed]),
                    ])
                for output in stride(from: 0, to: c.outputChannels, by: outputs) {
                    let some = min(outputs, c.outputChannels - output)
                    try launch(
                        "multiply", [c.inputChannels / tile.block, 36],
                        [
                            .int(tiles), .int(c.inputChannels), .int(c.outputChannels), .int(output), .int(some),
                            .slice(memory[transformed]), .slice(memory[sums]), .int(first == 0 ? 0 : 1),
                        ])
                    guard first + count == batch else { continue }
                    let size = c.inputChannels * c.kernel * c.kernel
                    try launch(
                        "finish", [c.inputChannels / tile.lanes, some], heavy: false,
                        [
                            .int(c.inputChannels), .int(some), .int(1), .slice(memory[sums]),
                            .slice(dweight.slice(output * size, some * size)),
                        ])
                }
            }
            return launches
        }
    }
}
