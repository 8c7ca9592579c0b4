import OpenCLRuntime
import RLDGraph

/// Convolution: Winograd's algorithm and patches in register tiles on the cpu profile, Winograd's algorithm and tiles in local memory
/// on the gpu profile.
extension Lowering {
    func lowerConvolution(_ id: Network.NodeID, _ c: Convolution) throws(DeviceError) {
        let node = network.nodes[id]
        let g = ConvolutionGeometry(network, id, c)
        let bias = c.bias ? store.parameter("\(node.name).bias", count: c.outputChannels) : nil
        let residual = c.epilogue.residual ? value(node.inputs[1]) : nil
        let x = value(node.inputs[0])
        let finish = ConvolutionFinish(bias: bias, residual: residual, relu: c.epilogue.relu)
        let packed = try store.packedWeights(node.name, transposed: false)
        if engine.profile == .gpu {
            try checkTiles(g)
            if packed.winogradResults != nil {
                return lowerTileWinograd(
                    id, c, from: x, g.input, to: value(id), g.output, padding: c.padding, packed: packed.slice, finish: finish)
            }
            return lowerTiles(
                id, c, from: x, g.input, to: value(id), g.output, packed: packed.slice, transposed: false, finish: finish)
        }
        if let results = packed.winogradResults {
            lowerWinograd(
                id, from: x, g.input, to: value(id), g.output, padding: c.padding, packed: packed.slice, results: results,
                finish: finish)
        } else {
            lowerPatches(id, g, from: x, to: value(id), packed: packed.slice, finish: finish)
        }
    }

    func lowerConvolutionBackward(_ step: BackwardPass.Step, _ c: Convolution) throws(DeviceError) {
        let id = step.node
        let name = network.nodes[id].name
        let g = ConvolutionGeometry(network, id, c)
        let dy = gradient(id)
        if c.bias {
            lowerColumnSums(
                id, rows: batch * g.output.plane, columns: c.outputChannels, of: dy,
                into: store.gradient("\(name).bias", count: c.outputChannels))
        }
        let dweight = store.gradient("\(name).weight", count: c.outputChannels * c.fanIn)
        if engine.profile == .gpu {
            try checkTiles(g)
            lowerTileWeightGradient(id, g, dweight)
        } else if g.winogradForward, fitsWinogradWeightGradient(g) {
            lowerWinogradWeightGradient(id, g, dweight)
        } else {
            lowerPatchWeightGradient(id, g, dweight)
        }
        guard let target = target(step, input: 0) else { return }
        let finish = ConvolutionFinish(bias: nil, residual: target.accumulates ? target.value : nil, relu: false)
        let packed = try store.packedWeights(name, transposed: true)
        if engine.profile == .gpu {
            if packed.winogradResults != nil {
                return lowerTileWinograd(
                    id, c, from: dy, g.output, to: target.value, g.input, padding: c.kernel - 1 - c.padding, packed: packed.slice,
                    finish: finish)
            }
            return lowerTiles(
                id, c, from: dy, g.output, to: target.value, g.input, packed: packed.slice, transposed: true, finish: finish)
        }
        if let results = packed.winogradResults {
            // A convolution of dy with the turned weights.
            lowerWinograd(
                id, from: dy, g.output, to: target.value, g.input, padding: c.kernel - 1 - c.padding, packed: packed.slice,
                results: results, finish: finish)
        } else if let transposed = g.pointwiseTranspose {
            lowerPatches(id, transposed, from: dy, to: target.value, packed: packed.slice, finish: finish)
        } else {
            lowerPatchInputGradient(id, g, packed: packed.slice, target)
        }
    }
}

/// What a convolution's kernel adds before it stores. The residual may be the result's own place.
struct ConvolutionFinish {
    let bias: DeviceSlice?
    let residual: PlanBuilder.Value?
    let relu: Bool

    var reads: [PlanBuilder.Value] { residual.map { [$0] } ?? [] }

    func placed(_ memory: PlanBuilder.Memory) -> PlacedFinish {
        PlacedFinish(bias: bias, residual: residual.map { memory[$0] }, relu: relu)
    }
}

/// The same, once values have places.
struct PlacedFinish {
    var bias: DeviceSlice?
    var residual: DeviceSlice?
    var relu = false

    /// The bias and the residual; where there is none any address does.
    func addends(otherwise: DeviceSlice) -> [KernelArgument] { [.slice(bias ?? otherwise), .slice(residual ?? otherwise)] }

    /// What the kernel is built with for how values are stored.
    func storageDefines(x: DeviceSlice, y: DeviceSlice) -> [(String, String)] {
        DeviceSlice.storageDefines(x: x, residual: residual, y: y)
    }

    var flags: [KernelArgument] { [.int(bias == nil ? 0 : 1), .int(residual == nil ? 0 : 1), .int(relu ? 1 : 0)] }
}
