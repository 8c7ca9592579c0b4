import Foundation
import RLDGraph
import RLDMethods

extension NetworkExecutor {
    /// The student in evaluation mode on rows of a table that was loaded: cross-entropy and correctness.
    public func evaluate(table: String, rows: [Int], transform: ImageTransform, batchSize: Int) throws -> StepMetrics {
        for batch in TrainingOrder.batches(rows, size: batchSize) {
            try evaluateStep(BatchSelection(table: table, indices: Array(batch), transform: transform.evaluation))
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
