import RLDGraph
import RLDMethods
import RLDReference
import Testing

/// What the reference alone refuses; the rest is in "Inputs of executors".
@Suite("Reference executor") struct ReferenceExecutorTests {
    private static let table = ImageTable(
        channels: 2, height: 4, width: 4, pixels: (0..<4 * 32).map { UInt8($0 * 37 % 256) }, labels: [0, 1, 2, 1],
        classNames: ["a", "b", "c"])
    private static let network = Network("small", input: [2, 4, 4]) { net, x in
        net.linear(net.globalAveragePool(net.batchNorm(net.convolution(x, 3, kernel: 3, name: "c"), name: "n")), 3, name: "fc")
    }

    private func prepared(_ table: ImageTable = Self.table) throws -> ReferenceExecutor {
        let executor = ReferenceExecutor()
        try executor.load(table, as: "train", staged: false)
        try executor.prepareStudent(Self.network, state: Self.network.initialState(seed: 1))
        return executor
    }

    private func batch(
        _ indices: [Int] = [0, 1, 2], channels: Int = 2, deviations: Int = 2, change: (inout BatchSelection) -> Void = { _ in }
    ) -> BatchSelection {
        var batch = BatchSelection(
            table: "train", indices: indices,
            transform: ImageTransform(
                mean: Array(repeating: 0.5, count: channels), deviation: Array(repeating: 0.25, count: deviations)))
        change(&batch)
        return batch
    }

    private func message(_ executor: ReferenceExecutor, _ batch: BatchSelection) -> String {
        do {
            try executor.trainStep(batch, method: Method.defaults[0], warmup: 1, optimizer: SGD(learningRate: 0.1))
            return "none"
        } catch { return "\(error)" }
    }

    /// A table's labels are its classes; -100 means nothing there, smoothed or not.
    @Test(arguments: [0, 0.1]) func labelsOfATableAreItsClasses(smoothing: Double) throws {
        var table = Self.table
        table.labels[1] = -100
        let executor = try prepared(table)
        #expect(message(executor, batch { $0.labelSmoothing = smoothing }).contains("label of row 1: is -100, expected 0..<3"))
        #expect(throws: InputError.self) { try executor.evaluateStep(batch()) }
    }

    @Test func backwardNeedsAForward() throws {
        let network = try ReferenceNetwork(Self.network, state: Self.network.initialState(seed: 1))
        let error = #expect(throws: InputError.self) { try network.backward([0, 0, 0]) }
        #expect(error?.description.contains("run forward first") == true)
    }
}
