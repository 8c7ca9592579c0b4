import RLDFormats
import RLDGraph

/// A file's checksum finds accidents only: what indexes, is counted and added up, or becomes a path is checked for itself.
extension CheckpointRecord {
    /// Beyond every run, and small enough that products of two of them are numbers.
    private static let mostSteps = 1 << 31
    private static let mostImages = 1 << 53

    /// Throws unless a run can have written these numbers.
    /// - Parameter source: the checkpoint.
    func validate(source: String) throws(InputError) {
        func require(_ good: Bool, _ problem: @autoclosure () -> String) throws(InputError) {
            if !good { throw InputError(source, "has a record that no run writes: \(problem())") }
        }
        try require((1...Self.mostSteps).contains(epoch), "epoch \(epoch)")
        try require((1...Self.mostSteps).contains(stepsPerEpoch), "\(stepsPerEpoch) steps per epoch")
        try require((0...stepsPerEpoch).contains(step), "step \(step) of \(stepsPerEpoch)")
        try require((1...step + 1).contains(firstUnread), "first step \(firstUnread) that is not logged, of \(step)")
        try require((0...Self.mostImages).contains(updates ?? 0), "\(updates ?? 0) updates")
        for (name, sums) in [("epoch", epochSums), ("pending", pendingSums)] {
            let rows = sums.rows
            try require((0...Self.mostImages).contains(rows), "\(name) sums over \(rows) images")
            try require((0...rows).contains(sums.top1), "\(sums.top1) of \(rows) images right")
            try require((0...rows).contains(sums.top5), "\(sums.top5) of \(rows) images among five")
            try require(sums.metrics.isFinite, "\(name) sums that are not finite")
        }
        try require((0...epoch).contains(bestEpoch), "best epoch \(bestEpoch) in epoch \(epoch)")
        try require(bestScore.value.isFinite, "best score \(bestScore.value)")
        try require(bestFile.map(CheckpointFolder.isCheckpoint) ?? true, "best weights in a file of another name")
        for record in epochs { try require((1...epoch).contains(record.epoch), "a result of epoch \(record.epoch)") }
        try require(seconds.isFinite && seconds >= 0, "\(seconds) seconds")
        for (name, length) in fileLengths {
            try require(MetricsFiles.names.contains(name), "the length of a file that is none of \(listed(MetricsFiles.names))")
            try require(length >= 0, "\(name) of \(length) bytes")
        }
    }

    /// Throws unless sums that have begun are those of the run's terms.
    func validate(terms: Int, source: String) throws(InputError) {
        for sums in [epochSums, pendingSums] where !sums.terms.isEmpty && sums.terms.count != terms {
            throw InputError(
                source, "has sums of \(sums.terms.count) terms, the loss of its run has \(terms)",
                advice: "remove it to go on from the one before")
        }
    }
}
