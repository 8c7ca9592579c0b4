import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDReference
import RLDTraining

/// One layer (or fused form) as a network of its own, run in one direction at a batch size.
package struct LayerBenchmark: BenchmarkCase {
    /// What of the layer runs.
    package enum Direction: String, CaseIterable, Sendable {
        /// As a trained network computes it: batch statistics, values kept for the backward pass.
        case forward
        /// As a frozen teacher computes it: batch norm folded, everything fused.
        case frozenForward = "frozen forward"
        /// Input and parameter gradients together.
        case backward
        case inputGradient = "input gradient"
        case weightGradient = "weight gradient"

        var isFrozen: Bool { self == .frozenForward }
    }

    package let name: String
    package let direction: Direction
    package let network: Network
    package let batch: Int
    package let shape: String
    /// Passes over a value of the layer's input that a run makes at least; 0 where arithmetic decides.
    let passes: Double
    package let flops: Double

    /// - Parameters:
    ///   - layer: in the case's name, before the direction.
    ///   - passes: reads and writes of the whole input (or of output in units of it); 0 counts no bytes.
    package init(_ layer: String, _ direction: Direction, network: Network, batch: Int, shape: String, passes: Double = 0) {
        name = "\(layer) \(direction.rawValue)"
        (self.direction, self.network, self.batch, self.shape, self.passes) = (direction, network, batch, shape, passes)
        let products = 2 * Double(network.multiplyAdds * batch)
        flops = direction == .backward ? 2 * products : products
    }

    /// The product [m, k] x [k, n] that a linear layer is in one of its directions: what `GemmBenchmark` times through CLBlast.
    /// - Parameter kind: "nt", "nn" or "tn"; nil comes back for another, which no direction is.
    package static func product(_ kind: String, m: Int, n: Int, k: Int) -> LayerBenchmark? {
        let directions: [String: (Direction, batch: Int, inputs: Int, outputs: Int)] = [
            "nt": (.forward, m, k, n), "nn": (.inputGradient, m, n, k), "tn": (.weightGradient, k, n, m),
        ]
        guard let (direction, batch, inputs, outputs) = directions[kind] else { return nil }
        let network = Network("product", input: [inputs]) { $0.linear($1, outputs, bias: false, name: "fc") }
        return LayerBenchmark("\(kind) linear", direction, network: network, batch: batch, shape: "\(m)x\(n)x\(k)")
    }

    package var mode: String { direction.rawValue }
    package var bytes: Double { passes * 4 * Double(batch * network.nodes[0].size) }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun { try LayerBenchmarkRun(self, engine: engine) }
}

private final class LayerBenchmarkRun: BenchmarkRun {
    private let benchmark: LayerBenchmark
    private let engine: DeviceEngine
    private let device: DeviceNetwork
    private let plan: NetworkPlan
    /// Launches of the weight gradient, which come before those of the input gradient.
    private let weightLaunches: Int
    private let state: NetworkState
    private let images: [Double]
    /// Images that are compared: those of a batch norm see each other, the others go by first and last.
    private let compared: [Int]

    init(_ benchmark: LayerBenchmark, engine: DeviceEngine) throws {
        (self.benchmark, self.engine) = (benchmark, engine)
        let (network, batch, direction) = (benchmark.network, benchmark.batch, benchmark.direction)
        state = DeviceChecks.randomState(network)
        images = Self.random(batch * network.nodes[0].size, stream: 1)
        let isNormalised = network.nodes.contains { if case .batchNorm = $0.operation { true } else { false } }
        compared = isNormalised && !direction.isFrozen ? Array(0..<batch) : batch == 1 ? [0] : [0, batch - 1]
        let device = try DeviceNetwork(
            network, state: state, role: direction.isFrozen ? .teacher : .student, engine: engine, inputGradient: true)
        self.device = device
        func plan(inputGradient: Bool) throws -> NetworkPlan {
            try NetworkPlan(
                device.network, store: device.store, batch: batch, mode: direction.isFrozen ? .inference : .training,
                inputGradient: inputGradient)
        }
        weightLaunches = direction == .inputGradient ? try plan(inputGradient: false).backwardLaunchCount : 0
        self.plan = try plan(inputGradient: direction == .backward || direction == .inputGradient)
        try self.plan.write(images)
        try self.plan.forward()
        try writeOutputGradient(outputGradient)
    }

    /// A block of random values over and over, its period prime.
    private static func random(_ count: Int, stream: UInt64) -> [Double] {
        let block = DeviceChecks.random(min(count, 65_537), stream: stream)
        return (0..<count).map { block[$0 % block.count] }
    }

    private var outputSize: Int { benchmark.network.nodes[benchmark.network.output].size }
    private var outputGradient: [Double] { Self.random(benchmark.batch * outputSize, stream: 2) }

    private func writeOutputGradient(_ values: [Double]) throws {
        guard let slice = plan.outputGradient else { return }
        let shape = benchmark.network.nodes[benchmark.network.output].shape
        try engine.write(Layout.toNHWC(values, batch: benchmark.batch, shape: shape), to: slice)
    }

    func enqueue() throws {
        switch benchmark.direction {
        case .forward, .frozenForward: try plan.forward()
        case .backward, .weightGradient: try plan.backward()
        case .inputGradient: try plan.backward(dropping: weightLaunches)
        }
    }

    func check() throws -> Double {
        let (network, batch) = (benchmark.network, benchmark.batch)
        let reference = try ReferenceNetwork(network, state: state, inputGradient: true, precision: engine.precision)
        let (input, output) = (network.nodes[0].size, outputSize)
        func chosen(_ values: [Double], _ size: Int) -> [Double] {
            compared.flatMap { values[$0 * size..<($0 + 1) * size] }
        }
        let expected = try reference.forward(
            chosen(images, input), batch: compared.count, training: !benchmark.direction.isFrozen)
        let shape = network.nodes[network.output].shape
        var worst = Worst()
        let bound = DeviceChecks.bound(network, engine.precision)
        try plan.forward()
        let found = Layout.toNCHW(try engine.read(plan.output), batch: batch, shape: shape)
        worst.add(DeviceChecks.relativeError(chosen(found, output), expected) / bound, "output")
        guard plan.outputGradient != nil, benchmark.direction != .forward else { return worst.value }

        // Sums over the batch see the compared images alone: the others' gradients are zeros.
        var gradient = [Double](repeating: 0, count: batch * output)
        // Next to the rectifier's edge rounding decides what passes; nothing flows there.
        let edge =
            network.nodes[network.output].operation == .relu ? reference.value(of: network.nodes[network.output].inputs[0]) : []
        for image in compared {
            gradient.replaceSubrange(
                image * output..<(image + 1) * output, with: outputGradient[image * output..<(image + 1) * output])
        }
        for (index, value) in edge.enumerated() where abs(value) < 1e-4 {
            gradient[compared[index / output] * output + index % output] = 0
        }
        try reference.backward(chosen(gradient, output))
        try writeOutputGradient(gradient)
        try enqueue()
        if let dx = plan.gradientOfInput {
            let found = Layout.toNCHW(try engine.read(dx), batch: batch, shape: network.inputShape)
            worst.add(
                DeviceChecks.relativeError(chosen(found, input), reference.gradient(of: 0)) / bound, "input gradient")
        }
        if benchmark.direction != .inputGradient {
            for parameter in network.parameters {
                let found = try engine.read(device.store.gradient(parameter.name, count: parameter.count))
                worst.add(
                    DeviceChecks.relativeError(found, reference.gradients[parameter.name] ?? []) / bound, parameter.name)
            }
        }
        try writeOutputGradient(outputGradient)
        return worst.value
    }
}
