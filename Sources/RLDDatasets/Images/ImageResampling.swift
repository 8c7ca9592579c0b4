import Foundation

extension Picture {
    /// The centre square of the picture, its shorter side first scaled to `size` (as torchvision's Resize and CenterCrop do).
    /// A triangle filter that widens when it shrinks, so that nothing aliases, as Pillow's BILINEAR.
    /// - Returns: 3 x size x size bytes, channel by channel.
    package func centreSquare(_ size: Int) -> [UInt8] {
        let (w, h) = width <= height ? (size, size * height / width) : (size * width / height, size)
        let left = Int((Double(w - size) / 2).rounded(.toNearestOrEven))
        let top = Int((Double(h - size) / 2).rounded(.toNearestOrEven))
        let columns = Self.weights(from: width, to: w, range: left..<left + size)
        let rows = Self.weights(from: height, to: h, range: top..<top + size)
        // Rows of the source that any row of the result reads.
        let firstRow = rows.map(\.first).min() ?? 0
        let lastRow = rows.map { $0.first + $0.weights.count }.max() ?? 0
        var narrow = [Float](repeating: 0, count: max(lastRow - firstRow, 0) * size * 3)
        pixels.withUnsafeBufferPointer { pixels in
            for y in firstRow..<lastRow {
                for (x, column) in columns.enumerated() {
                    var (r, g, b): (Float, Float, Float) = (0, 0, 0)
                    var p = (y * width + column.first) * 3
                    for weight in column.weights {
                        r += weight * Float(pixels[p])
                        g += weight * Float(pixels[p + 1])
                        b += weight * Float(pixels[p + 2])
                        p += 3
                    }
                    let q = ((y - firstRow) * size + x) * 3
                    (narrow[q], narrow[q + 1], narrow[q + 2]) = (r, g, b)
                }
            }
        }
        var result = [UInt8](repeating: 0, count: 3 * size * size)
        for (y, row) in rows.enumerated() {
            for x in 0..<size {
                var (r, g, b): (Float, Float, Float) = (0, 0, 0)
                var q = ((row.first - firstRow) * size + x) * 3
                for weight in row.weights {
                    r += weight * narrow[q]
                    g += weight * narrow[q + 1]
                    b += weight * narrow[q + 2]
                    q += size * 3
                }
                for (c, value) in [r, g, b].enumerated() {
                    result[(c * size + y) * size + x] = UInt8(min(max(value.rounded(), 0), 255))
                }
            }
        }
        return result
    }

    /// Per pixel of the result, which source pixels it reads and with what weights (sum 1).
    private static func weights(from source: Int, to target: Int, range: Range<Int>) -> [(first: Int, weights: [Float])] {
        let scale = Double(source) / Double(target)
        let support = max(scale, 1)
        return range.map { position in
            let centre = (Double(position) + 0.5) * scale
            let first = max(0, Int((centre - support + 0.5).rounded(.down)))
            let last = min(source, max(Int((centre + support + 0.5).rounded(.down)), first + 1))
            let weights = (first..<last).map { source -> Double in
                let distance = (Double(source) + 0.5 - centre) / support
                return max(0, 1 - abs(distance))
            }
            let sum = weights.reduce(0, +)
            return (first, weights.map { Float(sum > 0 ? $0 / sum : 1 / Double(weights.count)) })
        }
    }
}
