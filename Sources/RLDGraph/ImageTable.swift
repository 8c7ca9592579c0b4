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

/// How a stored image becomes a network's input: y = (x / 255 - mean) / deviation, after an optional random crop from a
/// zero-padded image and an optional horizontal flip. Padding is black (0), as torchvision's RandomCrop pads before ToTensor.
///
/// The random part is a function of (seed, epoch, image index) alone:
/// bits = CounterRandom.bits(seed, stream: epoch, counter: image index);
/// shift of rows = (bits & 0xFFFF) mod (2 * padding + 1), of columns = ((bits >> 16) & 0xFFFF) mod (2 * padding + 1),
/// flip if bit 32 is set. The modulo's bias is below 2 * padding / 65536.
public struct ImageTransform: Sendable, Equatable, Codable {
    /// Per channel, of pixels scaled to 0...1.
    public var mean: [Float]
    /// Per channel, of pixels scaled to 0...1.
    public var deviation: [Float]
    /// Pixels of zero padding on each side before a crop of the original size at a random place; 0 for no crop.
    public var cropPadding: Int
    /// Mirror left-right with probability one half.
    public var horizontalFlip: Bool

    public init(mean: [Float], deviation: [Float], cropPadding: Int = 0, horizontalFlip: Bool = false) {
        self.mean = mean
        self.deviation = deviation
        self.cropPadding = cropPadding
        self.horizontalFlip = horizontalFlip
    }

    /// The same normalisation without any random part: what evaluation uses.
    public var evaluation: ImageTransform { ImageTransform(mean: mean, deviation: deviation) }

    public struct Draw: Sendable, Equatable {
        /// Offset of the crop in the padded image, 0...2 * padding; `padding` is the centre.
        public let row: Int
        public let column: Int
        public let flipped: Bool
    }

    /// The random choices for one image in one epoch. The device kernel computes the same.
    public func draw(seed: UInt64, epoch: Int, index: Int) -> Draw {
        let bits = CounterRandom.bits(seed: seed, stream: UInt64(epoch), counter: UInt64(index))
        let range = UInt64(2 * cropPadding + 1)
        return Draw(
            row: Int((bits & 0xFFFF) % range), column: Int(((bits >> 16) & 0xFFFF) % range),
            flipped: horizontalFlip && (bits >> 32) & 1 == 1)
    }
}
