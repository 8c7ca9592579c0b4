/// Labelled images before any augmentation: uint8, NCHW, in memory or in a stream.
public struct ImageTable: Sendable, Equatable {
    public let channels: Int
    public let height: Int
    public let width: Int
    /// `count * channels * height * width` bytes, image by image, channel by channel, row by row; none with a stream.
    public package(set) var pixels: [UInt8]
    /// One class index per image, in `0..<classNames.count`.
    public package(set) var labels: [Int32]
    /// One name per class.
    public package(set) var classNames: [String]
    /// Where the pixels come from when they are too many for memory.
    public private(set) var stream: ImageStream?

    /// - Parameter stream: gives one image per label, in place of `pixels`.
    /// - Throws: `InputError` where an extent is not positive, pixels do not match labels and extents, or a label names no class.
    public init(
        validating channels: Int, height: Int, width: Int, pixels: [UInt8] = [], stream: ImageStream? = nil, labels: [Int32],
        classNames: [String]
    ) throws(InputError) {
        let (subject, extents) = ("images", "\(channels) channels of \(height)x\(width)")
        guard channels > 0, height > 0, width > 0, let count = elementCount(of: [labels.count, channels, height, width]) else {
            throw InputError(subject, extents, advice: "expected positive extents")
        }
        guard pixels.count == (stream == nil ? count : 0) else {
            throw InputError(
                subject, "\(pixels.count) bytes of pixels for \(labels.count) labels and \(extents)",
                advice: stream == nil ? "expected \(count)" : "expected none beside a stream")
        }
        if let row = labels.firstIndex(where: { !classNames.indices.contains(Int($0)) }) {
            throw InputError(
                subject, "the label of image \(row) is \(labels[row])",
                advice: "expected 0 to \(classNames.count - 1), one per class name")
        }
        if let stream {
            self.init(channels: channels, height: height, width: width, stream: stream, labels: labels, classNames: classNames)
        } else {
            self.init(channels: channels, height: height, width: width, pixels: pixels, labels: labels, classNames: classNames)
        }
    }

    /// The same for images that are known to be right.
    /// - Precondition: `init(validating:)` would not throw.
    package init(channels: Int, height: Int, width: Int, pixels: [UInt8], labels: [Int32], classNames: [String]) {
        precondition(pixels.count == labels.count * channels * height * width, "pixel count does not match labels and extents")
        self.channels = channels
        self.height = height
        self.width = width
        self.pixels = pixels
        self.labels = labels
        self.classNames = classNames
    }

    /// Images that stay where they are.
    /// - Parameter stream: gives one image per label.
    package init(channels: Int, height: Int, width: Int, stream: ImageStream, labels: [Int32], classNames: [String]) {
        self.init(channels: channels, height: height, width: width, pixels: [], labels: [], classNames: classNames)
        self.labels = labels
        self.stream = stream
    }

    /// The bytes of one image.
    /// - Throws: what its stream throws.
    public func image(_ index: Int) throws -> [UInt8] {
        if let stream { return try stream.read(index) }
        return Array(pixels[index * imageSize..<(index + 1) * imageSize])
    }

    /// Bytes of all images.
    public var bytes: Int { count * imageSize }

    public var count: Int { labels.count }
    public var classes: Int { classNames.count }
    /// [channels, height, width] of one image.
    package var imageShape: [Int] { [channels, height, width] }
    /// Bytes (and values) of one image.
    public var imageSize: Int { channels * height * width }
}

/// Images that stay in their files and are read one by one.
public struct ImageStream: Sendable, Equatable {
    /// The bytes of one image, the same at every call. Called from several threads at once.
    public let read: @Sendable (Int) throws -> [UInt8]
    /// Identifies pixels and labels, as `ImageTable.contentHash` does.
    public let contentHash: String
    /// How often each value occurs, per channel: what mean and deviation are computed from.
    public let histograms: [[Int]]

    public init(contentHash: String, histograms: [[Int]], read: @escaping @Sendable (Int) throws -> [UInt8]) {
        self.contentHash = contentHash
        self.histograms = histograms
        self.read = read
    }

    public static func == (a: ImageStream, b: ImageStream) -> Bool { a.contentHash == b.contentHash }
}

/// How the images of a batch are mixed, image i with image batch - 1 - i: mixup (Zhang et al., arXiv 1710.09412) or, with a
/// box, cutmix (Yun et al., arXiv 1905.04899). One draw for a whole batch.
public struct BatchMixing: Sendable, Equatable {
    /// An image's own share of its target: of its pixels' values, or of the pixels that are its own.
    public var share: Double
    /// The pixels that come from the other image: top, left, height, width; nil blends all pixels.
    public var box: [Int]?
    /// The box is the image's own instead, and what lies around it comes from the other one.
    public var keepsBox: Bool

    public init(share: Double, box: [Int]? = nil, keepsBox: Bool = false) {
        self.share = share
        self.box = box
        self.keepsBox = keepsBox
    }

    /// Throws for a share outside 0...1 and a box that does not lie within the images.
    package func check(height: Int, width: Int) throws(InputError) {
        guard (0...1).contains(share) else { throw InputError("mixing", "has a share of \(share), expected 0 to 1") }
        guard let box else { return }
        guard box.count == 4, box.allSatisfy({ $0 >= 0 }), box[2] <= height, box[0] <= height - box[2], box[3] <= width,
            box[1] <= width - box[3]
        else {
            throw InputError(
                "mixing", "has the box \(box) in images of \(height)x\(width)",
                advice: "expected [top, left, height, width] within")
        }
    }

    /// The same images with those of each pair exchanged, if that gives each its larger share. What takes a row for one of its own
    /// label (masks, confidence, accuracy) is then right as often as one label can be.
    public var ownFirst: BatchMixing {
        share >= 0.5 ? self : BatchMixing(share: 1 - share, box: box, keepsBox: box != nil && !keepsBox)
    }
}
