import Foundation
import RLDGraph
import RLDMethods

extension NetworkExecutor {
    /// The student in evaluation mode on rows of a table that was loaded: cross-entropy and correctness.
    /// - Parameters:
    ///   - staged: the table, if it was loaded as a staged one.
    ///   - correct: gets whether each row's label was the first largest logit, in the order of `rows`.
    public func evaluate(
        table: String, rows: [Int], transform: ImageTransform, batchSize: Int, staged: ImageTable? = nil,
        correct: ((Bool) -> Void)? = nil
    ) throws -> StepMetrics {
        try ExecutorInputs.check(batchSizes: [batchSize])
        let batches = TrainingOrder.batches(rows, size: batchSize).map(Array.init)
        _ = try evaluate(
            table: table, batches: batches, transform: transform, loader: staged.map { BatchLoader($0, batches: batches) },
            correct: correct)
        return try takeMetrics()
    }

    /// The student's logits in evaluation mode for rows of a table that was loaded: [rows, classes].
    public func studentLogits(
        table: String, rows: [Int], transform: ImageTransform, batchSize: Int, staged: ImageTable? = nil
    ) throws -> [Float] {
        try logits(table, rows, transform, batchSize, staged) { try studentLogits($0) }
    }

    /// A teacher's logits for rows of a table that was loaded, as they are without augmentation: [rows, classes].
    public func teacherLogits(
        of index: Int = 0, table: String, rows: [Int], transform: ImageTransform, batchSize: Int, staged: ImageTable? = nil
    ) throws -> [Float] {
        try logits(table, rows, transform, batchSize, staged) { try teacherLogits($0, of: index) }
    }

    private func logits(
        _ table: String, _ rows: [Int], _ transform: ImageTransform, _ batchSize: Int, _ staged: ImageTable?,
        _ forward: (BatchSelection) throws -> [Float]
    ) throws -> [Float] {
        try ExecutorInputs.check(batchSizes: [batchSize])
        let batches = TrainingOrder.batches(rows, size: batchSize).map(Array.init)
        let loader = staged.map { BatchLoader($0, batches: batches) }
        return try batches.flatMap { batch in
            var selection = BatchSelection(table: table, indices: batch, transform: transform.evaluation)
            selection.pixels = try loader?.next()
            return try forward(selection)
        }
    }

    /// `evaluate` of batches, whose metrics are left to take.
    /// - Parameters:
    ///   - loader: what brings the images, if they are not there.
    ///   - shouldStop: asked before each batch.
    ///   - afterReading: called when all images are read.
    /// - Returns: false when a stop was asked for before the last batch.
    func evaluate(
        table: String, batches: [[Int]], transform: ImageTransform, loader: BatchLoader?, shouldStop: () -> Bool = { false },
        afterReading: () -> Void = {}, correct: ((Bool) -> Void)?
    ) throws -> Bool {
        for (index, batch) in batches.enumerated() {
            if shouldStop() { return false }
            var selection = BatchSelection(table: table, indices: batch, transform: transform.evaluation)
            selection.pixels = try loader?.next()
            if index == batches.count - 1 { afterReading() }
            try evaluateStep(selection)
            if let correct { try lastEvaluated(rows: batch.count).forEach(correct) }
        }
        return true
    }
}

extension ClassAccuracy {
    /// How each class fared.
    /// - Parameters:
    ///   - labels: of the images, in the order in which they were seen; each one of `names`.
    ///   - correct: whether each of them was right.
    package static func each(of labels: [Int32], names: [String], correct: [Bool]) -> [ClassAccuracy] {
        var (images, hits) = ([Int](repeating: 0, count: names.count), [Int](repeating: 0, count: names.count))
        for (label, good) in zip(labels, correct) {
            images[Int(label)] += 1
            hits[Int(label)] += good ? 1 : 0
        }
        return names.indices.map { k in
            ClassAccuracy(name: names[k], images: images[k], accuracy: images[k] > 0 ? Double(hits[k]) / Double(images[k]) : 0)
        }
    }
}

extension NetworkState {
    /// Whether no value is nan or infinite.
    public var allFinite: Bool {
        names.allSatisfy { name in self[name]?.values.allSatisfy(\.isFinite) ?? true }
    }
}
