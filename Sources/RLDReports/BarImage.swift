import CZlib
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
        var rows = [UInt8]()
        rows.reserveCapacity(height * (width * 3 + 1))
        for y in 0..<height {
            // Each row of a PNG begins with its filter: none.
            rows.append(0)
            let level = 1 - (Double(y) + 0.5) / Double(height)
            let isLine = [0.25, 0.5, 0.75].contains { abs(level - $0) * Double(height) <= 0.5 }
            for x in 0..<width {
                let index = (x - 1) / bar
                let inside = x >= 1 && index < values.count && (x - 1) % bar < bar - gap && values[index] > level
                rows += inside ? [38, 110, 173] : isLine ? [205, 205, 205] : [255, 255, 255]
            }
        }
        png = Self.encode(rows, width: width, height: height)
    }

    private static func encode(_ rows: [UInt8], width: Int, height: Int) -> Data {
        var packed = [UInt8](repeating: 0, count: Int(compressBound(uLong(rows.count))))
        var size = uLongf(packed.count)
        compress(&packed, &size, rows, uLong(rows.count))
        func word(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
        func chunk(_ name: String, _ body: [UInt8]) -> [UInt8] {
            let content = Array(name.utf8) + body
            return word(UInt32(body.count)) + content + word(UInt32(crc32(0, content, uInt(content.count))))
        }
        return Data(
            [0x89, 0x50, 0x4E, 0x47, 0x0D, 0x0A, 0x1A, 0x0A]
                + chunk("IHDR", word(UInt32(width)) + word(UInt32(height)) + [8, 2, 0, 0, 0])
                + chunk("IDAT", Array(packed.prefix(Int(size)))) + chunk("IEND", []))
    }
}
