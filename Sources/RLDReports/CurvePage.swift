import Foundation

/// One curve.
public struct Curve: Sendable, Equatable {
    public var name: String
    public var points: [(x: Double, y: Double)]
    /// Dashed curves share their colour with the curve of the same index that is not.
    public var dashed: Bool
    public var colour: Int

    public init(_ name: String, _ points: [(x: Double, y: Double)], colour: Int, dashed: Bool = false) {
        self.name = name
        self.points = points
        self.dashed = dashed
        self.colour = colour
    }

    public static func == (a: Curve, b: Curve) -> Bool {
        a.name == b.name && a.dashed == b.dashed && a.colour == b.colour && a.points.map(\.x) == b.points.map(\.x)
            && a.points.map(\.y) == b.points.map(\.y)
    }
}

/// Curves over one axis.
public struct Figure: Sendable, Equatable {
    public var title: String
    public var xLabel: String
    public var curves: [Curve]

    public init(_ title: String, xLabel: String, curves: [Curve]) {
        self.title = title
        self.xLabel = xLabel
        self.curves = curves
    }
}

/// A page of figures with inline SVG: one file that opens anywhere, without a network.
public enum CurvePage {
    /// Colours that stay apart for most kinds of colour vision (Okabe and Ito).
    private static let colours = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000"]

    /// - Parameters:
    ///   - table: a heading row and rows of cells, shown above the figures; empty for none.
    public static func html(title: String, table: [[String]], figures: [Figure]) -> String {
        let rows = table.enumerated().map { index, row in
            "<tr>" + row.map { index == 0 ? "<th>\(escaped($0))</th>" : "<td>\(escaped($0))</td>" }.joined() + "</tr>"
        }.joined(separator: "\n")
        return """
            <!DOCTYPE html>
            <html lang="en">
            <head>
            <meta charset="utf-8">
            <title>\(escaped(title))</title>
            <style>
            body { font: 14px/1.4 system-ui, sans-serif; margin: 24px; color: #222; }
            figure { display: inline-block; margin: 0 24px 24px 0; }
            figcaption { font-weight: 600; margin-bottom: 4px; }
            table { border-collapse: collapse; margin-bottom: 24px; }
            th, td { text-align: left; padding: 3px 14px 3px 0; border-bottom: 1px solid #ddd; }
            .legend { max-width: 620px; }
            .legend span { display: inline-block; margin-right: 14px; }
            svg text { font: 11px system-ui, sans-serif; fill: #444; }
            </style>
            </head>
            <body>
            <h1>\(escaped(title))</h1>
            \(table.isEmpty ? "" : "<table>\n\(rows)\n</table>")
            \(figures.map(svg).joined(separator: "\n"))
            </body>
            </html>

            """
    }

    private static func svg(_ figure: Figure) -> String {
        let (width, total) = (620.0, 340.0)
        let (left, right, top, bottom) = (60.0, 12.0, 10.0, 44.0)
        let finite = figure.curves.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
        let caption = "<figcaption>\(escaped(figure.title))</figcaption>"
        guard !finite.isEmpty else { return "<figure>\(caption)<p>no data</p></figure>" }
        // Epochs and steps have none between two of them.
        let xTicks = ticks(
            finite.map(\.x).min() ?? 0, finite.map(\.x).max() ?? 1, wholes: finite.allSatisfy { $0.x == $0.x.rounded() })
        // One curve that is far above the others would press them all onto the axis.
        let (lowest, highest) = (finite.map(\.y).min() ?? 0, finite.map(\.y).max() ?? 1)
        let isLogarithmic = lowest > 0 && highest > 1000 * lowest
        func height(_ y: Double) -> Double { isLogarithmic ? log10(y) : y }
        let yTicks = isLogarithmic ? powers(lowest, highest) : ticks(lowest, highest)
        let x0 = finite.map(\.x).min() ?? 0
        let x1 = max(finite.map(\.x).max() ?? 1, x0.nextUp)
        let (y0, y1) = (height(yTicks.first ?? 0), height(yTicks.last ?? 1))
        func px(_ x: Double) -> String { number(left + (x - x0) / (x1 - x0) * (width - left - right)) }
        func py(_ y: Double) -> String {
            number(total - bottom - (height(y) - y0) / (y1 - y0) * (total - top - bottom))
        }
        var parts = [
            "<svg width=\"\(Int(width))\" height=\"\(Int(total))\" viewBox=\"0 0 \(Int(width)) \(Int(total))\" role=\"img\">"
        ]
        for y in yTicks {
            parts.append(
                "<line x1=\"\(number(left))\" x2=\"\(number(width - right))\" y1=\"\(py(y))\" y2=\"\(py(y))\" stroke=\"#e4e4e4\"/>"
                    + "<text x=\"\(number(left - 6))\" y=\"\(py(y))\" text-anchor=\"end\" dominant-baseline=\"middle\">\(label(y))</text>"
            )
        }
        for x in xTicks where x >= x0 && x <= x1 {
            parts.append("<text x=\"\(px(x))\" y=\"\(number(total - bottom + 16))\" text-anchor=\"middle\">\(label(x))</text>")
        }
        parts.append(
            "<text x=\"\(number((left + width - right) / 2))\" y=\"\(number(total - 8))\" text-anchor=\"middle\">\(escaped(figure.xLabel))</text>"
        )
        for curve in figure.curves {
            let colour = colours[curve.colour % colours.count]
            let points = curve.points.filter { $0.x.isFinite && $0.y.isFinite }
            if points.count == 1, let point = points.first {
                parts.append(
                    "<circle cx=\"\(px(point.x))\" cy=\"\(py(point.y))\" r=\"3\" fill=\"\(colour)\"><title>\(escaped(curve.name))</title></circle>"
                )
            } else if !points.isEmpty {
                let path = points.map { "\(px($0.x)),\(py($0.y))" }.joined(separator: " ")
                let dash = pattern(curve).map { " stroke-dasharray=\"\($0)\"" } ?? ""
                parts.append(
                    "<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"1.6\"\(dash)>"
                        + "<title>\(escaped(curve.name))</title></polyline>")
            }
        }
        parts.append("</svg>")
        let legend = figure.curves.map { curve in
            let colour = colours[curve.colour % colours.count]
            let sample =
                "<svg width=\"26\" height=\"8\"><line x1=\"0\" x2=\"26\" y1=\"4\" y2=\"4\" stroke=\"\(colour)\" stroke-width=\"2\""
                + (pattern(curve).map { " stroke-dasharray=\"\($0)\"" } ?? "") + "/></svg>"
            return "<span style=\"color:\(colour)\">\(sample) \(escaped(curve.name))</span>"
        }.joined()
        return "<figure>\(caption)\(parts.joined())<div class=\"legend\">\(legend)</div></figure>"
    }

    /// Strokes and gaps of a curve: colours begin anew after the last, with others.
    private static func pattern(_ curve: Curve) -> String? {
        let round = curve.colour / colours.count % 3
        return curve.dashed ? ["5 4", "5 2 1 2", "1 3"][round] : [nil, "12 3", "12 2 2 2"][round]
    }

    /// Powers of ten that cover the range.
    private static func powers(_ low: Double, _ high: Double) -> [Double] {
        let (first, last) = (floor(log10(low)), ceil(log10(high)))
        let steps = stride(from: first, to: last, by: max(1, ((last - first) / 8).rounded(.up)))
        return (Array(steps) + [last]).map { pow(10, $0) }
    }

    /// Round numbers that cover the range, four to eight of them; the range's ends where it is too large or small for steps.
    /// - Parameter wholes: no others.
    package static func ticks(_ low: Double, _ high: Double, wholes: Bool = false) -> [Double] {
        let difference = high > low ? high - low : max(abs(low) * 0.1, 1e-6)
        // Steps below what the numbers can be told apart by would never get from one end to the other.
        let span = max(difference, max(abs(low), abs(high)) * 1e-12, 1e-300)
        guard span.isFinite else { return [low, high] }
        let rough = span / 5
        let power = pow(10, floor(log10(rough)))
        let round = ([1, 2, 5, 10].first { $0 * power >= rough } ?? 10) * power
        let step = wholes ? max(1, round) : round
        let first = floor(low / step)
        let last = max(ceil(high / step), first + 1)
        return stride(from: first, through: last, by: 1).map { $0 * step }
    }

    private static func number(_ value: Double) -> String { String(format: "%.1f", value) }

    private static func label(_ value: Double) -> String {
        let text = String(format: "%.6g", abs(value) < 1e-12 ? 0 : value)
        return text
    }

    static func escaped(_ text: String) -> String {
        text.replacingOccurrences(of: "&", with: "&amp;").replacingOccurrences(of: "<", with: "&lt;")
            .replacingOccurrences(of: ">", with: "&gt;").replacingOccurrences(of: "\"", with: "&quot;")
    }
}
