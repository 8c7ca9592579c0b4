import OpenCLRuntime
import RLDGraph

/// A plan looked at from inside, for benchmarks and validation.
extension NetworkPlan {
    /// The values of a plan, by node.
    struct Places {
        let values: [PlanBuilder.Value]
        /// Empty without a backward pass.
        let gradients: [PlanBuilder.Value]
    }

    /// Launches of the backward pass.
    package var backwardLaunchCount: Int { backwardPhase.launches.count }

    /// Enqueues the backward pass without its first launches.
    package func backward(dropping count: Int) throws(DeviceError) {
        try engine.replay(Array(backwardPhase.launches.dropFirst(count)))
    }

    /// The matrix products of one forward and one backward pass.
    package var products: [MatrixProduct] {
        (forwardPhase.launches + backwardPhase.launches).compactMap {
            if case .product(let product) = $0.work { product } else { nil }
        }
    }

    /// Runs the forward pass node by node.
    /// - Parameter body: called after each node that has launches, or is an input's other view; its value is still there, but
    ///   may be gone after the next node.
    package func forward(after body: (Network.NodeID) throws -> Void) throws {
        if mode == .training { store.countBatch() }
        try run(forwardPhase, after: body)
    }

    /// Runs the backward pass node by node.
    /// - Parameter body: called after each node; the gradients that it wrote are still there.
    package func backward(after body: (Network.NodeID) throws -> Void) throws { try run(backwardPhase, after: body) }

    private func run(_ phase: PlanBuilder.Phase, after body: (Network.NodeID) throws -> Void) throws {
        for section in phase.sections {
            try engine.replay(Array(phase.launches[section.launches]))
            try body(section.node)
        }
    }

    /// What is now where a node's value lies, in logical order: [batch] + its shape (NCHW). Waits.
    package func currentValue(of node: Network.NodeID) throws(DeviceError) -> [Double] {
        try read(places.values[node], node)
    }

    /// What is now where d loss / d (a node's value) lies, in logical order. Waits.
    package func currentGradient(of node: Network.NodeID) throws(DeviceError) -> [Double] {
        try read(places.gradients[node], node)
    }

    private func read(_ value: PlanBuilder.Value, _ node: Network.NodeID) throws(DeviceError) -> [Double] {
        Layout.toNCHW(try engine.read(memory[value]), batch: batch, shape: network.nodes[node].shape)
    }
}
