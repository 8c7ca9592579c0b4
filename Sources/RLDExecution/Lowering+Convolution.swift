import OpenCLRuntime
import RLDGraph

/// The direct convolution's tile constants.
enum DirectConvolution {
    /// Output channels per tile (BLOCK in the kernels).
    static let block = 16
    /// Output pixels per tile: with 16 channels 12 of AVX2's 16 registers. Not tuned for AVX-512.
    static let pixels = 6
    static let defines = [("BLOCK", "\(block)"), ("PIXELS", "\(pixels)")]
    /// Largest memory for the partial sums of one weight gradient, in elements.
    static let partialLimit = 4 << 20
}

/// Convolution: direct register-tiled kernels on the cpu profile, patches and CLBlast on the gpu profile.
extension Lowering {
    /// A convolution's geometry, as both profiles need it.
    private struct Geometry {
        let c: Convolution
        let input: Extent
        let output: Extent
        let batch: Int
        var rows: Int { batch * output.plane }
        var taps: Int { c.kernel * c.kernel }
    }

    private func geometry(_ id: Network.NodeID, _ c: Convolution) -> Geometry {
        Geometry(c: c, input: extent(network.nodes[id].inputs[0]), output: extent(id), batch: batch)
    }

    func lowerConvolution(_ id: Network.NodeID, _ c: Convolution) throws(DeviceError) {
        let node = network.nodes[id]
        let g = geometry(id, c)
        let (x, y) = (value(node.inputs[0]), value(id))
        let bias = c.bias ? store.parameter("\(node.name).bias", count: c.outputChannels) : nil
        let residual = c.epilogue.residual ? value(node.inputs[1]) : nil
        let reads = [x] + (residual.map { [$0] } ?? [])

        if let packed = store.packedWeights(node.name, transposed: false) {
            let zeros = try engine.zeros(c.inputChannels)
            builder.step(reads: reads, writes: [y]) { memory throws(DeviceError) in
                [
                    try engine.launch(
                        node.name, "convolution_direct.cl", "convolution_direct_forward", defines: DirectConvolution.defines,
                        global: directGlobal(channels: c.outputChannels, pixels: g.rows), heavyItems: true,
                        [
                            .long(g.rows), .int(g.input.height), .int(g.input.width), .int(c.inputChannels),
                            .int(g.output.height), .int(g.output.width), .int(c.outputChannels), .int(c.kernel), .int(c.stride),
                            .int(c.padding), .slice(memory[x]), .slice(packed), .slice(bias ?? packed),
                            .slice(residual.map { memory[$0] } ?? packed), .buffer(zeros), .slice(memory[y]),
                            .int(bias == nil ? 0 : 1), .int(residual == nil ? 0 : 1), .int(c.epilogue.relu ? 1 : 0),
                        ])
                ]
            }
            return
        }
        let weight = store.parameter("\(node.name).weight", count: c.outputChannels * c.fanIn)
        let workspace = builder.value(patchRows(g) * patchColumns(g))
        builder.step(reads: reads, writes: [y, workspace]) { memory throws(DeviceError) in
            var launches = try forEachChunk(id, g, x: memory[x], workspace: memory[workspace]) {
                (first, rows, patches) throws(DeviceError) in
                // y [rows, outputs] = patches [rows, fan-in] weight^T
                MatrixProduct(
                    m: rows, n: c.outputChannels, k: c.fanIn, a: patches, b: weight, transposeB: true,
                    c: memory[y].slice(first * c.outputChannels, rows * c.outputChannels))
            }
            if bias != nil || c.epilogue != Epilogue() {
                launches.append(
                    try epilogue(
                        id, channels: c.outputChannels, rows: g.rows, bias: bias, residual: residual.map { memory[$0] },
                        relu: c.epilogue.relu, y: memory[y]))
            }
            return launches
        }
    }

    func lowerConvolutionBackward(_ step: BackwardPass.Step, _ c: Convolution) throws(DeviceError) {
        let id = step.node
        let name = network.nodes[id].name
        let g = geometry(id, c)
        let dy = gradient(id)
        if c.bias {
            lowerColumnSums(
                id, rows: g.rows, columns: c.outputChannels, of: dy,
                into: store.gradient("\(name).bias", count: c.outputChannels))
        }
        let dweight = store.gradient("\(name).weight", count: c.outputChannels * c.fanIn)
        if store.packedWeights(name, transposed: false) != nil {
            lowerDirectWeightGradient(id, g, dweight)
        } else {
            lowerPatchWeightGradient(id, g, dweight)
        }
        guard let target = target(step, input: 0) else { return }
        if let packed = store.packedWeights(name, transposed: true) {
            try lowerDirectInputGradient(id, g, packed, target)
        } else {
            lowerPatchInputGradient(id, g, target)
        }
    }

    // MARK: Direct kernels

    private func directGlobal(channels: Int, pixels: Int) -> [Int] {
        [ceilDivide(channels, DirectConvolution.block), ceilDivide(pixels, DirectConvolution.pixels)]
    }

    private func lowerDirectInputGradient(
        _ id: Network.NodeID, _ g: Geometry, _ packed: DeviceSlice, _ target: GradientTarget
    ) throws(DeviceError) {
        let (c, dy) = (g.c, gradient(id))
        let zeros = try engine.zeros(c.outputChannels)
        let pixels = batch * g.input.plane
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[id].name, "convolution_direct.cl", "convolution_direct_input_gradient",
                    defines: DirectConvolution.defines, global: directGlobal(channels: c.inputChannels, pixels: pixels),
                    heavyItems: true,
                    [
                        .long(pixels), .int(g.output.height), .int(g.output.width), .int(c.outputChannels),
                        .int(g.input.height), .int(g.input.width), .int(c.inputChannels), .int(c.kernel), .int(c.stride),
                        .int(c.padding), .slice(memory[dy]), .slice(packed), .slice(packed), .slice(memory[target.value]),
                        .buffer(zeros), .slice(memory[target.value]), .int(0), .int(target.accumulates ? 1 : 0), .int(0),
                    ])
            ]
        }
    }

    private func lowerDirectWeightGradient(_ id: Network.NodeID, _ g: Geometry, _ dweight: DeviceSlice) {
        let (c, name, x, dy) = (g.c, network.nodes[id].name, value(network.nodes[id].inputs[0]), gradient(id))
        let blocks = ceilDivide(c.outputChannels, DirectConvolution.block)
        let groupSize = blocks * g.taps * c.inputChannels * DirectConvolution.block
        // One group per image keeps its tiles in cache; fewer, larger groups where the partial sums grow too large.
        let groups = max(1, min(batch, min(DirectConvolution.partialLimit, engine.allocationLimit / 4) / groupSize))
        let imagesPerGroup = ceilDivide(batch, groups)
        let groupCount = ceilDivide(batch, imagesPerGroup)
        let partial = builder.value(groupCount * groupSize)
        let defines = [("BLOCK", "\(DirectConvolution.block)")]
        builder.step(reads: [x, dy], writes: [partial]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    name, "convolution_direct_weights.cl", "convolution_direct_weight_partial", defines: defines,
                    global: [blocks * g.taps * ceilDivide(c.inputChannels, 4), groupCount], heavyItems: true,
                    [
                        .int(batch), .int(imagesPerGroup), .int(g.input.height), .int(g.input.width), .int(c.inputChannels),
                        .int(g.output.height), .int(g.output.width), .int(c.outputChannels), .int(c.kernel), .int(c.stride),
                        .int(c.padding), .slice(memory[x]), .slice(memory[dy]), .slice(memory[partial]),
                    ]),
                try engine.launch(
                    name, "convolution_direct_weights.cl", "convolution_direct_weight_combine", defines: defines,
                    global: [c.inputChannels, g.taps, blocks],
                    [
                        .int(groupCount), .int(c.inputChannels), .int(c.outputChannels), .int(g.taps), .slice(memory[partial]),
                        .slice(dweight),
                    ]),
            ]
        }
    }

    // MARK: Patches and matrix products

    /// Columns of the patch matrix; a 1x1 convolution at stride 1 needs none, its input is the matrix.
    private func patchColumns(_ g: Geometry) -> Int { isPlainProduct(g.c) ? 0 : g.c.fanIn }

    private func isPlainProduct(_ c: Convolution) -> Bool { c.kernel == 1 && c.stride == 1 && c.padding == 0 }

    /// Output pixels per chunk, so that a chunk's patches stay within the workspace.
    private func patchRows(_ g: Geometry) -> Int {
        let limit = min(engine.allocationLimit / 4, 64 << 20)
        return max(1, min(g.rows, limit / max(g.c.fanIn, 1)))
    }

    /// The chunks of output pixels, each with its first pixel and their number.
    private func chunks(_ g: Geometry) -> [(first: Int, rows: Int)] {
        let size = patchRows(g)
        return stride(from: 0, to: g.rows, by: size).map { (first: $0, rows: min(size, g.rows - $0)) }
    }

    private func im2col(
        _ id: Network.NodeID, _ g: Geometry, first: Int, rows: Int, x: DeviceSlice, patches: DeviceSlice
    ) throws(DeviceError) -> Launch {
        try engine.launch(
            network.nodes[id].name, "convolution_im2col.cl", "im2col", global: [g.c.fanIn, rows],
            [
                .int(g.c.inputChannels), .int(g.input.height), .int(g.input.width), .int(g.output.height), .int(g.output.width),
                .int(g.c.kernel), .int(g.c.stride), .int(g.c.padding), .long(first), .slice(x), .slice(patches),
            ])
    }

    /// Per chunk: its patches (or, for a plain product, its rows of the input), then the product that `make` returns.
    private func forEachChunk(
        _ id: Network.NodeID, _ g: Geometry, x: DeviceSlice, workspace: DeviceSlice,
        _ make: (Int, Int, DeviceSlice) throws(DeviceError) -> MatrixProduct
    ) throws(DeviceError) -> [Launch] {
        var launches: [Launch] = []
        for (first, rows) in chunks(g) {
            var patches = workspace
            if isPlainProduct(g.c) {
                patches = x.slice(first * g.c.inputChannels, rows * g.c.inputChannels)
            } else {
                launches.append(try im2col(id, g, first: first, rows: rows, x: x, patches: workspace))
            }
            launches.append(try product(id, make(first, rows, patches)))
        }
        return launches
    }

    private func lowerPatchWeightGradient(_ id: Network.NodeID, _ g: Geometry, _ dweight: DeviceSlice) {
        let (c, x, dy) = (g.c, value(network.nodes[id].inputs[0]), gradient(id))
        let workspace = builder.value(patchRows(g) * patchColumns(g))
        builder.step(reads: [x, dy], writes: [workspace]) { memory throws(DeviceError) in
            try forEachChunk(id, g, x: memory[x], workspace: memory[workspace]) { (first, rows, patches) throws(DeviceError) in
                // d weight [outputs, fan-in] (+)= dy^T [outputs, rows] patches [rows, fan-in]
                MatrixProduct(
                    m: c.outputChannels, n: c.fanIn, k: rows,
                    a: memory[dy].slice(first * c.outputChannels, rows * c.outputChannels), transposeA: true, b: patches,
                    c: dweight, accumulate: first > 0)
            }
        }
    }

    private func lowerPatchInputGradient(_ id: Network.NodeID, _ g: Geometry, _ target: GradientTarget) {
        let (c, node, dy) = (g.c, network.nodes[id], gradient(id))
        let weight = store.parameter("\(node.name).weight", count: c.outputChannels * c.fanIn)
        let workspace = builder.value(patchRows(g) * patchColumns(g))
        builder.step(reads: [dy] + target.reads, writes: [target.value, workspace]) { memory throws(DeviceError) in
            var launches: [Launch] = []
            for (first, rows) in chunks(g) {
                let dx = memory[target.value]
                let plain = isPlainProduct(c)
                // d patches [rows, fan-in] = dy [rows, outputs] weight [outputs, fan-in]
                launches.append(
                    try product(
                        id,
                        MatrixProduct(
                            m: rows, n: c.fanIn, k: c.outputChannels,
                            a: memory[dy].slice(first * c.outputChannels, rows * c.outputChannels), b: weight,
                            c: plain ? dx.slice(first * c.inputChannels, rows * c.inputChannels) : memory[workspace],
                            accumulate: plain && target.accumulates)))
                guard !plain else { continue }
                // Every chunk but the first adds to what the ones before it wrote; the first visits every pixel.
                let all = first == 0
                let firstImage = all ? 0 : first / g.output.plane
                let lastImage = all ? batch : ceilDivide(first + rows, g.output.plane)
                launches.append(
                    try engine.launch(
                        node.name, "convolution_im2col.cl", "col2im",
                        global: [c.inputChannels, (lastImage - firstImage) * g.input.plane],
                        [
                            .int(c.inputChannels), .int(g.input.height), .int(g.input.width), .int(g.output.height),
                            .int(g.output.width), .int(c.kernel), .int(c.stride), .int(c.padding), .long(first), .long(rows),
                            .long(firstImage * g.input.plane), .slice(memory[workspace]), .slice(dx),
                            .int(all ? target.mode : 2),
                        ]))
            }
            return launches
        }
    }
}
