import Foundation
import RLDGraph
import RLDMethods

extension NetworkExecutor {
    /// The student in evaluation mode on rows of a table that was loaded: cross-entropy and correctness.
    /// - Parameter staged: the table, if it was loaded as a staged one.
    public func evaluate(
        table: String, rows: [Int], transform: ImageTransform, batchSize: Int, staged: ImageTable? = nil
    ) throws -> StepMetrics {
        let batches = TrainingOrder.batches(rows, size: batchSize)
        let loader = staged.map { BatchLoader($0, batches: batches.map(Array.init)) }
        for batch in batches {
            var selection = BatchSelection(table: table, indices: Array(batch), transform: transform.evaluation)
            selection.pixels = try loader?.next()
            try evaluateStep(selection)
        }
        return try takeMetrics()
    }
}

extension NetworkState {
    /// Whether no value is nan or infinite.
    public var allFinite: Bool {
        names.allSatisfy { name in self[name]?.values.allSatisfy(\.isFinite) ?? true }
    }
}
