import RLDGraph
import RLDMethods

extension LossResult {
    /// Turns the cross-entropy with the labels into the one with soft targets (label smoothing, mixed images): with target t,
    /// term += z_a - t . z and d term / d z += e_a - t, because -log p_i = log-sum-exp - z_i.
    /// Methods without a cross-entropy over all rows stay as they are.
    /// - Parameters: those of `ReferenceLoss.evaluate` that gave this, without ignored rows or row weights.
    package mutating func soften(_ batch: BatchSelection, method: Method, warmup: Double, logits: [Double], labels: [Int32]) {
        let share = batch.mixing?.share ?? 1
        guard batch.labelSmoothing > 0 || share < 1, let term = method.termNames.firstIndex(of: "ce") else { return }
        let rows = labels.count
        let classes = logits.count / max(rows, 1)
        let weight = method.termWeights(warmup: warmup)[term]
        for row in 0..<rows {
            let (a, b) = (Int(labels[row]), Int(labels[rows - 1 - row]))
            var target = Array(repeating: batch.labelSmoothing / Double(classes), count: classes)
            target[a] += (1 - batch.labelSmoothing) * share
            target[b] += (1 - batch.labelSmoothing) * (1 - share)
            var change = logits[row * classes + a]
            for i in 0..<classes {
                change -= target[i] * logits[row * classes + i]
                gradient[row * classes + i] += weight / Double(rows) * ((i == a ? 1 : 0) - target[i])
            }
            terms[term] += change / Double(rows)
            total += weight * change / Double(rows)
            perRow[term][row] += change
        }
    }
}
