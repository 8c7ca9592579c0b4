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

    /// A network's weights from a file, its format known by its ending. So far `.safetensors`.
    public init(weights path: String, for network: Network) throws(InputError) {
        guard FileManager.default.fileExists(atPath: path) else {
            throw InputError(path, "does not exist", advice: "give a file of weights (.safetensors)")
        }
        guard path.hasSuffix(".safetensors") else {
            throw InputError(path, "is not a kind of weights file that can be read", advice: "give a .safetensors file")
        }
        try self.init(safetensors: path, for: network)
    }
}
