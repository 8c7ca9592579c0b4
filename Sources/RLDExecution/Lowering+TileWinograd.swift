import OpenCLRuntime
import RLDGraph

/// 3x3 convolutions at stride 1 on the gpu profile in float32 by Winograd's F(4x4, 3x3), where channels are many: a quarter of the
/// products, for values that go through memory between three launches.
extension Lowering {
    /// y = the convolution of x with packed weights: the forward pass, or with dy and dx in their places the input gradient.
    func lowerTileWinograd(
        _ id: Network.NodeID, _ c: Convolution, from x: PlanBuilder.Value, _ input: Extent, to y: PlanBuilder.Value,
        _ output: Extent, padding: Int, packed: DeviceSlice, finish: ConvolutionFinish
    ) {
        let node = network.nodes[id].name
        let perImage = ConvolutionGeometry.winogradTiles(output)
        let channels = input.channels + output.channels
        let fitting = max(1, min(batch, engine.winogradScratch / (36 * perImage * channels)))
        // As many images in every round.
        let images = ceilDivide(batch, ceilDivide(batch, fitting))
        var pixelwise = c
        (pixelwise.kernel, pixelwise.padding) = (1, 0)
        let transformed = builder.value(36 * images * perImage * input.channels)
        let products = builder.value(36 * images * perImage * output.channels)
        builder.step(reads: [x] + finish.reads, writes: [y, transformed, products]) { memory throws(DeviceError) in
            let finish = finish.placed(memory)
            let storage = finish.storageDefines(x: memory[x], y: memory[y])
            func launch(_ function: String, items: Int, _ arguments: [KernelArgument]) throws(DeviceError) -> Launch {
                try engine.launch(
                    node, "convolution_winograd_transforms.cl", "winograd_transform_\(function)", defines: storage,
                    global: [items], arguments)
            }
            var launches: [Launch] = []
            for first in stride(from: 0, to: batch, by: images) {
                let count = min(images, batch - first)
                let tiles = count * perImage
                func part(_ slice: DeviceSlice, _ extent: Extent) -> DeviceSlice {
                    let size = extent.plane * extent.channels
                    return slice.slice(first * size, count * size)
                }
                var own = finish
                own.residual = finish.residual.map { part($0, output) }
                launches.append(
                    try launch(
                        "input", items: tiles * input.channels,
                        [
                            .int(tiles), .int(input.height), .int(input.width), .int(input.channels), .int(output.height),
                            .int(output.width), .int(padding), .slice(part(memory[x], input)), .slice(memory[transformed]),
                        ]))
                launches.append(
                    try tileLaunch(
                        node, pixelwise, batch: tiles, from: memory[transformed], Extent([input.channels]), to: memory[products],
                        Extent([output.channels]), packed: packed, planes: 36))
                launches.append(
                    try launch(
                        "output", items: tiles * output.channels,
                        [
                            .int(tiles), .int(output.height), .int(output.width), .int(output.channels),
                            .slice(memory[products]),
                        ] + own.addends(otherwise: packed) + [.slice(part(memory[y], output))] + own.flags))
            }
            return launches
        }
    }
}
