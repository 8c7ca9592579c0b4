import OpenCLRuntime
import RLDGraph

/// Linear layers: matrix products through CLBlast, the bias in a launch of its own. For tf32, and for values stored as half, they
/// are convolutions.
extension Lowering {
    private func isConvolution(_ values: PlanBuilder.Value...) -> Bool {
        engine.precision == .tf32 || values.contains { $0.element == .float16 }
    }

    func lowerLinear(_ id: Network.NodeID, _ l: Linear) throws(DeviceError) {
        let node = network.nodes[id]
        let (x, y) = (value(node.inputs[0]), value(id))
        let weight = store.parameter("\(node.name).weight", count: l.outputs * l.inputs)
        let bias = store.parameter("\(node.name).bias", count: l.outputs)
        if isConvolution(x, y) {
            let g = ConvolutionGeometry(network, id, l.convolution)
            try checkTiles(g)
            let packed = try store.packedWeights(node.name, transposed: false).slice
            let finish = ConvolutionFinish(bias: l.bias ? bias : nil, residual: nil, relu: false)
            return lowerTiles(id, g.c, from: x, g.input, to: y, g.output, packed: packed, transposed: false, finish: finish)
        }
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            // y [batch, outputs] = x [batch, inputs] weight^T
            let product = try product(
                id,
                MatrixProduct(
                    m: batch, n: l.outputs, k: l.inputs, a: memory[x], b: weight, transposeB: true, c: memory[y]))
            guard l.bias else { return [product] }
            return [
                product,
                try addBias(id, channels: l.outputs, rows: batch, bias: bias, y: memory[y]),
            ]
        }
    }

    func lowerLinearBackward(_ step: BackwardPass.Step, _ l: Linear) throws(DeviceError) {
        let id = step.node
        let node = network.nodes[id]
        let (x, dy) = (value(node.inputs[0]), gradient(id))
        let weight = store.parameter("\(node.name).weight", count: l.outputs * l.inputs)
        let dweight = store.gradient("\(node.name).weight", count: l.outputs * l.inputs)
        let g = ConvolutionGeometry(network, id, l.convolution)
        if isConvolution() {
            try checkTiles(g)
            lowerTileWeightGradient(id, g, dweight)
        } else {
            builder.step(reads: [x, dy], writes: []) { memory throws(DeviceError) in
                // d weight [outputs, inputs] = dy^T [outputs, batch] x [batch, inputs]
                [
                    try product(
                        id,
                        MatrixProduct(
                            m: l.outputs, n: l.inputs, k: batch, a: memory[dy], transposeA: true, b: memory[x], c: dweight))
                ]
            }
        }
        if l.bias {
            lowerColumnSums(
                id, rows: batch, columns: l.outputs, of: dy, into: store.gradient("\(node.name).bias", count: l.outputs))
        }
        guard let target = target(step, input: 0) else { return }
        if isConvolution() {
            let packed = try store.packedWeights(node.name, transposed: true).slice
            let finish = ConvolutionFinish(bias: nil, residual: target.accumulates ? target.value : nil, relu: false)
            return lowerTiles(
                id, g.c, from: dy, g.output, to: target.value, g.input, packed: packed, transposed: true, finish: finish)
        }
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            // dx [batch, inputs] = dy [batch, outputs] weight [outputs, inputs]
            [
                try product(
                    id,
                    MatrixProduct(
                        m: batch, n: l.inputs, k: l.outputs, a: memory[dy], b: weight, c: memory[target.value],
                        accumulate: target.accumulates))
            ]
        }
    }

    /// A matrix product whose workspace is reserved.
    func product(_ id: Network.NodeID, _ product: MatrixProduct) throws(DeviceError) -> Launch {
        try engine.products.reserve(product)
        return Launch(node: network.nodes[id].name, work: .product(product))
    }

    /// In place: adds a bias to [rows, channels].
    private func addBias(
        _ id: Network.NodeID, channels: Int, rows: Int, bias: DeviceSlice, y: DeviceSlice
    ) throws(DeviceError) -> Launch {
        let count = rows * channels
        return try engine.launch(
            network.nodes[id].name, "elementwise.cl", "add_bias", defines: [("ITEM", "\(engine.elementsPerItem)")],
            global: [engine.elementItems(count)], heavyItems: true,
            [.long(count), .int(channels), .slice(bias), .slice(y)])
    }
}
