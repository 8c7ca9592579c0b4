import RLDDatasets
import RLDGraph
import RLDTraining

/// Reading the pictures of a streamed data set as training does: decoded and scaled by all processors, batch by batch, in a shuffled
/// order. Nothing is computed with them: what a training can take at most.
package struct ReadingBenchmark {
    package let data: String
    package let options: DatasetOptions
    package let batch: Int

    /// - Parameter data: NAME:PATH of a data set made of picture files.
    package init(_ data: String, imageSize: Int?, batch: Int) {
        (self.data, self.batch) = (data, batch)
        options = DatasetOptions(imageSize: imageSize, skipBroken: true, streaming: .on)
    }

    /// Reads every training picture once while the set is opened, whose time is the setup, and then for at least so many seconds.
    /// - Throws: `InputError` for a set that is not made of files, `BenchmarkError.wrong` if a batch is not what its files hold.
    package func run(seconds longest: Double) throws -> BenchmarkResult {
        let clock = ContinuousClock()
        let started = clock.now
        let table = try DatasetCatalog.load(data, options: options).train
        guard table.stream != nil, table.count >= batch else {
            throw InputError(
                data, table.stream == nil ? "is not made of picture files" : "has fewer than \(batch) training pictures",
                advice: "for example imagenet:PATH or folder:PATH")
        }
        let setup = seconds(started.duration(to: clock.now))
        let order = TrainingOrder.indices(Array(0..<table.count), seed: 1, epoch: 1)
        let batches = TrainingOrder.batches(order, size: batch).map(Array.init).filter { $0.count == batch }
        let first = try BatchLoader(table, batches: [batches[0]]).next()
        let name = "reading"
        guard try first == batches[0].flatMap({ try table.image($0) }) else { throw BenchmarkError.wrong(name, .infinity) }
        var times: [Double] = []
        let begin = clock.now
        repeat {
            let loader = BatchLoader(table, batches: batches)
            for _ in batches where times.isEmpty || seconds(begin.duration(to: clock.now)) < longest {
                let before = clock.now
                _ = try loader.next()
                times.append(seconds(before.duration(to: clock.now)))
            }
        } while seconds(begin.duration(to: clock.now)) < longest
        // A batch may have been read while the one before was waited for: the mean over all of them counts, not the median.
        let mean = Spread([seconds(begin.duration(to: clock.now)) / Double(times.count)])
        return BenchmarkResult(
            name: name, provider: "rld", mode: "\(table.height)x\(table.width)",
            shape: "\(batch)x3x\(table.height)x\(table.width)",
            runs: times.count, setup: setup, building: 0, worstError: 0, device: mean, wall: mean, launches: 0, memory: 0,
            records: [], images: batch)
    }
}
