import RLDGraph

/// The operations in plain loops over Double, NCHW. No cleverness but row-wise inner loops: this is the oracle.
/// Every function overwrites its result and returns it; shapes are [batch] + the node's per-sample shape.
enum ReferenceOperations {
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
