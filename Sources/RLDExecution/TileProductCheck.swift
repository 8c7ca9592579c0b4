import OpenCLRuntime
import RLDGraph
import RLDMethods

/// One small product in tf32, forward and backward, whose every sum is exact: the device must give it to the last bit.
package enum TileProductCheck {
    private static let (inputs, outputs, height, width) = (24, 48, 4, 5)

    /// - Throws: `.wrongResult` naming the first value that is another.
    package static func verify(_ engine: DeviceEngine) throws {
        let network = Network("tf32", input: [inputs, height, width]) { $0.convolution($1, outputs, kernel: 1, name: "product") }
        let pixels = height * width
        // A product has at most one factor with digits to round, up, down or at a tie: 20 bits hold every sum.
        let x = (0..<inputs * pixels).map { $0 / pixels % 2 == 0 ? tie(0, $0) : whole(0, $0) }
        let weight = (0..<outputs * inputs).map { $0 % inputs % 2 == 0 ? whole(1, $0) : tie(1, $0) }
        let dy = (0..<outputs * pixels).map { whole(2, $0) }

        var state = NetworkState()
        state["product.weight"] = Tensor(shape: [outputs, inputs, 1, 1], values: weight)
        let device = try DeviceNetwork(network, state: state, role: .student, engine: engine, inputGradient: true)
        let plan = try NetworkPlan(device.network, store: device.store, batch: 1, mode: .training, inputGradient: true)
        try plan.write(x)
        try plan.forward()
        if let place = plan.outputGradient {
            try engine.write(Layout.toNHWC(dy, batch: 1, shape: [outputs, height, width]), to: place)
        }
        let y = try engine.read(plan.output)
        try plan.backward()

        let operand = Precision.tf32.operand
        func compare(_ what: String, _ found: [Double], _ expected: (Int) -> Double) throws(DeviceError) {
            for (index, value) in found.enumerated() where value != expected(index) {
                throw DeviceError(
                    .wrongResult,
                    "precision tf32: \(engine.device.name) gives \(value) for a \(what) of \(expected(index)); run `rld doctor`, and "
                        + "give precision=float32")
            }
        }
        try compare("sum", y) { at in
            (0..<inputs).reduce(0) {
                $0 + operand(x[$1 * pixels + at / outputs]) * operand(weight[at % outputs * inputs + $1])
            }
        }
        try compare("weight gradient", try engine.read(device.store.gradient("product.weight", count: weight.count))) { at in
            (0..<pixels).reduce(0) { $0 + dy[at / inputs * pixels + $1] * operand(x[at % inputs * pixels + $1]) }
        }
        try compare("input gradient", try plan.gradientOfInput.map(engine.read) ?? []) { at in
            (0..<outputs).reduce(0) { $0 + dy[$1 * pixels + at / inputs] * operand(weight[$1 * inputs + at % inputs]) }
        }
    }

    private static func random(below limit: Int, _ stream: UInt64, _ index: Int) -> Int {
        CounterRandom.integer(below: limit, seed: 11, stream: stream, counter: UInt64(index))
    }

    /// -7...7.
    private static func whole(_ stream: UInt64, _ index: Int) -> Double { Double(random(below: 15, stream, index) - 7) }

    /// Of magnitude 1 to 2, half way between two values of tf32 or a little beside that, with digits that the unit must not see.
    private static func tie(_ stream: UInt64, _ index: Int) -> Double {
        let beside = Double(random(below: 3, stream + 10, index) - 1) * 0x1p-20
        let magnitude = 1 + Double(2 * random(below: 1024, stream, index) + 1) / 2048 + beside
        return index % 3 == 0 ? -magnitude : magnitude
    }
}
