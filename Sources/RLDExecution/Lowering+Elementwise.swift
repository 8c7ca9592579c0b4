import OpenCLRuntime
import RLDGraph

/// relu, relu6, add, flatten.
extension Lowering {
    private func elementwise(
        _ node: Network.NodeID, _ function: String, defines: [(String, String)] = [], count: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        try engine.launch(
            network.nodes[node].name, "elementwise.cl", function, defines: [("ITEM", "\(engine.elementsPerItem)")] + defines,
            global: [engine.elementItems(count)], heavyItems: true, [.long(count)] + arguments)
    }

    /// - Parameter kernel: "relu" or "relu6".
    func lowerRectifier(_ id: Network.NodeID, _ kernel: String) {
        let (x, y) = (value(network.nodes[id].inputs[0]), value(id))
        let count = batch * network.nodes[id].size
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            [
                try elementwise(
                    id, "\(kernel)_forward", defines: DeviceSlice.storageDefines(x: memory[x], y: memory[y]), count: count,
                    [.slice(memory[x]), .slice(memory[y])])
            ]
        }
    }

    func lowerRectifierBackward(_ step: BackwardPass.Step, _ kernel: String) {
        guard let target = target(step, input: 0) else { return }
        let (y, dy) = (value(step.node), gradient(step.node))
        let count = batch * network.nodes[step.node].size
        builder.step(reads: [y, dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [
                try elementwise(
                    step.node, "\(kernel)_backward", count: count,
                    [.slice(memory[y]), .slice(memory[dy]), .slice(memory[target.value]), .int(target.mode)])
            ]
        }
    }

    /// In place: the upper bound of a rectifier that a dense convolution has applied from below.
    func lowerUpperBound(_ id: Network.NodeID) {
        let y = value(id)
        let count = batch * network.nodes[id].size
        builder.step(reads: [y], writes: [y]) { memory throws(DeviceError) in
            [
                try elementwise(
                    id, "relu6_forward", defines: DeviceSlice.storageDefines(x: memory[y], y: memory[y]), count: count,
                    [.slice(memory[y]), .slice(memory[y])])
            ]
        }
    }

    func lowerAdd(_ id: Network.NodeID) {
        let inputs = network.nodes[id].inputs
        let (a, b, y) = (value(inputs[0]), value(inputs[1]), value(id))
        let count = batch * network.nodes[id].size
        builder.step(reads: [a, b], writes: [y]) { memory throws(DeviceError) in
            [
                try elementwise(
                    id, "add_forward",
                    defines: DeviceSlice.storageDefines(x: memory[a], residual: memory[b], y: memory[y]), count: count,
                    [.slice(memory[a]), .slice(memory[b]), .slice(memory[y])])
            ]
        }
    }

    func lowerAddBackward(_ step: BackwardPass.Step) {
        let dy = gradient(step.node)
        let count = batch * network.nodes[step.node].size
        for index in 0..<2 {
            guard let target = target(step, input: index) else { continue }
            builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
                [
                    try elementwise(
                        step.node, "add_backward", count: count,
                        [.slice(memory[dy]), .slice(memory[target.value]), .int(target.mode)])
                ]
            }
        }
    }

    /// PyTorch flattens in C, H, W order; the device keeps channels last.
    func lowerFlatten(_ id: Network.NodeID) {
        let input = network.nodes[id].inputs[0]
        let (x, y, extent) = (value(input), value(id), extent(input))
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            [try reorder(id, "nhwc_to_nchw", extent, memory[x], memory[y], mode: 1)]
        }
    }

    func lowerFlattenBackward(_ step: BackwardPass.Step) {
        guard let target = target(step, input: 0) else { return }
        let (dy, extent) = (gradient(step.node), extent(network.nodes[step.node].inputs[0]))
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [try reorder(step.node, "nchw_to_nhwc", extent, memory[dy], memory[target.value], mode: target.mode)]
        }
    }

    private func reorder(
        _ id: Network.NodeID, _ function: String, _ extent: Extent, _ x: DeviceSlice, _ y: DeviceSlice, mode: Int
    ) throws(DeviceError) -> Launch {
        let count = batch * extent.plane * extent.channels
        return try engine.launch(
            network.nodes[id].name, "layout.cl", function, defines: DeviceSlice.storageDefines(x: x, y: y),
            global: [ceilDivide(count, 256) * 256],
            [.long(count), .int(extent.channels), .int(extent.plane), .slice(x), .slice(y), .int(mode)])
    }
}
