import CPNG
import Foundation

/// A bar per value as a small PNG: 0 at the bottom, 1 at the top, lines at each quarter.
public struct BarImage: Sendable {
    public let width: Int
    public let height: Int
    public let png: Data

    /// - Parameter values: shares of one.
    public init(_ values: [Double], height: Int = 120) {
        let bar = max(1, min(24, 960 / max(values.count, 1)))
        let gap = bar > 3 ? 2 : 0
        width = max(values.count, 1) * bar + 2
        self.height = height
        var pixels: [UInt8] = []
        pixels.reserveCapacity(height * width * 3)
        for y in 0..<height {
            let level = 1 - (Double(y) + 0.5) / Double(height)
            let isLine = [0.25, 0.5, 0.75].contains { abs(level - $0) * Double(height) <= 0.5 }
            for x in 0..<width {
                let index = (x - 1) / bar
                let inside = x >= 1 && index < values.count && (x - 1) % bar < bar - gap && values[index] > level
                pixels += inside ? [38, 110, 173] : isLine ? [205, 205, 205] : [255, 255, 255]
            }
        }
        png = Self.encode(pixels, width: width, height: height)
    }

    private static func encode(_ pixels: [UInt8], width: Int, height: Int) -> Data {
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        (image.width, image.height) = (UInt32(width), UInt32(height))
        image.format = 2  // Red, green, blue, 8 bits each.
        // Room for what does not compress at all: a filter byte per row, and what zlib and PNG put around each piece.
        let raw = (3 * width + 1) * height
        var size = raw + raw / 64 + (1 << 16)
        var png = [UInt8](repeating: 0, count: size)
        // A run does not end for want of a picture.
        let isWritten = png_image_write_to_memory(&image, &png, &size, 0, pixels, 0, nil) != 0
        return isWritten ? Data(png.prefix(size)) : Data()
    }
}
