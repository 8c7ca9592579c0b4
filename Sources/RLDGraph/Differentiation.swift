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
        public fileprivate(set) var inputGradients: [Write?]
    }

    /// How a gradient gets to its place.
    public enum Write: Sendable, Equatable {
        /// In the backward of the first reader.
        case overwrite
        /// In those of all others.
        case accumulate
        /// By the first reader, which would only copy its own output's gradient: the two have one place. What is added later belongs
        /// to the input alone, since then nobody reads the output's any more.
        case share
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

/// Which gradients can lie in one place. Gradients in one place are read and added to at known steps: none may be added to while
/// another is still to be read.
private struct GradientSharing {
    private let network: Network
    private let steps: [BackwardPass.Step]
    /// The step that reads a node's gradient, and those that add to it.
    private var reading: [Network.NodeID: Int] = [:]
    private var adding: [Network.NodeID: [Int]] = [:]
    /// The nodes whose gradients lie where a node's does, itself included.
    private var groups: [Network.NodeID: [Network.NodeID]] = [:]

    init(_ network: Network, _ steps: [BackwardPass.Step]) {
        (self.network, self.steps) = (network, steps)
        for (position, step) in steps.enumerated() {
            reading[step.node] = position
            for (index, write) in step.inputGradients.enumerated() where write == .accumulate {
                adding[network.nodes[step.node].inputs[index], default: []].append(position)
            }
        }
    }

    /// Whether a step's input takes its output's gradient as its own; from then on it does.
    mutating func shares(_ position: Int, input index: Int) -> Bool {
        let step = steps[position]
        let node = network.nodes[step.node]
        let input = node.inputs[index]
        // What comes from outside stays as it was given.
        guard step.inputGradients[index] == .overwrite, node.operation.passesGradient(to: index), step.node != network.output,
            let read = reading[input]
        else { return false }
        let group = groups[step.node] ?? [step.node]
        let fits = group.allSatisfy { other in
            guard let otherRead = reading[other] else { return false }
            return (adding[input] ?? []).allSatisfy { $0 > otherRead }
                && (adding[other] ?? []).allSatisfy { $0 <= position || $0 > read }
        }
        guard fits else { return false }
        let larger = group + [input]
        for member in larger { groups[member] = larger }
        return true
    }
}

extension Network.Operation {
    /// Whether an input's gradient is the output's.
    fileprivate func passesGradient(to input: Int) -> Bool {
        switch self {
        case .add: true
        case .batchNorm(let b): input == 1 && b.epilogue.residual && !b.epilogue.relu
        default: false
        }
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
        var sharing = GradientSharing(self, steps)
        for position in steps.indices {
            for index in steps[position].inputGradients.indices where sharing.shares(position, input: index) {
                steps[position].inputGradients[index] = .share
            }
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
