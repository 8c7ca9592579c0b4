import RLDGraph

/// Convolution in plain loops over Double, NCHW, any number of groups. Rows of four input channels go together, so that a row of
/// the output is loaded once for the four; nothing else is clever.
enum ReferenceConvolution {
    typealias Source = UnsafePointer<Double>
    typealias Target = UnsafeMutablePointer<Double>
    private typealias Four = SIMD4<Double>

    /// A weight of one tap with the row of inputs that it meets and the row of outputs that it goes to; the same for the next
    /// `channels - 1` input channels.
    private struct Row {
        var weight: Int
        var weightStep: Int
        var x: Int
        var xStep: Int
        var y: Int
        var count: Int
        var channels: Int
    }

    /// The output positions o of one axis for which o * stride + tap - padding lies inside 0..<extent.
    private static func range(_ tap: Int, _ c: Convolution, input: Int, output: Int) -> Range<Int> {
        let shift = tap - c.padding
        let first = shift >= 0 ? 0 : (-shift + c.stride - 1) / c.stride
        let last = input - 1 - shift >= 0 ? min(output - 1, (input - 1 - shift) / c.stride) : -1
        return first <= last ? first..<last + 1 : 0..<0
    }

    @inline(__always)
    private static func forEachRow(
        _ c: Convolution, batch: Int, input: Extent, output: Extent, _ body: (Row) -> Void
    ) {
        let taps = c.kernel * c.kernel
        // A 1x1 convolution without strides takes a whole plane as one row.
        let plain = c.kernel == 1 && c.stride == 1 && c.padding == 0
        for n in 0..<batch {
            for o in 0..<c.outputChannels {
                let firstInput = o / c.outputsPerGroup * c.inputsPerGroup
                for i in stride(from: 0, to: c.inputsPerGroup, by: 4) {
                    let weight = (o * c.inputsPerGroup + i) * taps
                    var row = Row(
                        weight: weight, weightStep: taps, x: 0, xStep: input.plane, y: 0, count: 0,
                        channels: min(4, c.inputsPerGroup - i))
                    let x = (n * input.channels + firstInput + i) * input.plane
                    let y = (n * output.channels + o) * output.plane
                    if plain {
                        (row.x, row.y, row.count) = (x, y, output.plane)
                        body(row)
                        continue
                    }
                    for tap in 0..<taps {
                        let (kh, kw) = (tap / c.kernel, tap % c.kernel)
                        let columns = range(kw, c, input: input.width, output: output.width)
                        guard !columns.isEmpty else { continue }
                        row.weight = weight + tap
                        row.count = columns.count
                        for oh in range(kh, c, input: input.height, output: output.height) {
                            let ih = oh * c.stride + kh - c.padding
                            row.x = x + ih * input.width + columns.lowerBound * c.stride + kw - c.padding
                            row.y = y + oh * output.width + columns.lowerBound
                            body(row)
                        }
                    }
                }
            }
        }
    }

    /// y = x * weight (+ bias).
    static func forward(
        _ x: [Double], weight: [Double], bias: [Double]?, _ c: Convolution, batch: Int, input: Extent, output: Extent
    ) -> [Double] {
        var y = [Double](repeating: 0, count: batch * output.channels * output.plane)
        if let bias { ReferenceOperations.forEachElement(batch: batch, extent: output) { y[$1] = bias[$0] } }
        withPointers(x, weight, &y) { x, weight, y in
            forEachRow(c, batch: batch, input: input, output: output) { row in
                var i = 0
                let y = y + row.y
                if row.channels == 4, c.stride == 1 {
                    let x0 = x + row.x
                    let (x1, x2, x3) = (x0 + row.xStep, x0 + 2 * row.xStep, x0 + 3 * row.xStep)
                    let w0 = weight + row.weight
                    let w = (w0[0], w0[row.weightStep], w0[2 * row.weightStep], w0[3 * row.weightStep])
                    while i + 4 <= row.count {
                        let sum = load(x0 + i) * w.0 + load(x1 + i) * w.1 + (load(x2 + i) * w.2 + load(x3 + i) * w.3)
                        store(load(y + i) + sum, y + i)
                        i += 4
                    }
                }
                for j in 0..<row.channels {
                    let w = weight[row.weight + j * row.weightStep]
                    let x = x + row.x + j * row.xStep
                    for k in i..<row.count { y[k] += w * x[k * c.stride] }
                }
            }
        }
        return y
    }

    /// d loss / d input.
    static func inputGradient(
        _ dy: [Double], weight: [Double], _ c: Convolution, batch: Int, input: Extent, output: Extent
    ) -> [Double] {
        var dx = [Double](repeating: 0, count: batch * input.channels * input.plane)
        withPointers(dy, weight, &dx) { dy, weight, dx in
            forEachRow(c, batch: batch, input: input, output: output) { row in
                let dy = dy + row.y
                for j in 0..<row.channels {
                    let w = weight[row.weight + j * row.weightStep]
                    let dx = dx + row.x + j * row.xStep
                    var i = 0
                    if c.stride == 1 {
                        while i + 4 <= row.count {
                            store(load(dx + i) + load(dy + i) * w, dx + i)
                            i += 4
                        }
                    }
                    for k in i..<row.count { dx[k * c.stride] += w * dy[k] }
                }
            }
        }
        return dx
    }

    /// d loss / d weight.
    static func weightGradient(
        _ dy: [Double], _ x: [Double], _ c: Convolution, batch: Int, input: Extent, output: Extent
    ) -> [Double] {
        var dw = [Double](repeating: 0, count: c.outputChannels * c.fanIn)
        withPointers(dy, x, &dw) { dy, x, dw in
            forEachRow(c, batch: batch, input: input, output: output) { row in
                var i = 0
                let dy = dy + row.y
                if row.channels == 4, c.stride == 1 {
                    let x0 = x + row.x
                    let (x1, x2, x3) = (x0 + row.xStep, x0 + 2 * row.xStep, x0 + 3 * row.xStep)
                    var (s0, s1, s2, s3) = (Four(), Four(), Four(), Four())
                    while i + 4 <= row.count {
                        let g = load(dy + i)
                        s0 += load(x0 + i) * g
                        s1 += load(x1 + i) * g
                        s2 += load(x2 + i) * g
                        s3 += load(x3 + i) * g
                        i += 4
                    }
                    dw[row.weight] += s0.sum()
                    dw[row.weight + row.weightStep] += s1.sum()
                    dw[row.weight + 2 * row.weightStep] += s2.sum()
                    dw[row.weight + 3 * row.weightStep] += s3.sum()
                }
                for j in 0..<row.channels {
                    let x = x + row.x + j * row.xStep
                    var sum = 0.0
                    for k in i..<row.count { sum += x[k * c.stride] * dy[k] }
                    dw[row.weight + j * row.weightStep] += sum
                }
            }
        }
        return dw
    }

    // MARK: -

    @inline(__always)
    private static func withPointers(_ a: [Double], _ b: [Double], _ c: inout [Double], _ body: (Source, Source, Target) -> Void)
    {
        a.withUnsafeBufferPointer { a in
            b.withUnsafeBufferPointer { b in
                c.withUnsafeMutableBufferPointer { c in
                    guard let a = a.baseAddress, let b = b.baseAddress, let c = c.baseAddress else { return }
                    body(a, b, c)
                }
            }
        }
    }

    @inline(__always)
    private static func load(_ p: Source) -> Four { UnsafeRawPointer(p).loadUnaligned(as: Four.self) }
    @inline(__always)
    private static func load(_ p: Target) -> Four { UnsafeRawPointer(p).loadUnaligned(as: Four.self) }
    @inline(__always)
    private static func store(_ v: Four, _ p: Target) { UnsafeMutableRawPointer(p).storeBytes(of: v, as: Four.self) }
}
