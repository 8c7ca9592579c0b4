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

    /// Counts a forward pass that is run node by node.
    package func beginForward() { if mode == .training { store.countBatch() } }

    /// Enqueues one node's part of the forward pass. Nodes go in their order; a node's value may be gone after the next one.
    package func runForward(_ node: Network.NodeID) throws(DeviceError) { try run(forwardPhase, node) }

    /// Enqueues one node's part of the backward pass. Nodes go in the order of `Network.backwardPass`.
    package func runBackward(_ node: Network.NodeID) throws(DeviceError) { try run(backwardPhase, node) }

    private func run(_ phase: PlanBuilder.Phase, _ node: Network.NodeID) throws(DeviceError) {
        for section in phase.sections where section.node == node {
            try engine.replay(Array(phase.launches[section.launches]))
        }
    }

    /// Where a node's value lies while it is alive.
    package func place(of node: Network.NodeID) -> DeviceSlice { memory[places.values[node]] }

    /// Where d loss / d (a node's value) lies while it is alive.
    package func placeOfGradient(of node: Network.NodeID) -> DeviceSlice { memory[places.gradients[node]] }

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
