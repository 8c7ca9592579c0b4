import RLDGraph

extension ImageTable {
    /// The first `count` images, or all where there are fewer.
    public func prefix(_ count: Int) -> ImageTable {
        let kept = min(max(count, 0), self.count)
        if kept == self.count { return self }
        if stream != nil { return selecting(Array(0..<kept)) }
        return ImageTable(
            channels: channels, height: height, width: width, pixels: Array(pixels.prefix(kept * imageSize)),
            labels: Array(labels.prefix(kept)), classNames: classNames)
    }

    /// The images with the given indices, in that order.
    /// A stream's statistics stay those of all its images.
    /// - Precondition: every index is in `0..<count`.
    package func selecting(_ indices: [Int]) -> ImageTable {
        if let stream {
            var hash = ContentHash()
            hash.add(Array("\(stream.contentHash) \(indices)".utf8))
            return ImageTable(
                channels: channels, height: height, width: width,
                stream: ImageStream(contentHash: hash.text, histograms: stream.histograms) { try stream.read(indices[$0]) },
                labels: indices.map { labels[$0] }, classNames: classNames)
        }
        var chosen: [UInt8] = []
        chosen.reserveCapacity(indices.count * imageSize)
        for index in indices { chosen += pixels[index * imageSize..<(index + 1) * imageSize] }
        return ImageTable(
            channels: channels, height: height, width: width, pixels: chosen, labels: indices.map { labels[$0] },
            classNames: classNames)
    }

    /// Sets `count` images aside for validation, drawn at random: the choice depends on the seed and the table's size alone.
    /// Both parts keep the table's order.
    /// - Throws: when not at least one image would be left on either side.
    public func split(validation count: Int, seed: UInt64) throws(InputError) -> (train: ImageTable, validation: ImageTable) {
        guard count >= 1, count < self.count else {
            throw InputError(
                "validation split", "\(count) of \(self.count) images", advice: "both parts need at least one image")
        }
        let order = CounterRandom.permutation(of: self.count, seed: seed, stream: Self.splitStream)
        return (selecting(order.dropFirst(count).sorted()), selecting(order.prefix(count).sorted()))
    }

    /// Keeps the split apart from the epochs' shuffles, which use the epoch as their stream.
    private static let splitStream: UInt64 = 0x5011_7000_0000_0000

    /// Identifies pixels, extents, class count and labels: 16 hexadecimal digits.
    public var contentHash: String {
        if let stream { return stream.contentHash }
        var hash = ContentHash()
        hash.add(pixels)
        hash.add(labels: labels, channels: channels, height: height, width: width, classes: classes)
        return hash.text
    }
}
