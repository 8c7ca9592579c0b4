import OpenCLRuntime
import RLDGraph

/// Global average pooling, and pooling over windows: largest value, mean, adaptive mean.
extension Lowering {
    func lowerGlobalAveragePool(_ id: Network.NodeID) {
        let input = network.nodes[id].inputs[0]
        let (x, y, extent) = (value(input), value(id), extent(input))
        let lanes = engine.laneWidth
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[id].name, "pooling.cl", "global_average_pool_forward",
                    defines: [("VECTOR", "\(lanes)")] + DeviceSlice.storageDefines(x: memory[x], y: memory[y]),
                    global: [ceilDivide(extent.channels, lanes), batch],
                    [.int(extent.channels), .int(extent.plane), .slice(memory[x]), .slice(memory[y])])
            ]
        }
    }

    func lowerGlobalAveragePoolBackward(_ step: BackwardPass.Step) {
        guard let target = target(step, input: 0) else { return }
        let (dy, extent) = (gradient(step.node), extent(network.nodes[step.node].inputs[0]))
        let lanes = engine.laneWidth
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [
                try engine.launch(
                    network.nodes[step.node].name, "pooling.cl", "global_average_pool_backward",
                    defines: [("VECTOR", "\(lanes)")], global: [ceilDivide(extent.channels, lanes), batch],
                    [
                        .int(extent.channels), .int(extent.plane), .slice(memory[dy]), .slice(memory[target.value]),
                        .int(target.mode),
                    ])
            ]
        }
    }

    // MARK: Windows

    /// A kernel of window_pooling.cl over the pixels of one extent.
    private func windows(
        _ id: Network.NodeID, _ function: String, defines: [(String, String)] = [], pixels: Int, _ window: Pooling?,
        _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let node = network.nodes[id]
        let (input, output) = (extent(node.inputs[0]), extent(id))
        // On a CPU an item takes all channels of its pixels, as they lie, and about as much as its first-level cache holds.
        let all = engine.profile == .cpu
        let vectors = engine.channelVectors(input.channels, arguments)
        let columns = ceilDivide(input.channels, vectors.width)
        var groups = engine.rowGroups(columns: columns, rows: pixels)
        if all {
            groups.perItem = engine.groupSize(pixels, most: max(1, min(groups.perItem, 8192 / input.channels)))
            groups.count = ceilDivide(pixels, groups.perItem)
        }
        let sizes: [KernelArgument] = [
            .long(pixels), .int(groups.perItem), .int(input.height), .int(input.width), .int(input.channels),
            .int(output.height), .int(output.width),
        ]
        let geometry: [KernelArgument] = window.map { [.int($0.kernel), .int($0.stride), .int($0.padding)] } ?? []
        return try engine.launch(
            node.name, "window_pooling.cl", function, defines: vectors.defines + defines,
            global: [all ? 1 : columns, groups.count], heavyItems: true, sizes + geometry + arguments)
    }

    /// What won each window is kept for the backward pass, beside the value.
    func lowerMaxPool(_ id: Network.NodeID, _ window: Pooling) {
        let (x, y) = (value(network.nodes[id].inputs[0]), value(id))
        let winners = pass == nil ? nil : poolWinners[id]
        builder.step(reads: [x], writes: [y] + (winners.map { [$0] } ?? [])) { memory throws(DeviceError) in
            [
                try windows(
                    id, "max_pool_forward", defines: DeviceSlice.storageDefines(x: memory[x], y: memory[y]),
                    pixels: batch * extent(id).plane, window,
                    [
                        .slice(memory[x]), .slice(memory[y]), .slice(memory[winners ?? y]), .int(winners == nil ? 0 : 1),
                    ])
            ]
        }
    }

    func lowerMaxPoolBackward(_ step: BackwardPass.Step, _ window: Pooling) {
        guard let target = target(step, input: 0), let winners = poolWinners[step.node] else { return }
        let dy = gradient(step.node)
        let pixels = batch * extent(network.nodes[step.node].inputs[0]).plane
        builder.step(reads: [dy, winners] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [
                try windows(
                    step.node, "max_pool_backward", pixels: pixels, window,
                    [.slice(memory[dy]), .slice(memory[winners]), .slice(memory[target.value]), .int(target.mode)])
            ]
        }
    }

    /// - Parameter window: nil for adaptive windows.
    func lowerAveragePool(_ id: Network.NodeID, _ window: Pooling?) {
        let (x, y) = (value(network.nodes[id].inputs[0]), value(id))
        let name = window == nil ? "adaptive_average_pool_forward" : "average_pool_forward"
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            [
                try windows(
                    id, name, defines: DeviceSlice.storageDefines(x: memory[x], y: memory[y]), pixels: batch * extent(id).plane,
                    window, [.slice(memory[x]), .slice(memory[y])])
            ]
        }
    }

    func lowerAveragePoolBackward(_ step: BackwardPass.Step, _ window: Pooling?) {
        guard let target = target(step, input: 0) else { return }
        let dy = gradient(step.node)
        let name = window == nil ? "adaptive_average_pool_backward" : "average_pool_backward"
        let pixels = batch * extent(network.nodes[step.node].inputs[0]).plane
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [
                try windows(
                    step.node, name, pixels: pixels, window,
                    [.slice(memory[dy]), .slice(memory[target.value]), .int(target.mode)])
            ]
        }
    }
}
