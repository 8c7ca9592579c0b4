import RLDGraph

/// A data set in memory: its two tables and how its images become a network's input.
public struct Dataset: Sendable, Equatable {
    /// Its name in the catalog ("fashion-mnist").
    public var name: String
    /// Where it was read from.
    public var path: String
    public var train: ImageTable
    public var test: ImageTable
    /// What training uses unless told otherwise; evaluation uses its `evaluation`.
    public var transform: ImageTransform
    /// Files that were left out because they are damaged, and why.
    public var skipped: [InputError] = []
    /// What a person should know of how the files were read, for example which of two folders became the test set.
    public var notes: [String] = []

    public init(name: String, path: String, train: ImageTable, test: ImageTable, transform: ImageTransform) {
        self.name = name
        self.path = path
        self.train = train
        self.test = test
        self.transform = transform
    }

    /// Per channel, of pixels scaled to 0...1.
    public var mean: [Float] { transform.mean }
    /// Per channel, of pixels scaled to 0...1.
    public var deviation: [Float] { transform.deviation }
    public var classNames: [String] { train.classNames }

    /// What a network takes: [channels, height, width] after the transform.
    public var inputShape: [Int] { transform.inputShape(of: train) }

    /// Identifies the contents, for environment records: a hash over both tables' hashes, 16 hexadecimal digits.
    public var contentHash: String {
        var hash = ContentHash()
        hash.add(Array((train.contentHash + test.contentHash).utf8))
        return hash.text
    }
}

/// How a data set is read, beside where it lies.
public struct DatasetOptions: Sendable, Equatable {
    /// Pixels of a side that a network gets to see, of sets made of picture files; nil for what suits the set.
    public var imageSize: Int?
    /// Leave damaged files out instead of stopping at the first.
    public var skipBroken = false
    /// Share of the images that become the test set, where the files have none.
    public var testShare = 0.2

    public init(imageSize: Int? = nil, skipBroken: Bool = false, testShare: Double = 0.2) {
        self.imageSize = imageSize
        self.skipBroken = skipBroken
        self.testShare = testShare
    }
}

extension ImageTable {
    /// Mean and deviation of the pixels per channel, scaled to 0...1.
    public var channelStatistics: (mean: [Float], deviation: [Float]) {
        var mean: [Float] = []
        var deviation: [Float] = []
        let plane = height * width
        for c in 0..<channels {
            // Counts per value are exact, whatever the number of pixels.
            var counts = [Int](repeating: 0, count: 256)
            pixels.withUnsafeBufferPointer { pixels in
                for image in 0..<count {
                    let start = image * imageSize + c * plane
                    for i in start..<start + plane { counts[Int(pixels[i])] += 1 }
                }
            }
            let total = Double(max(count * plane, 1))
            let first = counts.enumerated().reduce(0.0) { $0 + Double($1.offset * $1.element) } / total / 255
            let second = counts.enumerated().reduce(0.0) { $0 + Double($1.offset * $1.offset * $1.element) } / total / 65025
            mean.append(Float(first))
            deviation.append(Float(max(second - first * first, 1e-8).squareRoot()))
        }
        return (mean, deviation)
    }
}
