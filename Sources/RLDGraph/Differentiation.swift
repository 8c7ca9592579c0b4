/// Reverse-mode differentiation as data: which nodes run backward, in which order, and whether each gradient that they
/// write is the first to arrive at its value (overwrite) or a later one (accumulate).
///
/// Parameter gradients are always overwritten: a network uses each parameter once.
public struct BackwardPass: Sendable, Equatable {
    /// One node's backward.
    public struct Step: Sendable, Equatable {
        /// The forward node whose backward runs.
        public let node: Network.NodeID
        /// Per input of the node: how its gradient is written; nil where nobody needs it.
        public let inputGradients: [Write?]
    }

    /// How a gradient gets to its place: in the first reader's backward, and in those of all others.
    public enum Write: Sendable, Equatable {
        case overwrite
        case accumulate
    }

    /// In the order of execution.
    public let steps: [Step]
    /// Nodes whose value has a gradient, the output included.
    public let nodesWithGradient: Set<Network.NodeID>

    /// Nodes that have to give their first input a gradient.
    public var nodesGivingInputGradient: Set<Network.NodeID> {
        Set(steps.filter { $0.inputGradients.first != .some(nil) }.map(\.node))
    }
}

extension Network {
    /// The backward pass from the output's gradient to every parameter.
    /// - Parameter includingInput: also to the network's input.
    public func backwardPass(includingInput: Bool = false) -> BackwardPass {
        // A value needs a gradient if a parameter (or the input, when asked for) lies upstream of it.
        var needsGradient = Array(repeating: false, count: nodes.count)
        for (id, node) in nodes.enumerated() {
            needsGradient[id] =
                node.operation.isTrained || (includingInput && node.operation == .input)
                || node.inputs.contains { needsGradient[$0] }
        }
        var reached = Array(repeating: false, count: nodes.count)
        reached[output] = needsGradient[output]
        var steps: [BackwardPass.Step] = []
        for id in nodes.indices.reversed() where reached[id] && nodes[id].operation != .input {
            let writes: [BackwardPass.Write?] = nodes[id].inputs.map { input in
                guard needsGradient[input] else { return nil }
                defer { reached[input] = true }
                return reached[input] ? .accumulate : .overwrite
            }
            steps.append(BackwardPass.Step(node: id, inputGradients: writes))
        }
        return BackwardPass(steps: steps, nodesWithGradient: Set(nodes.indices.filter { reached[$0] }))
    }

    /// Parameters that no gradient reaches, those of layers that the output does not read: an optimiser leaves them as they are,
    /// as PyTorch's do with `grad is None`.
    package var parametersWithoutGradient: Set<String> {
        let reached = Set(backwardPass().steps.map(\.node))
        let apart = nodes.indices.filter { !reached.contains($0) }.map { nodes[$0] }
        return Set(apart.flatMap { $0.operation.stateTensors(named: $0.name, initialization: initialization).map(\.name) })
    }
}
