import OpenCLRuntime
import RLDMethods

/// What an accumulator held when it was read.
package struct LossTotals: Sendable, Equatable {
    package var metrics: StepMetrics
    /// Rows with any fault. Their terms count as they are (nan or infinity), so a fault shows in the sums as well.
    package var faultyRows: Int
    package var faults: LossFault
    /// Index of the first faulty row within its batch; nil without one.
    package var firstFaultyRow: Int?
}

/// Sums of losses and counts on the device, since the last reset. Sums are pairs of floats, exact to about 48 bits, so that an
/// epoch loses nothing; the order of summation is fixed.
package final class LossAccumulator {
    /// Words of `kernels/common/loss_accumulator.clh`: counts, then the total, then the terms, then the rows done of a batch at hand.
    private static let totalWord = 6
    private static let termWord = 8
    static let maxTerms = 4
    private static let words = termWord + 2 * maxTerms + 1

    let buffer: Buffer

    /// - Throws: `.outOfMemory` if the device cannot hold it.
    package init(on queue: CommandQueue, context: Context) throws(DeviceError) {
        buffer = try Buffer(context, bytes: 4 * Self.words, label: "loss accumulator")
        try reset(on: queue)
    }

    /// Starts again from zero, after what is already queued.
    package func reset(on queue: CommandQueue) throws(DeviceError) {
        try queue.fill(buffer, UInt32(0))
    }

    /// Waits for the queue and returns what was added up.
    /// - Parameter method: the one whose losses were added; nil: none were.
    package func read(_ method: Method?, on queue: CommandQueue) throws(DeviceError) -> LossTotals {
        let terms = method?.termNames.count ?? 0
        let scale = method?.sumScale ?? 1
        let words = try queue.read(UInt32.self, from: buffer, count: Self.words)
        func sum(_ word: Int) -> Double {
            let high = Float(bitPattern: words[word])
            return high.isFinite ? (Double(high) + Double(Float(bitPattern: words[word + 1]))) / scale : Double(high)
        }
        let metrics = StepMetrics(
            rows: Int(words[0]), termSums: (0..<terms).map { sum(Self.termWord + 2 * $0) }, totalSum: sum(Self.totalWord),
            top1: Int(words[1]), top5: Int(words[2]))
        return LossTotals(
            metrics: metrics, faultyRows: Int(words[3]), faults: LossFault(rawValue: words[4]),
            firstFaultyRow: words[5] > 0 ? Int(words[5]) - 1 : nil)
    }
}
