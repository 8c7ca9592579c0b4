import RLDDatasets
import RLDFormats
import RLDGraph
import RLDMethods

/// Which rows of the training table are trained on and which images validate. A function of the counts alone, not of the run's
/// seed, so that runs with different seeds are compared on the same images.
public struct DataSplit: Sendable, Equatable {
    /// In table order.
    public let training: [Int]
    /// In table order; empty without a validation part.
    public let validation: [Int]
    /// Whether these are rows of the data set's own validation table instead of the training table.
    public let validatesOnOwn: Bool

    /// - Parameter validation: nil for the validation part that the data set brings, or a tenth of the training rows where it
    ///   brings none.
    public init(_ dataset: Dataset, limit: Int?, validation: Double?) throws(InputError) {
        let own = validation == nil ? dataset.validation : nil
        let rows = try DataSplit(
            count: dataset.train.count, limit: limit, validation: validation ?? (own == nil ? Self.usualShare : 0))
        training = rows.training
        self.validation = own.map { Array(0..<$0.count) } ?? rows.validation
        validatesOnOwn = own != nil
    }

    /// Of the training rows, for a data set without a validation part of its own.
    static let usualShare = 0.1

    /// - Parameters:
    ///   - count: rows of the training table.
    ///   - limit: only the first so many rows are trained on; the rows after them are then free for validation.
    ///   - validation: below 1 a share of the (limited) training rows, from 1 on a number of rows. They come from the rows
    ///     that the limit leaves out if those suffice, otherwise from the training rows, drawn without regard to order, because
    ///     some tables are sorted by class.
    /// - Throws: `InputError` for a number that is none of images, and when nothing would be left to train on.
    public init(count: Int, limit: Int?, validation: Double) throws(InputError) {
        guard count > 0 else { throw InputError("data", "has no training images") }
        if let limit {
            try Setting.requireWhole(limit, "limit", atLeast: 1)
            guard limit <= count else {
                throw InputError("limit", "is \(limit), but the training set has only \(count) images")
            }
        }
        try Setting.requireImages(validation, "validation")
        let used = limit ?? count
        let wanted = validation < 1 ? Int((validation * Double(used)).rounded()) : Int(validation)
        guard wanted > 0 || validation == 0 else {
            throw InputError(
                "validation", "is a share of \(validation.plainText), which of \(used) images is none",
                advice: "give a larger share, a number of images, or 0 for no validation part")
        }
        let rest = count - used
        let pool = rest >= wanted ? used..<count : 0..<used
        guard wanted == 0 || rest >= wanted || wanted < used else {
            throw InputError(
                "validation", "takes \(wanted) images, which leaves none of \(used) to train on",
                advice: "give a smaller number or a share such as 0.1")
        }
        let order = CounterRandom.permutation(of: pool.count, seed: 0, stream: 0x5B11_7000)
        let chosen = order.prefix(wanted).map { pool.lowerBound + $0 }.sorted()
        let taken = Set(chosen)
        self.validation = chosen
        validatesOnOwn = false
        training = (0..<used).filter { !taken.contains($0) }
    }
}

extension DataSplit {
    /// One line for a person.
    func description(_ dataset: Dataset) -> String {
        "images     \(training.count) to train on, \(validation.count)\(validatesOnOwn ? " of their own" : "") to validate, "
            + "\(dataset.test.count) to test; mean \(ModelMetadata.text(dataset.mean)), deviation "
            + ModelMetadata.text(dataset.deviation)
    }
}

/// The order of the training images in one epoch: a permutation that (seed, epoch) alone decides.
public enum TrainingOrder {
    /// Keeps the shuffle apart from the other uses of the seed (augmentation uses the epoch, weights 0x5EED....).
    private static let stream: UInt64 = 0x0DE2_0000_0000

    /// - Parameter epoch: from 1.
    public static func indices(_ rows: [Int], seed: UInt64, epoch: Int) -> [Int] {
        CounterRandom.permutation(of: rows.count, seed: seed, stream: stream &+ UInt64(truncatingIfNeeded: epoch)).map {
            rows[$0]
        }
    }

    /// Consecutive batches; the last one holds the remainder, neither padded nor dropped.
    package static func batches(_ order: [Int], size: Int) -> [ArraySlice<Int>] {
        stride(from: 0, to: order.count, by: size).map { order[$0..<min($0 + size, order.count)] }
    }

    /// How many batches `count` images make.
    package static func steps(_ count: Int, batch: Int) -> Int { (count + batch - 1) / batch }

    /// The sizes that occur among the batches of `count` images: the whole one and the remainder, if there are any.
    package static func sizes(_ count: Int, batch: Int) -> [Int] {
        [min(count, batch), count > batch ? count % batch : 0].filter { $0 > 0 }
    }
}
