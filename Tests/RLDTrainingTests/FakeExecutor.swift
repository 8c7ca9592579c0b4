import Foundation
import RLD

/// An executor that is cheap, deterministic and writes down what it is asked: softmax regression on the first pixels, held
/// in the network's last layer ("fc.weight", "fc.bias"). Everything else of the network's state stays as it came.
final class FakeExecutor: NetworkExecutor {
    struct TrainCall: Equatable {
        var batch: BatchSelection
        var method: Method
        var warmup: Double
        var optimizer: SGD
        var objective: Objective
    }

    var trainCalls: [TrainCall] = []
    var updates: [ParameterUpdate] = []
    var teacherCalls = 0
    var evaluateCalls: [BatchSelection] = []
    var studentsPrepared = 0
    var teachers: [Int: Network] = [:]
    var metricsTaken = 0
    var tables: [String: ImageTable] = [:]
    /// The training step, counted from 1 over the run, whose loss is nan.
    var nonFiniteStep: Int?
    /// Called before each training step, with its number.
    var beforeStep: (Int) -> Void = { _ in }
    /// Called before each evaluation of a batch, with its number.
    var beforeEvaluation: (Int) -> Void = { _ in }

    private var network: Network?
    private var state = NetworkState()
    private var metrics = StepMetrics()
    private var features = 64
    private var lastCorrect: [Bool] = []

    let executorDescription = "fake"

    var stagedTables: Set<String> = []
    var residentImageBytes: Int?

    func load(_ images: ImageTable, as name: String, staged: Bool) throws {
        tables[name] = images
        if staged { stagedTables.insert(name) }
    }

    func prepareStudent(_ network: Network, state: NetworkState) throws {
        try state.validate(for: network, source: "state")
        self.network = network
        self.state = state
        features = state["fc.weight"]?.shape.last ?? 0
        studentsPrepared += 1
    }

    func prepareSteps(training: [Int], evaluation: [Int], objective: Objective) throws {}

    func prepareTeacher(_ network: Network, state: NetworkState, at index: Int) throws { teachers[index] = network }

    func prepareUpdates(_ rule: UpdateRule) throws {}

    func exchangeWithAverage() throws {}

    func teacherLogits(_ batch: BatchSelection, of index: Int) throws -> [Float] {
        teacherCalls += 1
        return (0..<batch.indices.count * (teachers[index]?.classes ?? 0)).map { Float($0 % 7 + index) }
    }

    func trainStep(_ batch: BatchSelection, objective: Objective, update: ParameterUpdate) throws {
        guard case .sgd(let optimizer) = update.rule.optimizer else {
            throw InputError("optimizer", "is none that the fake knows")
        }
        updates.append(update)
        let part = objective.components[0]
        trainCalls.append(
            TrainCall(batch: batch, method: part.method, warmup: part.warmup, optimizer: optimizer, objective: objective))
        beforeStep(trainCalls.count)
        guard var weight = state["fc.weight"], var bias = state["fc.bias"], let classes = network?.classes else { return }
        let rate = optimizer.learningRate / Double(batch.indices.count)
        var loss = 0.0
        try visit(batch) { image, label, logits in
            let shares = softmax(logits)
            loss -= log(max(shares[label], 1e-300))
            for k in 0..<classes {
                let slope = shares[k] - (k == label ? 1 : 0)
                bias.values[k] -= rate * slope
                for i in 0..<features { weight.values[k * features + i] -= rate * slope * image[i] }
            }
        }
        if nonFiniteStep == trainCalls.count {
            loss = .nan
            bias.values[0] = .nan
        }
        state["fc.weight"] = weight
        state["fc.bias"] = bias
        metrics.totalSum += loss
        metrics.termSums = objective.termNames.indices.map {
            (metrics.termSums.isEmpty ? 0 : metrics.termSums[$0]) + ($0 == 0 ? loss : 0)
        }
    }

    func evaluateStep(_ batch: BatchSelection) throws {
        evaluateCalls.append(batch)
        beforeEvaluation(evaluateCalls.count)
        lastCorrect = []
        var loss = 0.0
        try visit(batch) { _, label, logits in loss -= log(max(softmax(logits)[label], 1e-300)) }
        metrics.totalSum += loss
        metrics.termSums = [metrics.totalSum]
    }

    func lastEvaluated(rows: Int) throws -> [Bool] { lastCorrect }

    func takeMetrics() throws -> StepMetrics {
        metricsTaken += 1
        defer { metrics = StepMetrics() }
        return metrics
    }

    func studentState() throws -> NetworkState { state }

    func trainingState() throws -> TrainingState { TrainingState(weights: state) }

    func restore(_ state: TrainingState) throws {
        self.state = state.weights
        metrics = StepMetrics()
    }

    func studentLogits(_ images: Tensor) throws -> Tensor {
        Tensor(shape: [images.shape[0], network?.classes ?? 0], repeating: 0)
    }

    func loss(_ method: Method, student: Tensor, teacher: Tensor?, labels: [Int32], settings: LossSettings) throws -> LossReport {
        throw InputError("loss", "is nothing that the fake executor knows")
    }

    /// Calls `body` with pixels in 0...1, label and logits of each image, and counts rows and correctness.
    private func visit(_ batch: BatchSelection, _ body: ([Double], Int, [Double]) -> Void) throws {
        guard let table = tables[batch.table] else { throw InputError("table \(batch.table)", "was never loaded") }
        guard let weight = state["fc.weight"], let bias = state["fc.bias"] else { return }
        let isStaged = stagedTables.contains(batch.table)
        let pixels = isStaged ? batch.pixels ?? [] : table.pixels
        for (row, index) in batch.indices.enumerated() {
            let start = (isStaged ? row : index) * table.imageSize
            let image = (0..<features).map { $0 < table.imageSize ? Double(pixels[start + $0]) / 255 : 0 }
            let label = Int(table.labels[index])
            let logits = bias.values.indices.map { k in
                bias.values[k] + (0..<features).reduce(0) { $0 + weight.values[k * features + $1] * image[$1] }
            }
            metrics.rows += 1
            lastCorrect.append(logits.indices.max { logits[$0] < logits[$1] } == label)
            metrics.top1 += logits.indices.max { logits[$0] < logits[$1] } == label ? 1 : 0
            metrics.top5 += logits.filter { $0 > logits[label] }.count < 5 ? 1 : 0
            body(image, label, logits)
        }
    }

    private func softmax(_ logits: [Double]) -> [Double] {
        let top = logits.max() ?? 0
        let powers = logits.map { exp($0 - top) }
        let sum = powers.reduce(0, +)
        return powers.map { $0 / sum }
    }
}
