import RLDGraph

/// The operations in plain loops over Double, NCHW. No cleverness but row-wise inner loops: this is the oracle.
/// Every function overwrites its result and returns it; shapes are [batch] + the node's per-sample shape.
enum ReferenceOperations {
    /// The output positions o of one axis for which o * stride + tap - padding lies inside 0..<extent.
    private static func range(_ tap: Int, _ c: Convolution, input: Int, output: Int) -> Range<Int> {
        let shift = tap - c.padding
        let first = shift >= 0 ? 0 : (-shift + c.stride - 1) / c.stride
        let last = input - 1 - shift >= 0 ? min(output - 1, (input - 1 - shift) / c.stride) : -1
        return first <= last ? first..<last + 1 : 0..<0
    }

    /// Visits every (weight, input row, output row) triple of a convolution.
    /// - Parameter body: weight index, offset of the first input element, of the first output element, number of elements.
    private static func forEachRow(
        _ c: Convolution, batch: Int, input: Extent, output: Extent, _ body: (Int, Int, Int, Int) -> Void
    ) {
        for n in 0..<batch {
            for o in 0..<c.outputChannels {
                for i in 0..<c.inputChannels {
                    for kh in 0..<c.kernel {
                        let rows = range(kh, c, input: input.height, output: output.height)
                        for kw in 0..<c.kernel {
                            let columns = range(kw, c, input: input.width, output: output.width)
                            guard !columns.isEmpty else { continue }
                            let weight = ((o * c.inputChannels + i) * c.kernel + kh) * c.kernel + kw
                            for oh in rows {
                                let ih = oh * c.stride + kh - c.padding
                                let x = ((n * input.channels + i) * input.height + ih) * input.width
                                    + columns.lowerBound * c.stride + kw - c.padding
                                let y = ((n * output.channels + o) * output.height + oh) * output.width
                                    + columns.lowerBound
                                body(weight, x, y, columns.count)
                            }
                        }
                    }
                }
            }
        }
    }

    static func convolution(
        _ x: [Double], weight: [Double], bias: [Double]?, _ c: Convolution, batch: Int, input: Extent, output: Extent
    ) -> [Double] {
        var y = [Double](repeating: 0, count: batch * output.channels * output.plane)
        if let bias {
            for n in 0..<batch {
                for o in 0..<output.channels {
                    let start = (n * output.channels + o) * output.plane
                    for i in start..<start + output.plane { y[i] = bias[o] }
                }
            }
        }
        y.withUnsafeMutableBufferPointer { y in
            x.withUnsafeBufferPointer { x in
                weight.withUnsafeBufferPointer { weight in
                    forEachRow(c, batch: batch, input: input, output: output) { w, xStart, yStart, count in
                        let factor = weight[w]
                        for i in 0..<count { y[yStart + i] += factor * x[xStart + i * c.stride] }
                    }
                }
            }
        }
        return y
    }

    /// d loss / d input.
    static func convolutionInputGradient(
        _ dy: [Double], weight: [Double], _ c: Convolution, batch: Int, input: Extent, output: Extent
    ) -> [Double] {
        var dx = [Double](repeating: 0, count: batch * input.channels * input.plane)
        dx.withUnsafeMutableBufferPointer { dx in
            dy.withUnsafeBufferPointer { dy in
                weight.withUnsafeBufferPointer { weight in
                    forEachRow(c, batch: batch, input: input, output: output) { w, xStart, yStart, count in
                        let factor = weight[w]
                        for i in 0..<count { dx[xStart + i * c.stride] += factor * dy[yStart + i] }
                    }
                }
            }
        }
        return dx
    }

    /// d loss / d weight.
    static func convolutionWeightGradient(
        _ dy: [Double], _ x: [Double], _ c: Convolution, batch: Int, input: Extent, output: Extent
    ) -> [Double] {
        var dw = [Double](repeating: 0, count: c.outputChannels * c.fanIn)
        dw.withUnsafeMutableBufferPointer { dw in
            dy.withUnsafeBufferPointer { dy in
                x.withUnsafeBufferPointer { x in
                    forEachRow(c, batch: batch, input: input, output: output) { w, xStart, yStart, count in
                        var sum = 0.0
                        for i in 0..<count { sum += x[xStart + i * c.stride] * dy[yStart + i] }
                        dw[w] += sum
                    }
                }
            }
        }
        return dw
    }

    /// Sum over batch and plane, per channel.
    static func channelSums(_ x: [Double], batch: Int, extent: Extent) -> [Double] {
        var sums = [Double](repeating: 0, count: extent.channels)
        for n in 0..<batch {
            for c in 0..<extent.channels {
                let start = (n * extent.channels + c) * extent.plane
                var sum = 0.0
                for i in start..<start + extent.plane { sum += x[i] }
                sums[c] += sum
            }
        }
        return sums
    }

    /// Applies `body(channel, value index)` to every element.
    static func forEachElement(batch: Int, extent: Extent, _ body: (Int, Int) -> Void) {
        for n in 0..<batch {
            for c in 0..<extent.channels {
                let start = (n * extent.channels + c) * extent.plane
                for i in start..<start + extent.plane { body(c, i) }
            }
        }
    }

    /// y = x W^T + b.
    static func linear(_ x: [Double], weight: [Double], bias: [Double]?, _ l: Linear, batch: Int) -> [Double] {
        var y = [Double](repeating: 0, count: batch * l.outputs)
        for n in 0..<batch {
            for o in 0..<l.outputs {
                var sum = bias?[o] ?? 0
                for i in 0..<l.inputs { sum += x[n * l.inputs + i] * weight[o * l.inputs + i] }
                y[n * l.outputs + o] = sum
            }
        }
        return y
    }

    static func linearInputGradient(_ dy: [Double], weight: [Double], _ l: Linear, batch: Int) -> [Double] {
        var dx = [Double](repeating: 0, count: batch * l.inputs)
        for n in 0..<batch {
            for o in 0..<l.outputs {
                let factor = dy[n * l.outputs + o]
                for i in 0..<l.inputs { dx[n * l.inputs + i] += factor * weight[o * l.inputs + i] }
            }
        }
        return dx
    }

    static func linearWeightGradient(_ dy: [Double], _ x: [Double], _ l: Linear, batch: Int) -> [Double] {
        var dw = [Double](repeating: 0, count: l.outputs * l.inputs)
        for n in 0..<batch {
            for o in 0..<l.outputs {
                let factor = dy[n * l.outputs + o]
                for i in 0..<l.inputs { dw[o * l.inputs + i] += factor * x[n * l.inputs + i] }
            }
        }
        return dw
    }
}
