import OpenCLRuntime
import RLDGraph

/// Concatenation, slices and shuffles of channels: copies between channels-last rows.
extension Lowering {
    private func channels(
        _ id: Network.NodeID, _ function: String, defines: [(String, String)] = [], count: Int, _ arguments: [KernelArgument]
    ) throws(DeviceError) -> Launch {
        let rows = batch * extent(id).plane
        let groups = engine.rowGroups(columns: count, rows: rows)
        return try engine.launch(
            network.nodes[id].name, "channels.cl", function, defines: [("VECTOR", "\(engine.laneWidth)")] + defines,
            global: [count, groups.count], heavyItems: true, [.long(rows), .int(groups.perItem)] + arguments)
    }

    /// `count` channels of `x` from `first` on into `y` from `target` on.
    private func copy(
        _ id: Network.NodeID, count: Int, _ x: DeviceSlice, _ xChannels: Int, first: Int, _ y: DeviceSlice, _ yChannels: Int,
        target: Int, mode: Int
    ) throws(DeviceError) -> Launch {
        try channels(
            id, "channels_copy", defines: DeviceSlice.storageDefines(x: x, y: y), count: ceilDivide(count, engine.laneWidth),
            [
                .int(count), .int(xChannels), .int(first), .int(yChannels), .int(target), .slice(x), .slice(y), .int(mode),
            ])
    }

    func lowerConcat(_ id: Network.NodeID) {
        let node = network.nodes[id]
        let y = value(id)
        let total = extent(id).channels
        builder.step(reads: node.inputs.map(value), writes: [y]) { memory throws(DeviceError) in
            var launches: [Launch] = []
            var first = 0
            for input in node.inputs {
                let count = extent(input).channels
                launches.append(
                    try copy(
                        id, count: count, memory[value(input)], count, first: 0, memory[y], total, target: first, mode: 1))
                first += count
            }
            return launches
        }
    }

    func lowerConcatBackward(_ step: BackwardPass.Step) {
        let dy = gradient(step.node)
        let total = extent(step.node).channels
        var start = 0
        for (index, input) in network.nodes[step.node].inputs.enumerated() {
            let (first, count) = (start, extent(input).channels)
            start += count
            guard let target = target(step, input: index) else { continue }
            builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
                [
                    try copy(
                        step.node, count: count, memory[dy], total, first: first, memory[target.value], count, target: 0,
                        mode: target.mode)
                ]
            }
        }
    }

    func lowerSlice(_ id: Network.NodeID, first: Int) {
        let input = network.nodes[id].inputs[0]
        let (x, y, count, all) = (value(input), value(id), extent(id).channels, extent(input).channels)
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            [try copy(id, count: count, memory[x], all, first: first, memory[y], count, target: 0, mode: 1)]
        }
    }

    func lowerSliceBackward(_ step: BackwardPass.Step, first: Int) {
        guard let target = target(step, input: 0) else { return }
        let (dy, count) = (gradient(step.node), extent(step.node).channels)
        let all = extent(network.nodes[step.node].inputs[0]).channels
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            let dx = memory[target.value]
            var launches = [
                try copy(step.node, count: count, memory[dy], count, first: 0, dx, all, target: first, mode: target.mode)
            ]
            // The first gradient to arrive also writes the channels that it does not have.
            guard !target.accumulates else { return launches }
            for rest in [0..<first, first + count..<all] where !rest.isEmpty {
                launches.append(
                    try channels(
                        step.node, "channels_clear", count: ceilDivide(rest.count, engine.laneWidth),
                        [.int(rest.count), .int(all), .int(rest.lowerBound), .slice(dx)]))
            }
            return launches
        }
    }

    func lowerChannelShuffle(_ id: Network.NodeID, groups: Int) {
        let (x, y) = (value(network.nodes[id].inputs[0]), value(id))
        builder.step(reads: [x], writes: [y]) { memory throws(DeviceError) in
            [try shuffle(id, groups: groups, memory[x], memory[y], mode: 1)]
        }
    }

    func lowerChannelShuffleBackward(_ step: BackwardPass.Step, groups: Int) {
        guard let target = target(step, input: 0) else { return }
        let dy = gradient(step.node)
        let inverse = extent(step.node).channels / groups
        builder.step(reads: [dy] + target.reads, writes: [target.value]) { memory throws(DeviceError) in
            [try shuffle(step.node, groups: inverse, memory[dy], memory[target.value], mode: target.mode)]
        }
    }

    private func shuffle(
        _ id: Network.NodeID, groups: Int, _ x: DeviceSlice, _ y: DeviceSlice, mode: Int
    ) throws(DeviceError) -> Launch {
        let count = extent(id).channels
        return try channels(
            id, "channel_shuffle", defines: DeviceSlice.storageDefines(x: x, y: y), count: engine.profile == .cpu ? 1 : count,
            [.int(count), .int(groups), .slice(x), .slice(y), .int(mode)])
    }
}
