import OpenCLRuntime
import RLDGraph

/// Convolution on the gpu profile: patches and matrix products through CLBlast.
extension Lowering {
    /// Output pixels of the batch.
    private func rows(_ g: ConvolutionGeometry) -> Int { batch * g.output.plane }

    func lowerProductConvolution(_ id: Network.NodeID, _ g: ConvolutionGeometry, bias: DeviceSlice?, residual: PlanBuilder.Value?)
    {
        let (c, node, x, y) = (g.c, network.nodes[id], value(network.nodes[id].inputs[0]), value(id))
        let weight = store.parameter("\(node.name).weight", count: c.outputChannels * c.fanIn)
        let workspace = builder.value(patchRows(g) * patchColumns(g))
        builder.step(reads: [x] + (residual.map { [$0] } ?? []), writes: [y, workspace]) { memory throws(DeviceError) in
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
                        id, channels: c.outputChannels, rows: rows(g), bias: bias, residual: residual.map { memory[$0] },
                        relu: c.epilogue.relu, y: memory[y]))
            }
            return launches
        }
    }

    /// Columns of the patch matrix; a 1x1 convolution at stride 1 needs none, its input is the matrix.
    private func patchColumns(_ g: ConvolutionGeometry) -> Int { g.isPlainProduct ? 0 : g.c.fanIn }

    /// Output pixels per chunk, so that a chunk's patches stay within the workspace.
    private func patchRows(_ g: ConvolutionGeometry) -> Int {
        let limit = min(engine.allocationLimit / 4, 64 << 20)
        return max(1, min(rows(g), limit / max(g.c.fanIn, 1)))
    }

    /// The chunks of output pixels, each with its first pixel and their number.
    private func chunks(_ g: ConvolutionGeometry) -> [(first: Int, rows: Int)] {
        let size = patchRows(g)
        return stride(from: 0, to: rows(g), by: size).map { (first: $0, rows: min(size, rows(g) - $0)) }
    }

    private func im2col(
        _ id: Network.NodeID, _ g: ConvolutionGeometry, first: Int, rows: Int, x: DeviceSlice, patches: DeviceSlice
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
        _ id: Network.NodeID, _ g: ConvolutionGeometry, x: DeviceSlice, workspace: DeviceSlice,
        _ make: (Int, Int, DeviceSlice) throws(DeviceError) -> MatrixProduct
    ) throws(DeviceError) -> [Launch] {
        var launches: [Launch] = []
        for (first, rows) in chunks(g) {
            var patches = workspace
            if g.isPlainProduct {
                patches = x.slice(first * g.c.inputChannels, rows * g.c.inputChannels)
            } else {
                launches.append(try im2col(id, g, first: first, rows: rows, x: x, patches: workspace))
            }
            launches.append(try product(id, make(first, rows, patches)))
        }
        return launches
    }

    func lowerProductWeightGradient(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ dweight: DeviceSlice) {
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

    func lowerProductInputGradient(_ id: Network.NodeID, _ g: ConvolutionGeometry, _ target: GradientTarget) {
        let (c, node, dy) = (g.c, network.nodes[id], gradient(id))
        let weight = store.parameter("\(node.name).weight", count: c.outputChannels * c.fanIn)
        let workspace = builder.value(patchRows(g) * patchColumns(g))
        builder.step(reads: [dy] + target.reads, writes: [target.value, workspace]) { memory throws(DeviceError) in
            var launches: [Launch] = []
            for (first, rows) in chunks(g) {
                let dx = memory[target.value]
                let plain = g.isPlainProduct
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
