import RLDGraph

/// Pooling in plain loops over Double, NCHW: each plane alone.
enum ReferencePooling {
    /// The inputs of one axis that a window covers, padding left out.
    private static func window(_ o: Int, _ p: Pooling, _ extent: Int) -> Range<Int> {
        let first = o * p.stride - p.padding
        return min(max(first, 0), extent)..<max(min(first + p.kernel, extent), 0)
    }

    /// torch.nn.AdaptiveAvgPool2d: window o of `outputs` over an axis of `extent`.
    private static func adaptiveWindow(_ o: Int, _ extent: Int, _ outputs: Int) -> Range<Int> {
        o * extent / outputs..<((o + 1) * extent + outputs - 1) / outputs
    }

    /// Visits every window: its output index, rows and columns, and the index of its plane's first input.
    private static func forEachWindow(
        planes: Int, input: Extent, output: Extent, rows: (Int) -> Range<Int>, columns: (Int) -> Range<Int>,
        _ body: (Int, Range<Int>, Range<Int>, Int) -> Void
    ) {
        for plane in 0..<planes {
            for oh in 0..<output.height {
                for ow in 0..<output.width {
                    body((plane * output.height + oh) * output.width + ow, rows(oh), columns(ow), plane * input.plane)
                }
            }
        }
    }

    /// The largest of each window and where it lies (index into `x`): the first of equals; a NaN wins.
    static func maximum(_ x: [Double], _ p: Pooling, planes: Int, input: Extent, output: Extent) -> (y: [Double], winners: [Int])
    {
        var y = [Double](repeating: 0, count: planes * output.plane)
        var winners = [Int](repeating: 0, count: y.count)
        func rows(_ index: Int) -> Range<Int> { window(index, p, input.height) }
        func columns(_ index: Int) -> Range<Int> { window(index, p, input.width) }
        forEachWindow(planes: planes, input: input, output: output, rows: rows, columns: columns) { o, rows, columns, base in
            var best = -Double.infinity
            var winner = base + rows.lowerBound * input.width + columns.lowerBound
            for h in rows {
                for w in columns {
                    let i = base + h * input.width + w
                    if x[i] > best || x[i].isNaN { (best, winner) = (x[i], i) }
                }
            }
            (y[o], winners[o]) = (best, winner)
        }
        return (y, winners)
    }

    static func maximumGradient(_ dy: [Double], winners: [Int], count: Int) -> [Double] {
        var dx = [Double](repeating: 0, count: count)
        for (o, winner) in winners.enumerated() { dx[winner] += dy[o] }
        return dx
    }

    /// The mean of each window, padding counted as zeros.
    static func average(_ x: [Double], _ p: Pooling, planes: Int, input: Extent, output: Extent) -> [Double] {
        means(
            x, planes: planes, input: input, output: output, rows: { window($0, p, input.height) },
            columns: { window($0, p, input.width) }, divisor: { _, _ in p.kernel * p.kernel })
    }

    static func averageGradient(_ dy: [Double], _ p: Pooling, planes: Int, input: Extent, output: Extent) -> [Double] {
        spread(
            dy, planes: planes, input: input, output: output, rows: { window($0, p, input.height) },
            columns: { window($0, p, input.width) }, divisor: { _, _ in p.kernel * p.kernel })
    }

    static func adaptiveAverage(_ x: [Double], planes: Int, input: Extent, output: Extent) -> [Double] {
        means(
            x, planes: planes, input: input, output: output, rows: { adaptiveWindow($0, input.height, output.height) },
            columns: { adaptiveWindow($0, input.width, output.width) }, divisor: { $0.count * $1.count })
    }

    static func adaptiveAverageGradient(_ dy: [Double], planes: Int, input: Extent, output: Extent) -> [Double] {
        spread(
            dy, planes: planes, input: input, output: output, rows: { adaptiveWindow($0, input.height, output.height) },
            columns: { adaptiveWindow($0, input.width, output.width) }, divisor: { $0.count * $1.count })
    }

    private static func means(
        _ x: [Double], planes: Int, input: Extent, output: Extent, rows: (Int) -> Range<Int>, columns: (Int) -> Range<Int>,
        divisor: (Range<Int>, Range<Int>) -> Int
    ) -> [Double] {
        var y = [Double](repeating: 0, count: planes * output.plane)
        forEachWindow(planes: planes, input: input, output: output, rows: rows, columns: columns) { o, rows, columns, base in
            var sum = 0.0
            for h in rows { for w in columns { sum += x[base + h * input.width + w] } }
            y[o] = sum / Double(divisor(rows, columns))
        }
        return y
    }

    /// The gradient of `means`: each window hands its share to all that it covers.
    private static func spread(
        _ dy: [Double], planes: Int, input: Extent, output: Extent, rows: (Int) -> Range<Int>, columns: (Int) -> Range<Int>,
        divisor: (Range<Int>, Range<Int>) -> Int
    ) -> [Double] {
        var dx = [Double](repeating: 0, count: planes * input.plane)
        forEachWindow(planes: planes, input: input, output: output, rows: rows, columns: columns) { o, rows, columns, base in
            let share = dy[o] / Double(divisor(rows, columns))
            for h in rows { for w in columns { dx[base + h * input.width + w] += share } }
        }
        return dx
    }
}
