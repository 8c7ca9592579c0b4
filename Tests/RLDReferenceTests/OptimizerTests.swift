import RLDGraph
import RLDReference
import TestSupport
import Testing

/// torch.optim.SGD by its definition, on one weight with a known gradient: the variants that other tools call SGD differ in
/// the second or third step, when the learning rate changes.
@Suite("SGD") struct OptimizerTests {
    /// y = w x with x = 1 and d loss / d y = gradient: the weight's gradient is what we say.
    private func run(_ steps: [(learningRate: Double, gradient: Double)], nesterov: Bool) throws -> Double {
        let network = Network("line", input: [1]) { net, x in net.linear(x, 1, bias: false, name: "fc") }
        var state = NetworkState()
        state["fc.weight"] = Tensor(shape: [1, 1], values: [2])
        let reference = try ReferenceNetwork(network, state: state)
        for step in steps {
            _ = try reference.forward([1], batch: 1, training: true)
            try reference.backward([step.gradient])
            reference.applySGD(learningRate: step.learningRate, momentum: 0.9, weightDecay: 0.1, nesterov: nesterov)
        }
        return try #require(reference.state["fc.weight"]).values[0]
    }

    @Test func momentumAcrossALearningRateStep() throws {
        // d1 = 1 + 0.1 * 2 = 1.2; v1 = 1.2; w1 = 2 - 0.5 * 1.2 = 1.4
        // d2 = -1 + 0.14 = -0.86; v2 = 1.08 - 0.86 = 0.22; w2 = 1.4 - 0.05 * 0.22 = 1.389
        expectClose(try run([(0.5, 1), (0.05, -1)], nesterov: false), 1.389, .host)
    }

    @Test func nesterov() throws {
        // d1 = 1.2, v1 = 1.2: w1 = 2 - 0.5 * (1.2 + 0.9 * 1.2) = 0.86
        // d2 = -1 + 0.086 = -0.914; v2 = 1.08 - 0.914 = 0.166; w2 = 0.86 - 0.05 * (-0.914 + 0.9 * 0.166) = 0.89823
        expectClose(try run([(0.5, 1), (0.05, -1)], nesterov: true), 0.89823, .host)
    }
}
