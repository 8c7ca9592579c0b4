import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference
import RLDTraining

/// Putting a batch together on the device: gathering, augmentation, normalisation.
package struct AugmentationBenchmark: BenchmarkCase {
    package enum Kind: String, CaseIterable, Sendable {
        case crop = "crop and flip"
        case scaled = "scaled crop and colours"
    }

    package let kind: Kind
    package let batch: Int

    package init(_ kind: Kind, batch: Int) { (self.kind, self.batch) = (kind, batch) }

    static let input = [3, 32, 32]

    package var name: String { "augmentation, \(kind.rawValue)" }
    package var mode: String { "forward" }
    package var shape: String { ([batch] + Self.input).map(String.init).joined(separator: "x") }
    /// A byte read and a float written per value.
    package var bytes: Double { 5 * Double(batch * Self.input.reduce(1, *)) }

    var transform: ImageTransform {
        let (mean, deviation): ([Float], [Float]) = ([0.5071, 0.4867, 0.4408], [0.2675, 0.2565, 0.2761])
        guard kind == .scaled else {
            return ImageTransform(mean: mean, deviation: deviation, cropPadding: 4, horizontalFlip: true)
        }
        var transform = ImageTransform(mean: mean, deviation: deviation, horizontalFlip: true, size: 32, resizedCrop: 0.3)
        (transform.brightness, transform.contrast, transform.saturation) = (0.4, 0.4, 0.4)
        return transform
    }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun {
        try AugmentationBenchmarkRun(self, engine: engine)
    }
}

private final class AugmentationBenchmarkRun: BenchmarkRun {
    private let engine: DeviceEngine
    private let table: ImageTable
    private let device: DeviceImageTable
    private let buffers: BatchBuffers
    private let selection: BatchSelection

    init(_ benchmark: AugmentationBenchmark, engine: DeviceEngine) throws {
        self.engine = engine
        table = SyntheticImages.table(count: 4 * benchmark.batch, shape: AugmentationBenchmark.input, classes: 100)
        device = try DeviceImageTable(table, name: "benchmark", engine: engine)
        buffers = try BatchBuffers(batch: benchmark.batch, shape: AugmentationBenchmark.input, engine: engine)
        selection = BatchSelection(
            table: "benchmark", indices: (0..<benchmark.batch).map { $0 * 3 % (4 * benchmark.batch) },
            transform: benchmark.transform, seed: 1, epoch: 1)
    }

    func enqueue() throws { try buffers.gather(selection, from: device) }

    func check() throws -> Double {
        let reference = ReferenceExecutor()
        try reference.load(table, as: "benchmark", staged: false)
        let (images, labels) = try reference.gather(selection, inputShape: buffers.shape)
        let found = Layout.toNCHW(
            try engine.read(buffers.images), batch: labels.count, shape: AugmentationBenchmark.input)
        guard try engine.queue.read(Int32.self, from: buffers.labels, count: labels.count) == labels else { return .infinity }
        return DeviceChecks.relativeError(found, images) / DeviceChecks.bound
    }
}

/// One update of so many parameters.
package struct OptimizerBenchmark: BenchmarkCase {
    package let optimizer: Optimizer
    package let name: String
    fileprivate let network: Network

    /// - Parameter count: of parameters, rounded to whole rows of 1024.
    package init(_ id: String, _ optimizer: Optimizer, count: Int) {
        self.optimizer = optimizer
        name = "optimizer \(id)"
        network = Network("flat", input: [1024]) { $0.linear($1, max(1, count / 1024), bias: false, name: "fc") }
    }

    package var mode: String { "update" }
    package var shape: String { "\(network.parameterCount)" }
    /// Gradient, parameter and what is remembered are read, all but the gradient written.
    package var bytes: Double { 4 * Double(network.parameterCount * (3 + 2 * optimizer.slotNames.count)) }

    package func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun { try OptimizerBenchmarkRun(self, engine: engine) }
}

private final class OptimizerBenchmarkRun: BenchmarkRun {
    private let engine: DeviceEngine
    private let network: Network
    private let store: ParameterStore
    private let update: ParameterUpdate
    private let state: NetworkState
    private let gradient: [Double]

    init(_ benchmark: OptimizerBenchmark, engine: DeviceEngine) throws {
        self.engine = engine
        network = benchmark.network
        update = ParameterUpdate(UpdateRule(benchmark.optimizer), number: 1)
        state = network.initialState(seed: 3)
        store = try ParameterStore(network, engine: engine, trainable: true, needsInputGradient: [])
        try store.load(state)
        gradient = DeviceChecks.random(network.parameterCount, stream: 3)
        try engine.write(gradient, to: store.gradient("fc.weight", count: gradient.count))
    }

    func enqueue() throws { try store.apply(update) }

    func check() throws -> Double {
        // The run before this check moved them already.
        try store.load(state)
        try engine.write(gradient, to: store.gradient("fc.weight", count: gradient.count))
        try enqueue()
        let found = try store.state()["fc.weight"]?.values ?? []
        let reference = try ReferenceNetwork(network, state: state)
        reference.take(gradients: ["fc.weight": gradient])
        _ = ReferenceUpdater().apply(update, to: reference)
        let expected = reference.state["fc.weight"]?.values ?? []
        // Beside the moved weights themselves, how far they moved.
        let start = state["fc.weight"]?.values ?? []
        let moved = zip(found, start).map { $0 - $1 }
        let wanted = zip(expected, start).map { $0 - $1 }
        return max(
            DeviceChecks.relativeError(found, expected) / DeviceChecks.bound,
            DeviceChecks.relativeError(moved, wanted) / (100 * DeviceChecks.bound))
    }
}

/// Images of noise, the same each time.
enum SyntheticImages {
    static func table(count: Int, shape: [Int], classes: Int) -> ImageTable {
        let size = shape.reduce(1, *)
        let noise = (0..<min(count * size, 65_537)).map {
            UInt8(CounterRandom.bits(seed: 5, stream: 1, counter: UInt64($0)) >> 56)
        }
        return ImageTable(
            channels: shape[0], height: shape[1], width: shape[2], pixels: (0..<count * size).map { noise[$0 % noise.count] },
            labels: (0..<count).map { Int32($0 % classes) }, classNames: (0..<classes).map(String.init))
    }
}
