import RLDGraph
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// Every differentiable operation: the analytic gradients of the reference against central differences in Double.
@Suite("Finite differences") struct FiniteDifferenceTests {
    static let cases =
        OperationCase.tiny.filter { !$0.folded } + [
            OperationCase("batch norm + add + relu", input: [3, 2, 3], batch: 3) { net, x in
                let y = net.batchNorm(net.convolution(x, 3, kernel: 1, name: "c"), name: "bn")
                return net.relu(net.add(y, x))
            },
            OperationCase("flatten + linear", input: [2, 3, 2], batch: 3) { net, x in net.linear(net.flatten(x), 4, name: "fc") },
        ]

    @Test(arguments: cases, [false, true]) func gradientsMatch(operation: OperationCase, fused: Bool) throws {
        let network = fused ? operation.network.fusingEpilogues(for: .training) : operation.network
        let state = DeviceChecks.randomState(network)
        let images = DeviceChecks.random(operation.batch * network.nodes[0].size, stream: 1)
        let reference = try ReferenceNetwork(network, state: state, inputGradient: true)
        let output = try reference.forward(images, batch: operation.batch, training: true)
        let weights = DeviceChecks.random(output.count, stream: 2)
        try reference.backward(weights)

        // loss = sum(weights * output), as a function of everything that has a gradient.
        func loss(_ state: NetworkState, _ images: [Double]) throws -> Double {
            let network = try ReferenceNetwork(network, state: state)
            return zip(try network.forward(images, batch: operation.batch, training: true), weights).reduce(0) {
                $0 + $1.0 * $1.1
            }
        }
        let h = 1e-5
        // Of a large tensor some elements, which a prime step spreads over all of its extents.
        func compare(_ gradient: [Double], _ name: String, _ shifted: (Int, Double) throws -> Double) throws {
            let chosen =
                gradient.count <= 1000 ? Array(gradient.indices) : (0..<200).map { $0 * 104_729 % gradient.count }
            let expected = try chosen.map { (try shifted($0, h) - shifted($0, -h)) / (2 * h) }
            expectClose(chosen.map { gradient[$0] }, expected, .finiteDifference, name)
        }
        try compare(reference.gradient(of: 0), "input gradient") { index, h in
            var images = images
            images[index] += h
            return try loss(state, images)
        }
        for parameter in network.parameters {
            try compare(try #require(reference.gradients[parameter.name]), parameter.name) { index, h in
                var shifted = state
                var tensor = try #require(state[parameter.name])
                tensor.values[index] += h
                shifted[parameter.name] = tensor
                return try loss(shifted, images)
            }
        }
    }
}

extension OperationCase: CustomTestStringConvertible {
    public var testDescription: String { name }
}
