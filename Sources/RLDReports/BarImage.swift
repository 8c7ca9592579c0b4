import Foundation
import RLDFormats

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
        // A run does not end for want of a picture.
        png = (try? PNGImage.encode(pixels, width: width, height: height)).map { Data($0) } ?? Data()
    }
}
