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

    /// Identifies the contents, for environment records: both tables' hashes, 16 hexadecimal digits.
    public var contentHash: String {
        var hash = ContentHash()
        hash.add(train)
        hash.add(test)
        return hash.text
    }
}
