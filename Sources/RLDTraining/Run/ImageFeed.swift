import RLDGraph

/// The loaders of a run's passes over its images, epochs and evaluations, one after the other. Reading for the next pass begins
/// while the device still works on the last batches of the one before.
final class ImageFeed {
    /// One pass: rows of a table, batch by batch.
    struct Pass: Equatable {
        var table: String
        var batches: [[Int]]
    }

    private var coming: (pass: Pass, loader: BatchLoader)?

    /// The loader of a pass, perhaps one that reads already.
    func take(_ pass: Pass, _ table: ImageTable) -> BatchLoader {
        defer { coming = nil }
        if let coming, coming.pass == pass { return coming.loader }
        return BatchLoader(table, batches: pass.batches)
    }

    /// Begins to read the first batches of a pass.
    func begin(_ pass: Pass, _ table: ImageTable) { coming = (pass, BatchLoader(table, batches: pass.batches)) }
}
