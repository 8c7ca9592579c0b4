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
        let (width, height) = (620.0, 340.0)
        let (left, right, top, bottom) = (60.0, 12.0, 10.0, 44.0)
        let finite = figure.curves.flatMap(\.points).filter { $0.x.isFinite && $0.y.isFinite }
        let caption = "<figcaption>\(escaped(figure.title))</figcaption>"
        guard !finite.isEmpty else { return "<figure>\(caption)<p>no data</p></figure>" }
        let xTicks = ticks(finite.map(\.x).min() ?? 0, finite.map(\.x).max() ?? 1)
        let yTicks = ticks(finite.map(\.y).min() ?? 0, finite.map(\.y).max() ?? 1)
        let x0 = finite.map(\.x).min() ?? 0
        let x1 = max(finite.map(\.x).max() ?? 1, x0.nextUp)
        let (y0, y1) = (yTicks.first ?? 0, yTicks.last ?? 1)
        func px(_ x: Double) -> String { number(left + (x - x0) / (x1 - x0) * (width - left - right)) }
        func py(_ y: Double) -> String { number(height - bottom - (y - y0) / (y1 - y0) * (height - top - bottom)) }
        var parts = [
            "<svg width=\"\(Int(width))\" height=\"\(Int(height))\" viewBox=\"0 0 \(Int(width)) \(Int(height))\" role=\"img\">"
        ]
        for y in yTicks {
            parts.append(
                "<line x1=\"\(number(left))\" x2=\"\(number(width - right))\" y1=\"\(py(y))\" y2=\"\(py(y))\" stroke=\"#e4e4e4\"/>"
                    + "<text x=\"\(number(left - 6))\" y=\"\(py(y))\" text-anchor=\"end\" dominant-baseline=\"middle\">\(label(y))</text>"
            )
        }
        for x in xTicks where x >= x0 && x <= x1 {
            parts.append("<text x=\"\(px(x))\" y=\"\(number(height - bottom + 16))\" text-anchor=\"middle\">\(label(x))</text>")
        }
        parts.append(
            "<text x=\"\(number((left + width - right) / 2))\" y=\"\(number(height - 8))\" text-anchor=\"middle\">\(escaped(figure.xLabel))</text>"
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
                let dash = curve.dashed ? " stroke-dasharray=\"5 4\"" : ""
                parts.append(
                    "<polyline points=\"\(path)\" fill=\"none\" stroke=\"\(colour)\" stroke-width=\"1.6\"\(dash)>"
                        + "<title>\(escaped(curve.name))</title></polyline>")
            }
        }
        parts.append("</svg>")
        let legend = figure.curves.map { curve in
            let colour = colours[curve.colour % colours.count]
            return
                "<span style=\"color:\(colour); margin-right:14px\">\(curve.dashed ? "- -" : "&mdash;") \(escaped(curve.name))</span>"
        }.joined()
        return "<figure>\(caption)\(parts.joined())<div>\(legend)</div></figure>"
    }

    /// Round numbers that cover the range, four to eight of them; the range's ends where it is too large or small for steps.
    package static func ticks(_ low: Double, _ high: Double) -> [Double] {
        let difference = high > low ? high - low : max(abs(low) * 0.1, 1e-6)
        // Steps below what the numbers can be told apart by would never get from one end to the other.
        let span = max(difference, max(abs(low), abs(high)) * 1e-12, 1e-300)
        guard span.isFinite else { return [low, high] }
        let rough = span / 5
        let power = pow(10, floor(log10(rough)))
        let step = ([1, 2, 5, 10].first { $0 * power >= rough } ?? 10) * power
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
