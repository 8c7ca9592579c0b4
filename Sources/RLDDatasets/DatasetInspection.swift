import Dispatch
import Foundation
import RLDFormats
import RLDGraph

/// What a data set holds, for a person who has just made it.
public struct DatasetInspection: Sendable, Equatable, Encodable {
    public struct ClassCount: Sendable, Equatable, Encodable {
        public var name: String
        public var train: Int
        public var validation: Int
        public var test: Int
    }

    public struct Extent: Sendable, Equatable, Encodable {
        public var width: Int
        public var height: Int
        public var images: Int
    }

    public struct Broken: Sendable, Equatable, Encodable {
        public var file: String
        public var problem: String
    }

    public var data: String
    public var path: String
    public var trainImages: Int
    /// 0 where the files have no such part of their own.
    public var validationImages: Int
    public var testImages: Int
    public var classes: [ClassCount]
    /// Largest class over smallest, of the training images.
    public var imbalance: Double
    /// Of the files as they are, the most frequent first; of arrays the one size.
    public var sizes: [Extent]
    /// Channels, height and width that a network gets to see.
    public var input: [Int]
    public var broken: [Broken]
    /// Of the training images per channel, pixels scaled to 0...1.
    public var mean: [Float]
    public var deviation: [Float]
    public var contentHash: String
    /// What a person should know of how the files were read.
    public var notes: [String]

    /// Reads and counts everything; damaged files are listed, not fatal.
    /// - Parameter text: NAME[:PATH].
    /// - Returns: the inspection and the data set without what is damaged.
    public static func inspect(
        _ text: String, options: DatasetOptions = DatasetOptions()
    ) throws(InputError) -> (inspection: DatasetInspection, dataset: Dataset) {
        var options = options
        options.skipBroken = true
        let dataset = try DatasetCatalog.load(text, options: options)
        func counts(_ table: ImageTable?) -> [Int] {
            var counts = [Int](repeating: 0, count: dataset.classNames.count)
            for label in table?.labels ?? [] { counts[Int(label)] += 1 }
            return counts
        }
        let (train, validation, test) = (counts(dataset.train), counts(dataset.validation), counts(dataset.test))
        let images = [dataset.train, dataset.validation, dataset.test].map { $0?.count ?? 0 }
        let statistics = dataset.train.channelStatistics
        let sizes =
            try DatasetCatalog.pictureFiles(text, options: options).map { paths in
                Self.sizes(paths, without: Set(dataset.skipped.map(\.subject)))
            } ?? [Extent(width: dataset.train.width, height: dataset.train.height, images: images.reduce(0, +))]
        let inspection = DatasetInspection(
            data: text, path: dataset.path, trainImages: images[0], validationImages: images[1], testImages: images[2],
            classes: dataset.classNames.indices.map {
                ClassCount(name: dataset.classNames[$0], train: train[$0], validation: validation[$0], test: test[$0])
            },
            imbalance: Double(train.max() ?? 0) / Double(max(train.min() ?? 0, 1)), sizes: sizes, input: dataset.inputShape,
            broken: dataset.skipped.map { Broken(file: $0.subject, problem: $0.problem) }, mean: statistics.mean,
            deviation: statistics.deviation, contentHash: dataset.contentHash, notes: dataset.notes)
        return (inspection, dataset)
    }

    /// - Parameter damaged: files that do not count.
    private static func sizes(_ paths: [String], without damaged: Set<String>) -> [Extent] {
        let counts = Locked([Int: Int]())
        DispatchQueue.concurrentPerform(iterations: paths.count) { index in
            guard !damaged.contains(paths[index]), let extent = try? ImageDecoder.extent(path: paths[index]) else { return }
            counts.withLock { $0[extent.width << 32 | extent.height, default: 0] += 1 }
        }
        return counts.withLock { $0 }.map { Extent(width: $0.key >> 32, height: $0.key & 0xFFFF_FFFF, images: $0.value) }
            .sorted { ($1.images, $0.width, $0.height) < ($0.images, $1.width, $1.height) }
    }
}

extension Dataset {
    /// Writes a PNG with a row of training images per class, as they are stored: up to ten images of up to 40 classes.
    public func writeContactSheet(_ path: String) throws {
        let rows = min(classNames.count, 40)
        let columns = 10
        let factor = max(1, 32 / max(train.height, train.width))
        let (h, w) = (train.height * factor, train.width * factor)
        let gap = 2
        var sheet = Picture(
            width: columns * (w + gap) + gap, height: rows * (h + gap) + gap,
            pixels: [UInt8](repeating: 255, count: (columns * (w + gap) + gap) * (rows * (h + gap) + gap) * 3))
        var used = [Int](repeating: 0, count: rows)
        for (index, label) in train.labels.enumerated() where label < rows && used[Int(label)] < columns {
            let (top, left) = (gap + Int(label) * (h + gap), gap + used[Int(label)] * (w + gap))
            used[Int(label)] += 1
            let image = try train.image(index)
            for y in 0..<h {
                for x in 0..<w {
                    for c in 0..<3 {
                        let plane = train.channels == 3 ? c : 0
                        let source = (plane * train.height + y / factor) * train.width + x / factor
                        sheet.pixels[((top + y) * sheet.width + left + x) * 3 + c] = image[source]
                    }
                }
            }
        }
        try sheet.write(png: path)
    }
}
