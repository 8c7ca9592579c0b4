import RLDGraph

/// The way back from the output's gradient to every parameter, one node at a time.
extension ReferenceNetwork {
    /// Runs the backward pass of the last training-mode `forward`; `gradients` and `gradient(of:)` are overwritten.
    /// - Parameters:
    ///   - outputGradient: d loss / d output, [batch] + its shape.
    ///   - before: called before each node's step.
    ///   - replacing: sees, after each node's step, the gradient that it wrote (or added to) of one of its inputs; what it returns
    ///     goes on instead.
    ///   - after: called after each node's step.
    public func backward(
        _ outputGradient: [Double],
        before: (Network.NodeID) throws -> Void = { _ in },
        replacing: (_ node: Network.NodeID, _ input: Network.NodeID, [Double]) throws -> [Double] = { $2 },
        after: (Network.NodeID) throws -> Void = { _ in }
    ) throws {
        guard !values.isEmpty else {
            throw InputError("output gradient", "has no values to go back through", advice: "run forward first")
        }
        guard outputGradient.count == values[network.output].count else {
            throw InputError(
                "output gradient", "\(outputGradient.count) values, expected \(values[network.output].count)")
        }
        valueGradients = Array(repeating: [], count: network.nodes.count)
        valueGradients[network.output] = outputGradient
        gradients = [:]
        for step in pass.steps {
            try before(step.node)
            let contributions = differentiate(step.node)
            // A node may read one value twice.
            var written: [Network.NodeID] = []
            for (index, write) in step.inputGradients.enumerated() {
                let input = network.nodes[step.node].inputs[index]
                switch write {
                case .overwrite, .share: valueGradients[input] = contributions(index)
                case .accumulate: valueGradients[input] = zip(valueGradients[input], contributions(index)).map { $0 + $1 }
                case nil: continue
                }
                if !written.contains(input) { written.append(input) }
            }
            for input in written { valueGradients[input] = try replacing(step.node, input, valueGradients[input]) }
            try after(step.node)
        }
    }

    /// Stores a node's parameter gradients and returns the gradient of each of its inputs, on demand.
    private func differentiate(_ id: Network.NodeID) -> (Int) -> [Double] {
        let node = network.nodes[id]
        let x = values[node.inputs[0]]
        let input = Extent(network.nodes[node.inputs[0]].shape)
        let output = Extent(node.shape)
        var dy = valueGradients[id]
        let epilogue = node.operation.epilogue
        if epilogue.relu {
            for i in dy.indices where values[id][i] <= 0 || (epilogue.relu6 && values[id][i] >= 6) { dy[i] = 0 }
        }
        switch node.operation {
        case .input, .flatten: return { _ in dy }
        case .convolution(let c):
            let factor = operands(dy, node)
            gradients["\(node.name).weight"] = ReferenceConvolution.weightGradient(
                factor, operands(x, node), c, batch: batch, input: input, output: output)
            if c.bias {
                gradients["\(node.name).bias"] = ReferenceOperations.channelSums(dy, batch: batch, extent: output)
            }
            let weight = operands(tensor(node, "weight"), node)
            return { [batch] index in
                index == 1
                    ? dy
                    : ReferenceConvolution.inputGradient(
                        factor, weight: weight, c, batch: batch, input: input, output: output)
            }
        case .batchNorm(let b):
            let dx = batchNormGradient(id, node, b, x, dy, extent: output)
            return { $0 == 1 ? dy : dx }
        case .linear(let l):
            let factor = operands(dy, node)
            gradients["\(node.name).weight"] = ReferenceOperations.linearWeightGradient(
                factor, operands(x, node), l, batch: batch)
            if l.bias {
                gradients["\(node.name).bias"] = ReferenceOperations.channelSums(dy, batch: batch, extent: output)
            }
            let weight = operands(tensor(node, "weight"), node)
            return { [batch] _ in ReferenceOperations.linearInputGradient(factor, weight: weight, l, batch: batch) }
        case .relu:
            let y = values[id]
            return { _ in zip(dy, y).map { $1 > 0 ? $0 : 0 } }
        case .relu6:
            let y = values[id]
            return { _ in zip(dy, y).map { $1 > 0 && $1 < 6 ? $0 : 0 } }
        case .add: return { _ in dy }
        case .globalAveragePool:
            return { _ in dy.flatMap { Array(repeating: $0 / Double(input.plane), count: input.plane) } }
        case .maxPool:
            let winners = winners[id] ?? []
            return { _ in ReferencePooling.maximumGradient(dy, winners: winners, count: x.count) }
        case .averagePool(let p):
            let planes = batch * input.channels
            return { _ in ReferencePooling.averageGradient(dy, p, planes: planes, input: input, output: output) }
        case .adaptiveAveragePool:
            let planes = batch * input.channels
            return { _ in ReferencePooling.adaptiveAverageGradient(dy, planes: planes, input: input, output: output) }
        case .concat:
            let first = firstChannels(node)
            let channels = node.inputs.map { Extent(network.nodes[$0].shape).channels }
            return { [batch] index in
                ReferenceChannels.copy(
                    dy, batch: batch, plane: output.plane, sourceChannels: output.channels, firstSource: first[index],
                    count: channels[index], targetChannels: channels[index], firstTarget: 0)
            }
        case .slice(let first):
            return { [batch] _ in
                ReferenceChannels.copy(
                    dy, batch: batch, plane: output.plane, sourceChannels: output.channels, firstSource: 0,
                    count: output.channels, targetChannels: input.channels, firstTarget: first)
            }
        case .channelShuffle(let groups):
            let perGroup = output.channels / groups
            return { [batch] _ in ReferenceChannels.shuffle(dy, groups: perGroup, batch: batch, extent: output) }
        }
    }

    /// dx = gamma * inverse / n * (n dy - sum(dy) - xhat * sum(dy xhat)); in evaluation mode dx = gamma * inverse * dy.
    private func batchNormGradient(
        _ id: Network.NodeID, _ node: Network.Node, _ b: BatchNorm, _ x: [Double], _ dy: [Double],
        extent: Extent
    ) -> [Double] {
        guard let statistics = batchStatistics[id] else { return [] }
        let gamma = tensor(node, "weight")
        let count = Double(batch * extent.plane)
        let sums = ReferenceOperations.channelSums(dy, batch: batch, extent: extent)
        var products = [Double](repeating: 0, count: b.channels)
        ReferenceOperations.forEachElement(batch: batch, extent: extent) { channel, i in
            products[channel] += dy[i] * (x[i] - statistics.mean[channel]) * statistics.inverseDeviation[channel]
        }
        gradients["\(node.name).weight"] = products
        gradients["\(node.name).bias"] = sums
        var dx = dy
        ReferenceOperations.forEachElement(batch: batch, extent: extent) { [training] channel, i in
            let inverse = statistics.inverseDeviation[channel]
            if training {
                let normalized = (x[i] - statistics.mean[channel]) * inverse
                dx[i] = gamma[channel] * inverse * (dy[i] - (sums[channel] + normalized * products[channel]) / count)
            } else {
                dx[i] = gamma[channel] * inverse * dy[i]
            }
        }
        return dx
    }
}
