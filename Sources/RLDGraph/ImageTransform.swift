import Foundation

/// How a stored image becomes a network's input: y = (x / 255 - mean) / deviation, after random crops, flips and changes of
/// colour. What lies outside an image is black (0), as torchvision's RandomCrop pads before ToTensor.
///
/// The random part is a function of (seed, epoch, image index) alone. Shift and flip:
/// bits = CounterRandom.bits(seed, stream: epoch, counter: image index);
/// shift of rows = (bits & 0xFFFF) mod (2 * padding + 1), of columns = ((bits >> 16) & 0xFFFF) mod (2 * padding + 1),
/// flip if bit 32 is set. The modulo's bias is below 2 * padding / 65536. The rest: `placement`.
public struct ImageTransform: Sendable, Equatable, Encodable {
    /// Per channel, of pixels scaled to 0...1.
    public var mean: [Float]
    /// Per channel, of pixels scaled to 0...1.
    public var deviation: [Float]
    /// Pixels of zero padding on each side before a crop of the original size at a random place; 0 for no crop.
    public var cropPadding: Int
    /// Mirror left-right with probability one half.
    public var horizontalFlip: Bool
    /// Side of the square that the network sees; nil for the stored extents.
    public var size: Int?
    /// A random crop of an area between this share of the image and all of it, its aspect between 3/4 and 4/3, scaled to the
    /// output (torchvision's RandomResizedCrop, without antialiasing); instead of the padded crop. Nil for none.
    public var resizedCrop: Double?
    /// Factors drawn from 1 - value to 1 + value (at least 0), in this order: all channels; the distance from mid-grey (0.5); the
    /// distance from the pixel's own grey (three channels only). Each clamps to 0...1.
    public var brightness = 0.0
    public var contrast = 0.0
    public var saturation = 0.0
    /// Parameters a of Beta(a, a) for mixing two images, by blending and by pasting a box; 0 for none, both for one of them by a
    /// coin per batch.
    public var mixup = 0.0
    public var cutmix = 0.0
    /// Evaluation: the share of the shorter side that the centred crop takes before it is scaled to the output (224 / 256).
    public var centreCrop = 1.0

    public init(
        mean: [Float], deviation: [Float], cropPadding: Int = 0, horizontalFlip: Bool = false, size: Int? = nil,
        resizedCrop: Double? = nil
    ) {
        self.mean = mean
        self.deviation = deviation
        self.cropPadding = cropPadding
        self.horizontalFlip = horizontalFlip
        self.size = size
        self.resizedCrop = resizedCrop
    }

    /// The same normalisation and size without any random part: what evaluation uses.
    public var evaluation: ImageTransform {
        var transform = ImageTransform(mean: mean, deviation: deviation, size: size)
        transform.centreCrop = centreCrop
        transform.isEvaluation = centreCrop < 1
        return transform
    }
    /// Whether the centred crop applies.
    private var isEvaluation = false

    /// [channels, height, width] of what the network sees.
    public func inputShape(of table: ImageTable) -> [Int] { inputShape(of: table.imageShape) }

    /// The same for images of [channels, height, width].
    package func inputShape(of image: [Int]) -> [Int] { [image[0], size ?? image[1], size ?? image[2]] }

    /// Throws `InputError` for the first value that cannot be.
    /// - Parameter channels: of the images.
    package func check(channels: Int) throws(InputError) {
        guard mean.count == channels, deviation.count == channels else {
            throw InputError(
                "normalisation",
                "has means of \(mean.count) channels and deviations of \(deviation.count), the images have \(channels)")
        }
        func require(_ name: String, _ value: Double, in range: ClosedRange<Double>) throws(InputError) {
            guard !range.contains(value) else { return }
            throw InputError("transform", "\(name) is \(value), expected \(range.lowerBound) to \(range.upperBound)")
        }
        for k in 0..<channels {
            guard mean[k].isFinite, deviation[k].isFinite, deviation[k] != 0 else {
                throw InputError(
                    "normalisation", "of channel \(k) is by mean \(mean[k]) and deviation \(deviation[k])",
                    advice: "both must be finite, and the deviation not 0")
            }
        }
        // A draw has 16 bits.
        guard (0..<1 << 15).contains(cropPadding) else {
            throw InputError("transform", "cropPadding is \(cropPadding), expected 0 to \(1 << 15 - 1)")
        }
        if let resizedCrop { try require("resizedCrop", resizedCrop, in: 0...1) }
        try require("centreCrop", centreCrop, in: .leastNonzeroMagnitude...1)
        for (name, value) in [
            ("brightness", brightness), ("contrast", contrast), ("saturation", saturation), ("mixup", mixup), ("cutmix", cutmix),
        ] { try require(name, value, in: 0 ... .greatestFiniteMagnitude) }
    }

    /// Whether pixels are more than moved: scaled or changed in colour.
    public var resamples: Bool {
        size != nil || resizedCrop != nil || brightness > 0 || contrast > 0 || saturation > 0 || isEvaluation
    }

    /// The random choices of crop and flip for one image.
    package struct Draw: Sendable, Equatable {
        /// Offset of the crop in the padded image, 0...2 * padding; `padding` is the centre.
        package let row: Int
        package let column: Int
        package let flipped: Bool
    }

    /// The random choices for one image in one epoch. The device kernel computes the same.
    package func draw(seed: UInt64, epoch: Int, index: Int) -> Draw {
        let bits = CounterRandom.bits(
            seed: seed, stream: UInt64(truncatingIfNeeded: epoch), counter: UInt64(truncatingIfNeeded: index))
        let range = UInt64(2 * cropPadding + 1)
        return Draw(
            row: Int((bits & 0xFFFF) % range), column: Int(((bits >> 16) & 0xFFFF) % range),
            flipped: horizontalFlip && (bits >> 32) & 1 == 1)
    }

    /// The part of the image that becomes the output, and what happens to its colours: drawn on the host, in float32, so that
    /// every executor does the same.
    package struct Placement: Sendable, Equatable {
        /// Of the source, in its pixels.
        package var top: Float
        package var left: Float
        package var height: Float
        package var width: Float
        package var flipped: Bool
        /// Factors; 1 changes nothing.
        package var brightness: Float = 1
        package var contrast: Float = 1
        package var saturation: Float = 1

        /// As the kernel takes them.
        package var values: [Float] { [top, left, height, width, flipped ? 1 : 0, brightness, contrast, saturation] }
    }

    /// - Parameters:
    ///   - height, width: of the stored image.
    package func placement(seed: UInt64, epoch: Int, index: Int, height: Int, width: Int) -> Placement {
        if isEvaluation {
            let side = Double(min(height, width)) * centreCrop
            return Placement(
                top: Float((Double(height) - side) / 2), left: Float((Double(width) - side) / 2), height: Float(side),
                width: Float(side),
                flipped: false)
        }
        let draw = draw(seed: seed, epoch: epoch, index: index)
        var placement = Placement(
            top: Float(draw.row - cropPadding), left: Float(draw.column - cropPadding), height: Float(height),
            width: Float(width),
            flipped: draw.flipped)
        var next = UInt64(truncatingIfNeeded: index) &* 64
        func uniform() -> Double {
            defer { next &+= 1 }
            return CounterRandom.uniform(seed: seed, stream: 0xA06E_0000_0000 &+ UInt64(truncatingIfNeeded: epoch), counter: next)
        }
        func factor(_ range: Double) -> Float { range > 0 ? Float(max(1 + range * (2 * uniform() - 1), 0)) : 1 }
        (placement.brightness, placement.contrast, placement.saturation) = (
            factor(brightness), factor(contrast), factor(saturation)
        )
        if let smallest = resizedCrop {
            (placement.top, placement.left, placement.height, placement.width) = Self.crop(smallest, height, width, uniform)
        }
        return placement
    }

    private static func crop(_ smallest: Double, _ height: Int, _ width: Int, _ uniform: () -> Double) -> (
        Float, Float, Float, Float
    ) {
        for _ in 0..<10 {
            let area = Double(height * width) * (smallest + (1 - smallest) * uniform())
            let aspect = exp(log(0.75) + (log(4.0 / 3) - log(0.75)) * uniform())
            let w = Int((area * aspect).squareRoot().rounded())
            let h = Int((area / aspect).squareRoot().rounded())
            let (y, x) = (uniform(), uniform())
            guard w >= 1, h >= 1, w <= width, h <= height else { continue }
            return (Float(Int(y * Double(height - h + 1))), Float(Int(x * Double(width - w + 1))), Float(h), Float(w))
        }
        // No draw fitted: the largest centred crop with an aspect in range.
        let w = min(width, Int((Double(height) * 4 / 3).rounded()))
        let h = min(height, Int((Double(width) * 4 / 3).rounded()))
        return (Float((height - h) / 2), Float((width - w) / 2), Float(h), Float(w))
    }

    /// How the images of a batch are mixed, each keeping at least half of its own; nil when they are not.
    /// - Parameter step: of the run, from 0.
    package func mixing(seed: UInt64, step: Int, height: Int, width: Int) -> BatchMixing? {
        guard mixup > 0 || cutmix > 0 else { return nil }
        let stream: UInt64 = 0x3171_0000_0000 &+ UInt64(truncatingIfNeeded: step)
        func uniform(_ counter: UInt64) -> Double { CounterRandom.uniform(seed: seed, stream: stream, counter: counter) }
        let pastes = cutmix > 0 && (mixup == 0 || uniform(0) < 0.5)
        let share = CounterRandom.beta(pastes ? cutmix : mixup, seed: seed, stream: stream, counter: 16)
        guard pastes else { return BatchMixing(share: share).ownFirst }
        let side = (1 - share).squareRoot()
        func interval(_ extent: Int, _ place: Double) -> (Int, Int) {
            let half = Int(side * Double(extent)) / 2
            let centre = Int(place * Double(extent))
            return (max(centre - half, 0), min(centre + half, extent))
        }
        let (top, bottom) = interval(height, uniform(1))
        let (left, right) = interval(width, uniform(2))
        let area = (bottom - top) * (right - left)
        return BatchMixing(share: 1 - Double(area) / Double(height * width), box: [top, left, bottom - top, right - left])
            .ownFirst
    }
}
