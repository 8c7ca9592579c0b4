/// Labelled images as they lie in memory before any augmentation: uint8, NCHW.
public struct ImageTable: Sendable, Equatable {
    public var channels: Int
    public var height: Int
    public var width: Int
    /// `count * channels * height * width` bytes, image by image, channel by channel, row by row.
    public var pixels: [UInt8]
    /// One class index per image, in `0..<classNames.count`.
    public var labels: [Int32]
    /// One name per class.
    public var classNames: [String]

    /// - Precondition: `pixels.count` equals `labels.count * channels * height * width`.
    public init(channels: Int, height: Int, width: Int, pixels: [UInt8], labels: [Int32], classNames: [String]) {
        precondition(pixels.count == labels.count * channels * height * width, "pixel count does not match labels and extents")
        self.channels = channels
        self.height = height
        self.width = width
        self.pixels = pixels
        self.labels = labels
        self.classNames = classNames
    }

    public var count: Int { labels.count }
    public var classes: Int { classNames.count }
    /// Bytes (and values) of one image.
    public var imageSize: Int { channels * height * width }
}

/// How the images of a batch are mixed, image i with image batch - 1 - i: mixup (Zhang et al., arXiv 1710.09412) or, with a
/// box, cutmix (Yun et al., arXiv 1905.04899). One draw for a whole batch.
public struct BatchMixing: Sendable, Equatable {
    /// An image's own share of its target: of its pixels' values, or of the pixels outside the box.
    public var share: Double
    /// The pixels that come from the other image: top, left, height, width; nil blends all pixels.
    public var box: [Int]?

    public init(share: Double, box: [Int]? = nil) {
        self.share = share
        self.box = box
    }
}
