import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDTraining
import TestSupport
import Testing

/// Winograd's algorithm on the gpu profile: frozen forward passes and input gradients.
@Suite("Winograd in tiles", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct TileWinogradTests {
    /// - Parameter channels: from which it is taken; 0: never.
    private static func engine(from channels: Int, allocationLimit: Int? = nil) throws -> DeviceEngine {
        try DeviceEngine(
            TestDevice.device(), profile: .gpu, allocationLimit: allocationLimit, guardElements: 16,
            tuning: ChosenTuning(Tuning(tiles: ["winograd_channels": channels]), source: "of a test"))
    }

    struct Shape: Sendable, CustomTestStringConvertible {
        var channels: Int
        var outputs: Int
        var size: [Int]
        var padding = 1
        var batch = 2
        var testDescription: String { "\(batch)x\(channels)x\(size[0])x\(size[1]) to \(outputs), padding \(padding)" }

        var trained: OperationCase {
            OperationCase("trained", input: [channels] + size, batch: batch) {
                $0.convolution($1, outputs, kernel: 3, padding: padding, bias: true, name: "c")
            }
        }
        /// With everything that the way back adds: bias, residual, rectifier.
        var frozen: OperationCase {
            OperationCase("frozen", input: [channels] + size, batch: batch, folded: true) { net, x in
                let first = net.convolution(x, outputs, kernel: 1, padding: padding - 1, name: "a")
                let second = net.convolution(x, outputs, kernel: 3, padding: padding, bias: true, name: "b")
                return net.relu(net.add(net.batchNorm(second, name: "bn"), first))
            }
        }
    }

    /// Borders of every width, tiles with few and many results that count.
    static let shapes = [
        Shape(channels: 32, outputs: 32, size: [7, 9], batch: 3), Shape(channels: 64, outputs: 128, size: [6, 8]),
        Shape(channels: 128, outputs: 32, size: [5, 6], padding: 2), Shape(channels: 32, outputs: 64, size: [3, 4], batch: 5),
        Shape(channels: 128, outputs: 128, size: [13, 4], batch: 1),
    ]

    @Test(arguments: shapes) func agreesWithTheReference(shape: Shape) throws {
        let engine = try Self.engine(from: 32)
        for operation in [shape.trained, shape.frozen] {
            let result = try DeviceChecks.check(operation, engine: engine)
            #expect(result.passed, "\(operation.name): \(result)")
        }
        let stored = try DeviceChecks.checkStored(shape.frozen, engine: engine)
        #expect(stored.passed, "\(stored)")
    }

    /// Where memory holds the transformed values of four images: three, then two.
    @Test func severalRoundsGiveTheSameBits() throws {
        let shape = Shape(channels: 32, outputs: 32, size: [8, 8], batch: 5)
        let whole = try Self.results(shape.frozen, Self.engine(from: 32))
        // 36 values of 4 tiles and 64 channels are 36 KiB an image.
        let parts = try Self.results(shape.frozen, Self.engine(from: 32, allocationLimit: 160 << 10))
        #expect(whole.launches == parts.launches - 3, "\(whole.launches) and \(parts.launches)")
        #expect(whole.values == parts.values)
    }

    /// An image whose transformed values do not fit is convolved without it.
    @Test func whatDoesNotFitIsConvolvedDirectly() throws {
        let shape = Shape(channels: 32, outputs: 32, size: [20, 20])
        let direct = try Self.results(shape.frozen, Self.engine(from: 0))
        // 36 values of 25 tiles and 64 channels are 225 KiB.
        #expect(try Self.results(shape.frozen, Self.engine(from: 32, allocationLimit: 160 << 10)).values == direct.values)
        #expect(try Self.results(shape.frozen, Self.engine(from: 32)).values != direct.values)
    }

    /// It is taken from so many channels on in float32, and the bits tell.
    @Test func channelsDecide() throws {
        let shape = Shape(channels: 32, outputs: 32, size: [8, 8])
        let direct = try Self.results(shape.frozen, Self.engine(from: 0))
        #expect(try Self.results(shape.frozen, Self.engine(from: 64)).values == direct.values)
        let winograd = try Self.results(shape.frozen, Self.engine(from: 32))
        #expect(winograd.launches == direct.launches + 2 && winograd.values != direct.values)
        #expect(DeviceChecks.relativeError(winograd.values, direct.values) < DeviceChecks.bound)
        for precision in Precision.allCases {
            let most = TileChoices.Use.winograd.values(precision).max() ?? 0
            #expect((most > 0) == (precision == .float32))
        }
    }

    private static func results(_ operation: OperationCase, _ engine: DeviceEngine) throws -> (values: [Double], launches: Int) {
        let network = operation.network
        let device = try DeviceNetwork(network, state: DeviceChecks.randomState(network), role: .teacher, engine: engine)
        let plan = try device.plan(batch: operation.batch, mode: .inference)
        try plan.write(DeviceChecks.random(operation.batch * network.nodes[0].size, stream: 1))
        let before = engine.context.counters.launches
        try plan.forward()
        let launches = engine.context.counters.launches - before
        #expect(try plan.damagedGuards() == 0)
        return (try engine.read(plan.output), launches)
    }
}
