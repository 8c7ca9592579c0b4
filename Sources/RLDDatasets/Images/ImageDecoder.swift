import CPNG
import CTurboJPEG
import RLDFormats
import RLDGraph

/// A decoded picture: 8 bits per channel, red, green, blue, row by row.
package struct Picture: Sendable, Equatable {
    package var width: Int
    package var height: Int
    /// height x width x 3.
    package var pixels: [UInt8]
}

/// Decodes JPEG and PNG, told apart by their first bytes. Alpha is dropped, grey becomes three equal channels, and what a file
/// says of gamma or a colour profile is not applied.
package enum ImageDecoder {
    /// Decodes a file.
    /// - Parameter smallest: JPEGs may be decoded at 1/2, 1/4 or 1/8 of their size as long as their shorter side keeps so many
    ///   pixels; nil for full size.
    /// - Throws: `InputError` that names the file when it is missing, damaged or of another format.
    package static func picture(path: String, smallest: Int? = nil) throws(InputError) -> Picture {
        try picture(contents(of: path), named: path, smallest: smallest)
    }

    /// Width and height of a file's picture, by its header alone.
    static func extent(path: String) throws(InputError) -> (width: Int, height: Int) {
        let bytes = try contents(of: path)
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) {
            guard let handle = tjInitDecompress() else { throw InputError(path, "cannot be decoded: no memory") }
            defer { tjDestroy(handle) }
            let header = try header(handle, bytes, path)
            return (header.width, header.height)
        }
        return try pngExtent(bytes, path)
    }

    private static func contents(of path: String) throws(InputError) -> [UInt8] {
        let file = try RandomAccessFile(path: path)
        return try file.read(from: 0, count: file.size)
    }

    package static func picture(_ bytes: [UInt8], named path: String, smallest: Int? = nil) throws(InputError) -> Picture {
        if bytes.starts(with: [0xFF, 0xD8, 0xFF]) { return try jpeg(bytes, path, smallest) }
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) { return try png(bytes, path) }
        throw InputError(path, bytes.isEmpty ? "is empty" : "is neither a JPEG nor a PNG")
    }

    private static let largestSide = 1 << 15
    /// Pixels of a picture. A few bytes of a file may promise any number of them, and every processor decodes one at a time.
    private static let largestArea = 1 << 28

    private static func damage(_ handle: tjhandle, _ path: String) -> InputError {
        InputError(path, "is damaged: \(String(cString: tjGetErrorStr2(handle)))")
    }

    /// Width, height and colour space of a JPEG.
    private static func header(
        _ handle: tjhandle, _ bytes: [UInt8], _ path: String
    ) throws(InputError) -> (width: Int, height: Int, space: Int32) {
        var (width, height, sampling, space): (Int32, Int32, Int32, Int32) = (0, 0, 0, 0)
        guard tjDecompressHeader3(handle, bytes, UInt(bytes.count), &width, &height, &sampling, &space) == 0 else {
            throw damage(handle, path)
        }
        return (Int(width), Int(height), space)
    }

    private static func jpeg(_ bytes: [UInt8], _ path: String, _ smallest: Int?) throws(InputError) -> Picture {
        guard let handle = tjInitDecompress() else { throw InputError(path, "cannot be decoded: no memory") }
        defer { tjDestroy(handle) }
        let (width, height, space) = try header(handle, bytes, path)
        try check(width, height, path)
        var reduction = 1
        if let smallest { while reduction < 8, min(width, height) / (2 * reduction) >= smallest { reduction *= 2 } }
        let (w, h) = ((width + reduction - 1) / reduction, (height + reduction - 1) / reduction)
        // Four-colour JPEGs cannot be decoded to three: convert ourselves.
        let isFourColour = space == Int32(TJCS_CMYK.rawValue) || space == Int32(TJCS_YCCK.rawValue)
        let channels = isFourColour ? 4 : 3
        var pixels = [UInt8](repeating: 0, count: w * h * channels)
        let format = Int32(isFourColour ? TJPF_CMYK.rawValue : TJPF_RGB.rawValue)
        let status = tjDecompress2(handle, bytes, UInt(bytes.count), &pixels, Int32(w), 0, Int32(h), format, 0)
        if status != 0 {
            // Some cameras' harmless oddities are warnings; a picture that ends early or is garbled is not one.
            let text = String(cString: tjGetErrorStr2(handle)).lowercased()
            let isDamage = ["premature end", "bad huffman code"].contains(where: text.contains)
            guard tjGetErrorCode(handle) == Int32(TJERR_WARNING.rawValue), !isDamage else {
                throw damage(handle, path)
            }
        }
        guard isFourColour else { return Picture(width: w, height: h, pixels: pixels) }
        var colours = [UInt8](repeating: 0, count: w * h * 3)
        for i in 0..<w * h {
            // Inverted, as Adobe writes them: 255 is no ink.
            let black = Int(pixels[4 * i + 3])
            for c in 0..<3 {
                let colour = Int(pixels[4 * i + c])
                colours[3 * i + c] = UInt8(colour * black / 255)
            }
        }
        return Picture(width: w, height: h, pixels: colours)
    }

    private static func png(_ bytes: [UInt8], _ path: String) throws(InputError) -> Picture {
        let (width, height) = try pngExtent(bytes, path)
        try check(width, height, path)
        var pixels = [UInt8](repeating: 0, count: width * height * 3)
        var message = [CChar](repeating: 0, count: 96)
        guard rld_png_decode(bytes, bytes.count, &pixels, UInt32(width), UInt32(height), &message, message.count) != 0 else {
            let text = String(decoding: message.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            throw InputError(path, "is damaged: \(text)")
        }
        return Picture(width: width, height: height, pixels: pixels)
    }

    private static func pngExtent(_ bytes: [UInt8], _ path: String) throws(InputError) -> (width: Int, height: Int) {
        var image = png_image()
        image.version = UInt32(PNG_IMAGE_VERSION)
        defer { png_image_free(&image) }
        guard bytes.withUnsafeBytes({ png_image_begin_read_from_memory(&image, $0.baseAddress, $0.count) }) != 0 else {
            throw InputError(path, "is damaged: \(image.text)")
        }
        return (Int(image.width), Int(image.height))
    }

    private static func isReadable(_ width: Int, _ height: Int) -> Bool {
        (1...largestSide).contains(width) && (1...largestSide).contains(height) && width * height <= largestArea
    }

    private static func check(_ width: Int, _ height: Int, _ path: String) throws(InputError) {
        guard isReadable(width, height) else {
            throw InputError(
                path,
                "is \(width)x\(height) pixels, from 1 to \(largestSide) on a side and \(largestArea >> 20) million in all are read"
            )
        }
    }
}

extension Picture {
    /// Writes a PNG, whole or not at all.
    func write(png path: String) throws(InputError) {
        let png: [UInt8]
        do {
            png = try PNGImage.encode(pixels, width: width, height: height)
        } catch {
            throw InputError(path, "cannot be written as a PNG: \(error.reason)")
        }
        try AtomicFile.write(png, to: path)
    }
}
