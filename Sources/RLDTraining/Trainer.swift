import Foundation
import RLDDatasets
import RLDFormats
import RLDGraph
import RLDMethods
import RLDModels

/// What a run ended with.
public struct TrainingResult: Sendable {
    public var network: Network
    public var epochs: [EpochRecord]
    /// The epoch with the highest validation accuracy (the first of equals); the last epoch without a validation part; 0 when
    /// no epoch was finished.
    public var bestEpoch: Int
    /// Weights after the last step.
    public var lastState: NetworkState
    /// Weights after the best epoch.
    public var bestState: NetworkState
    /// The test set, evaluated once with each; nil when the run was interrupted or the data has no test images.
    public var lastTest: TestRecord?
    public var bestTest: TestRecord?
    /// Of the training loop, without the first reading of the metrics (plans and kernels are built there).
    public var imagesPerSecond: Double
    /// The whole run, evaluation included.
    public var seconds: Double
    /// Whether a stop was asked for before the run ended.
    public var interrupted: Bool
    /// What goes with its weights, but for their epoch.
    let metadata: [String: String]

    /// What is left of it in a run folder.
    public var summary: RunSummary {
        RunSummary(
            model: network.id, epochs: epochs.count, bestEpoch: bestEpoch, last: lastTest, best: bestTest,
            imagesPerSecond: imagesPerSecond, seconds: seconds)
    }
}

/// Which weights of a run.
public enum TrainedWeights: Sendable {
    case last, best
}

extension TrainingResult {
    /// Writes weights as a run folder's best.safetensors and last.safetensors hold them, with the network, its classes and input,
    /// mean, deviation, class names and the configuration: the program and `ModelMetadata` know by them what they are for.
    /// - Throws: `InputError` for a path that cannot be written.
    public func save(_ weights: TrainedWeights, to path: String) throws(InputError) {
        let (state, epoch) = weights == .best ? (bestState, bestEpoch) : (lastState, epochs.last?.epoch ?? 0)
        try state.save(safetensors: path, metadata: metadata.merging(["epoch": "\(epoch)"]) { $1 })
    }
}

/// Training went wrong in a way that no other input would have shown before.
public enum TrainingError: Error, Sendable, Equatable, CustomStringConvertible {
    /// A loss or a weight became nan or infinite in the steps up to `step`, counted from 1 in the epoch.
    case nonFinite(what: String, epoch: Int, firstStep: Int, step: Int, kept: String)

    public var description: String {
        switch self {
        case .nonFinite(let what, let epoch, let firstStep, let step, let kept):
            let place = firstStep == step ? "step \(step)" : "step \(step) (it began in steps \(firstStep) to \(step))"
            return "epoch \(epoch), \(place): the \(what) is not finite; \(kept); try a lower learning rate or a warm-up"
        }
    }
}

/// Trains a student, alone or from a frozen teacher, on any executor.
///
/// One run: load the images, prepare networks, then per epoch a shuffled pass over the training images (the last, smaller batch
/// is trained on too, neither padded nor dropped; batch norm sees it as PyTorch would, and a last batch of one image leaves a
/// 1 x 1 feature map with a variance of 0) and an evaluation on the validation part. At the very end, and only there, the test
/// set is evaluated once with the last and once with the best weights; the executor is left holding the best.
public final class Trainer {
    /// A frozen teacher with its weights.
    public struct Teacher: Sendable {
        public var network: Network
        public var state: NetworkState
        public init(network: Network, state: NetworkState) {
            self.network = network
            self.state = state
        }
    }

    /// What the run uses: what was given, with the data set's augmentation, and the names of what is held in memory, filled in.
    public let configuration: TrainingConfiguration
    let executor: any NetworkExecutor
    let dataset: Dataset
    let network: Network?
    /// By name; the name of the only one that needs none is "".
    let teachers: [String: Teacher]
    let folder: RunFolder?
    let resumption: Resumption?
    let shouldStop: () -> Bool
    let observer: (TrainingEvent) -> Void

    /// - Parameters:
    ///   - network: what to train; nil for the one that `configuration.model` names. A network that the catalogue does not know
    ///     trains as well, but only a registered one (`ModelCatalog.register`) can be named in files and commands.
    ///   - teacher: for methods with a teacher; nil reads `configuration.teacherWeights`.
    ///   - teachers: the same of several, by their names in `configuration.teachers`.
    ///   - folder: where the run is recorded; nil for nowhere. It is closed when `run` ends, however it ends.
    ///   - resuming: where to go on (`RunFolder.resumption`). `configuration` is its own, or what its `merge` gave, which refuses what
    ///     was not allowed; whatever differs from its own is noted in the log.
    ///   - shouldStop: asked before each step; true ends the run after saving (`Interruption.requested` in a program).
    ///   - observer: hears what happens, on the task that called `run`.
    public init(
        configuration: TrainingConfiguration, executor: any NetworkExecutor, dataset: Dataset, network: Network? = nil,
        teacher: Teacher? = nil, teachers: [String: Teacher] = [:], folder: RunFolder? = nil, resuming: Resumption? = nil,
        shouldStop: @escaping () -> Bool = { false },
        observer: @escaping (TrainingEvent) -> Void = { _ in }
    ) {
        self.teachers = teacher.map { teachers.merging(["": $0]) { $1 } } ?? teachers
        var effective = configuration.completed(for: dataset).naming(dataset, teachers: self.teachers)
        if let network { effective.model = network.id }
        self.configuration = effective
        self.executor = executor
        self.dataset = dataset
        self.network = network
        self.folder = folder
        resumption = resuming
        self.shouldStop = shouldStop
        self.observer = observer
    }

    /// Identifies the images and labels.
    private(set) lazy var dataHash = dataset.contentHash

    /// Trains.
    /// - Throws: `InputError` for settings or files that cannot be used, `TrainingError` for a loss that becomes non-finite,
    ///   and what the executor throws.
    public func run() throws -> TrainingResult {
        // A caller that catches what is thrown may go on with the run at once.
        defer { folder?.close() }
        let (network, teachers, split, notes) = try checkedInput()
        try resumption?.check(network)
        let initial = try initialState(network)
        var session = TrainingSession(
            trainer: self, network: network, split: split, initial: initial.state, notes: initial.notes + notes)
        return try session.run(teachers: teachers)
    }

    /// What the run works on, once everything is checked, and what is to be said of it.
    /// - Parameter fresh: for an estimate, which needs no weights of teachers.
    func checkedInput(
        fresh: Bool = false
    ) throws -> (network: Network, teachers: [(index: Int, teacher: Teacher)], split: DataSplit, notes: [String]) {
        try configuration.validate()
        try requireArithmetic()
        try requireReading()
        let network = try self.network ?? dataset.network(configuration.model)
        try requireFit(network)
        let (teachers, notes) = try readTeachers(of: network, fresh: fresh)
        let split = try DataSplit(dataset, limit: configuration.limit, validation: configuration.validation)
        guard configuration.batchSize <= split.training.count else {
            throw InputError(
                "batch_size", "is \(configuration.batchSize), but there are only \(split.training.count) training images",
                advice: "give a smaller batch")
        }
        return (network, teachers, split, notes)
    }

    /// Fresh weights, or those of `initialWeights`, and what is to be said about them. A run that is resumed takes its own.
    func initialState(_ network: Network) throws -> (state: NetworkState, notes: [String]) {
        guard let path = configuration.initialWeights, resumption == nil else {
            return (network.initialState(seed: configuration.seed), [])
        }
        let loaded = try LoadedWeights(path, for: network, options: configuration.initialOptions, seed: configuration.seed)
        return (loaded.state, loaded.notes.map { "\(path): \($0)" })
    }

    /// An executor computes and stores in one way for its life.
    func requireArithmetic() throws(InputError) {
        let (found, wanted) = (executor, configuration)
        guard found.precision == wanted.precision else {
            throw InputError(
                "precision", "is \(wanted.precision.rawValue), the executor computes in \(found.precision.rawValue)",
                advice: "make it for the configuration's precision (makeExecutor(device:precision:))")
        }
        guard found.teacherStorage == wanted.teacherStorage || !wanted.objective.needsTeacher else {
            throw InputError(
                "teacher.storage",
                "is \(wanted.teacherStorage.rawValue), the executor stores in \(found.teacherStorage.rawValue)",
                advice: "make it for the configuration's storage (makeExecutor(device:teacherStorage:))")
        }
    }

    /// A data set is read once, by settings of its own.
    private func requireReading() throws(InputError) {
        func require(_ key: String, _ wanted: [Double]?, _ found: [Float]) throws(InputError) {
            guard let wanted, wanted.map(Float.init) != found else { return }
            throw InputError(
                key, "is \(wanted), the data set was read with \(found)",
                advice: "read it with the configuration's datasetOptions (DatasetCatalog.load(_:options:))")
        }
        try require("normalization.mean", configuration.normalizationMean, dataset.mean)
        try require("normalization.deviation", configuration.normalizationDeviation, dataset.deviation)
    }

    /// A network that was handed over need not be for these images, nor the parts of a data set for each other.
    private func requireFit(_ network: Network) throws(InputError) {
        let (images, classes) = (dataset.inputShape, dataset.train.classes)
        guard network.inputShape == images, network.nodes[network.output].shape == [classes] else {
            throw InputError(
                "network \(network.id)",
                "maps \(network.inputShape) to \(network.nodes[network.output].shape), the data has images \(images) of "
                    + "\(classes) classes")
        }
        for (part, table) in [("validation", dataset.validation), ("test", dataset.test)] {
            guard let table, table.count > 0 else { continue }
            let shape = dataset.transform.inputShape(of: table)
            guard shape == images, table.classNames == dataset.train.classNames else {
                throw InputError(
                    "\(part) images of \(dataset.name)",
                    "are \(shape) of the classes \(table.classNames.prefix(10)), those to train on \(images) of "
                        + "\(dataset.train.classNames.prefix(10))",
                    advice: "all parts need the same extents and classes")
            }
        }
    }
}
