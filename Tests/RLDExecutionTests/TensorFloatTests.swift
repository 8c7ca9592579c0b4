import Foundation
import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import RLDTraining
import TestSupport
import Testing

/// precision tf32: how operands are rounded, how far sums may be off, and that what a device cannot do is refused. Through the
/// emulation of the matrix units, whose kernels differ from theirs in one function.
@Suite("Products in tf32", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct TensorFloatTests {
    private static func emulation() throws -> DeviceEngine {
        try DeviceEngine(
            TestDevice.device(), profile: .gpu, registers: nil, guardElements: 16, precision: .tf32, emulatesMatrixUnits: true)
    }

    // MARK: Rounding

    /// To the nearest multiple of the last of 10 bits, ties away from zero: by arithmetic that is exact in Double.
    private static func nearest(_ x: Float) -> Float {
        guard x.isFinite, x != 0 else { return x }
        let unit = Double(sign: .plus, exponent: max(Int(x.exponent), -126) - 10, significand: 1)
        return Float((Double(x) / unit).rounded(.toNearestOrAwayFromZero) * unit)
    }

    private static let values: [Float] = {
        var values: [Float] = [
            0, 1, .infinity, .nan, .greatestFiniteMagnitude, .leastNormalMagnitude, .leastNonzeroMagnitude, 0x1.ffcp-127,
            0x1.ffdffep3, 0x1.ffep3, 0x1.ffe002p3, 0x1.fffffep100,
        ]
        for exponent in [-140, -126, -20, -1, 0, 7, 60] {
            let base = Float(sign: .plus, exponent: exponent, significand: 1)
            for step in [0, 1, 2, 511, 1022, 1023] {
                // A value of tf32, the tie above it, and the neighbours of both.
                for shift in [0, 1, 2, 1022, 1023, 1024, 1025, 1026, 2046] as [Float] {
                    values.append(base * (1 + Float(step) / 1024 + shift / 0x1p21))
                }
            }
        }
        values += (0..<200).map { Float(CounterRandom.normal(seed: 3, stream: 1, counter: $0)) }
        return values + values.map { -$0 }
    }()

    /// A 1x1 convolution of one channel by 1 gives its operands.
    @Test func operandsAreTheNearestTiesAwayFromZero() throws {
        let network = Network("identity", input: [1, 1, Self.values.count]) { $0.convolution($1, 1, kernel: 1, name: "c") }
        var state = NetworkState()
        state["c.weight"] = Tensor(shape: [1, 1, 1, 1], values: [1])
        let engine = try Self.emulation()
        let device = try DeviceNetwork(network, state: state, role: .teacher, engine: engine)
        let plan = try device.plan(batch: 1, mode: .inference)
        try plan.write(Self.values.map(Double.init))
        try plan.forward()
        let found = try engine.read(plan.output).map { Float($0) }
        #expect(found.count == Self.values.count)
        #expect(try plan.damagedGuards() == 0)
        for (x, y) in zip(Self.values, found) {
            let expected = Self.nearest(x)
            #expect(y == expected || y.isNaN && expected.isNaN, "\(x) gives \(y), not \(expected)")
            let operand = Precision.tf32.operand(Double(x))
            #expect(operand == Double(expected) || operand.isNaN && expected.isNaN, "\(x) is \(operand) on the host")
            #expect(Precision.float32.operand(Double(x)) == Double(x) || x.isNaN)
        }
    }

    // MARK: Sums

    struct Shape: Sendable, CustomTestStringConvertible {
        var channels: Int
        var outputs: Int
        var kernel: Int
        var stride = 1
        /// nil is a linear layer.
        var size: [Int]? = [7, 6]
        var batch = 2

        var network: Network {
            guard let size else { return Network("linear", input: [channels]) { $0.linear($1, outputs, name: "p") } }
            return Network("convolution", input: [channels] + size) {
                $0.convolution($1, outputs, kernel: kernel, stride: stride, bias: true, name: "p")
            }
        }
        var testDescription: String { "\(size == nil ? "linear" : "\(kernel)x\(kernel)/\(stride)") \(channels) to \(outputs)" }
    }

    static let shapes = [
        Shape(channels: 1, outputs: 5, kernel: 7), Shape(channels: 3, outputs: 33, kernel: 3, stride: 2),
        Shape(channels: 5, outputs: 17, kernel: 1), Shape(channels: 17, outputs: 3, kernel: 1, stride: 2),
        Shape(channels: 33, outputs: 33, kernel: 3), Shape(channels: 16, outputs: 1, kernel: 7, stride: 2, batch: 3),
        Shape(channels: 72, outputs: 130, kernel: 3, stride: 2), Shape(channels: 130, outputs: 128, kernel: 1, batch: 4),
        Shape(channels: 33, outputs: 17, kernel: 1, size: nil, batch: 65), Shape(channels: 5, outputs: 40, kernel: 1, size: nil),
    ]

    /// Every value and gradient, element by element. Products of operands in tf32 are exact in float32, so that against a reference
    /// with rounded operands only the additions count: 2^-22 of the sum of magnitudes, times the root of their number (as products
    /// in float32 are held to). Against exact operands each factor adds 2^-11.
    @Test(arguments: shapes) func sumsAreWithinTheirBounds(shape: Shape) throws {
        let (network, batch) = (shape.network, shape.batch)
        let state = DeviceChecks.randomState(network)
        let images = DeviceChecks.random(batch * network.nodes[0].size, stream: 1)
        let output = network.nodes[network.output]
        let gradient = DeviceChecks.random(batch * output.size, stream: 2)

        func reference(_ precision: Precision, absolute: Bool = false) throws -> [String: [Double]] {
            func values(_ x: [Double]) -> [Double] { absolute ? x.map(abs) : x }
            var own = NetworkState()
            for name in state.names { own[name] = state[name].map { Tensor(shape: $0.shape, values: values($0.values)) } }
            let reference = try ReferenceNetwork(network, state: own, inputGradient: true, precision: precision)
            var found = ["output": try reference.forward(values(images), batch: batch, training: true)]
            try reference.backward(values(gradient))
            found["input gradient"] = reference.gradient(of: 0)
            return found.merging(reference.gradients) { $1 }
        }
        let (exact, rounded, sizes) = (try reference(.float32), try reference(.tf32), try reference(.float32, absolute: true))

        let engine = try Self.emulation()
        let device = try DeviceNetwork(network, state: state, role: .student, engine: engine, inputGradient: true)
        let plan = try NetworkPlan(device.network, store: device.store, batch: batch, mode: .training, inputGradient: true)
        func run() throws -> [String: [Double]] {
            try plan.write(images)
            try plan.forward()
            try engine.write(
                Layout.toNHWC(gradient, batch: batch, shape: output.shape), to: try #require(plan.outputGradient))
            try plan.backward()
            func planes(_ slice: DeviceSlice, _ shape: [Int]) throws -> [Double] {
                Layout.toNCHW(try engine.read(slice), batch: batch, shape: shape)
            }
            return [
                "output": try planes(plan.output, output.shape),
                "input gradient": try planes(#require(plan.gradientOfInput), network.inputShape),
                "p.weight": try device.store.readGradient("p.weight", count: exact["p.weight"]?.count ?? 0),
                "p.bias": try device.store.readGradient("p.bias", count: shape.outputs),
            ]
        }
        let found = try run()
        #expect(try run() == found, "not the same to the last bit")
        #expect(try plan.damagedGuards() == 0)

        let plane = batch * output.size / shape.outputs
        let counts = [
            "output": shape.channels * shape.kernel * shape.kernel, "input gradient": shape.outputs * shape.kernel * shape.kernel,
            "p.weight": plane, "p.bias": plane,
        ]
        for (name, values) in found {
            let (exact, rounded, sizes) = (exact[name] ?? [], rounded[name] ?? [], sizes[name] ?? [])
            #expect(values.count == exact.count && values.count == rounded.count && values.count == sizes.count)
            /// The largest error in units of the magnitudes: without any, none is allowed; a nan is more than every bound.
            func largest(_ expected: [Double]) -> Double {
                zip(values, zip(expected, sizes)).reduce(0) { worst, entry in
                    let error = abs(entry.0 - entry.1.0)
                    let units = error == 0 ? 0 : error / entry.1.1
                    return units <= worst ? worst : units.isNaN ? .infinity : units
                }
            }
            let share = 0x1p-22 * Double(counts[name] ?? 0).squareRoot()
            let addition = largest(rounded) / share
            #expect(addition <= 1, "\(name): \(addition) times the bound of additions")
            let products = largest(exact)
            #expect(products <= 0x1p-10 + 0x1p-22 + share, "\(name): \(products) of the magnitudes")
            // The check is one: what was not rounded at all would fail it.
            if name != "p.bias" { #expect(products > 4 * share, "\(name): as if operands had not been rounded") }
        }
    }

    // MARK: Refusals

    @Test func whatTheDeviceCannotDoIsRefused() throws {
        let device = try TestDevice.device()
        let onCPU = #expect(throws: DeviceError.self) { try DeviceEngine(device, profile: .cpu, precision: .tf32) }
        #expect(onCPU?.code == .unsupported && onCPU?.message.contains("cpu kernels") == true)
        guard !device.hasMatrixUnits else {
            _ = try DeviceExecutor(device, profile: .gpu, precision: .tf32)
            return
        }
        let error = #expect(throws: DeviceError.self) { try DeviceExecutor(device, profile: .gpu, precision: .tf32) }
        #expect(error?.code == .unsupported)
        for word in ["NVIDIA", "8.0", device.name, "precision=float32"] {
            #expect(error?.message.contains(word) == true, "\(error?.message ?? "")")
        }
    }

    /// What an executor checks before it computes in tf32: the emulation passes, products in float32 do not.
    @Test func theCheckAtStartFindsOperandsThatAreNotRounded() throws {
        try TileProductCheck.verify(Self.emulation())
        let error = #expect(throws: DeviceError.self) {
            try TileProductCheck.verify(DeviceEngine(TestDevice.device(), profile: .gpu))
        }
        #expect(error?.code == .wrongResult && error?.message.contains("rld doctor") == true)
        let executor = try DeviceExecutor(engine: Self.emulation())
        #expect(executor.precision == .tf32 && executor.executorDescription.contains("tf32 products"))
    }
}
