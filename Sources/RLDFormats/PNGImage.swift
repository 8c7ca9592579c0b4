import CPNG

/// PNG files of red, green and blue, 8 bits each, by libpng.
public enum PNGImage {
    public struct Failure: Error {
        /// In libpng's words.
        public let reason: String
    }

    /// - Parameter pixels: [height, width, 3].
    public static func encode(_ pixels: [UInt8], width: Int, height: Int) throws(Failure) -> [UInt8] {
        let raw = (3 * width + 1) * height
        guard pixels.count == 3 * width * height else {
            throw Failure(reason: "\(pixels.count) values are no \(width)x\(height) pixels")
        }
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        (image.width, image.height) = (UInt32(width), UInt32(height))
        image.format = 2  // Red, green, blue.
        // Room for what does not compress at all: a filter byte per row, and what zlib and PNG put around each piece.
        var size = raw + raw / 64 + (1 << 16)
        var png = [UInt8](repeating: 0, count: size)
        guard png_image_write_to_memory(&image, &png, &size, 0, pixels, 0, nil) != 0, size <= png.count else {
            throw Failure(reason: image.text)
        }
        return Array(png.prefix(size))
    }
}

extension png_image {
    /// What libpng says of the last failure.
    package var text: String { withUnsafeBytes(of: message) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) } }
}
