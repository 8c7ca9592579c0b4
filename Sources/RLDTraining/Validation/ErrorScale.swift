import RLDGraph

/// How large the numbers are that a result was added up from: what its rounding is measured by. A sum whose terms cancel (the
/// gradient of a bias before a batch norm is 0) is as inexact as its terms are large, not as it is small itself.
enum ErrorScale {
    static func rms(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : (values.reduce(0) { $0 + $1 * $1 } / Double(values.count)).squareRoot()
    }

    static func largest(_ values: [Double]) -> Double { values.reduce(0) { max($0, abs($1)) } }

    /// A sum of `count` products of values of a and b, as it would be if their signs were random.
    static func products(_ count: Int, _ a: [Double], _ b: [Double]) -> Double {
        Double(count).squareRoot() * rms(a) * rms(b)
    }

    /// The largest of |gamma| / deviation over the channels, and of |x| / deviation.
    static func normalization(
        _ x: [Double], gamma: [Double], epsilon: Double, batch: Int, extent: Extent
    ) -> (factor: Double, size: Double) {
        let plane = extent.plane
        var (factor, size) = (0.0, 1.0)
        for channel in 0..<extent.channels {
            var (sum, squares, most) = (0.0, 0.0, 0.0)
            for image in 0..<batch {
                let start = (image * extent.channels + channel) * plane
                for i in start..<start + plane {
                    sum += x[i]
                    squares += x[i] * x[i]
                    most = max(most, abs(x[i]))
                }
            }
            let count = Double(batch * plane)
            let variance = max(squares / count - (sum / count) * (sum / count), 0)
            let inverse = 1 / (variance + epsilon).squareRoot()
            factor = max(factor, abs(gamma[channel]) * inverse)
            size = max(size, most * inverse)
        }
        return (factor, size)
    }

    /// Of a node's value in the forward pass.
    static func forward(
        _ node: Network.Node, inputs: [[Double]], input: Extent, batch: Int, parameter: (String) -> [Double]
    ) -> Double {
        let x = inputs.first ?? []
        let rest = inputs.dropFirst().reduce(0) { max($0, largest($1)) }
        switch node.operation {
        case .convolution(let c): return max(rest, products(c.fanIn, x, parameter("weight")), largest(parameter("bias")))
        case .linear(let l): return max(products(l.inputs, x, parameter("weight")), largest(parameter("bias")))
        case .batchNorm(let b):
            let gamma = parameter("weight")
            let size = normalization(x, gamma: gamma, epsilon: b.epsilon, batch: batch, extent: input)
            return max(rest, largest(gamma) * size.size, largest(parameter("bias")))
        case .averagePool, .adaptiveAveragePool, .globalAveragePool: return rms(x)
        default: return rest
        }
    }

    /// Of what a batch adds to a batch norm's running mean, by the tensor's name: the mean of values that cancel, behind a layer whose
    /// input is normalised, is 0 but for their rounding. Squares do not cancel.
    static func statistics(_ node: Network.Node, input: [Double]) -> [String: Double] {
        guard case .batchNorm(let b) = node.operation else { return [:] }
        return ["\(node.name).running_mean": b.momentum * largest(input)]
    }

    /// Of the gradient that a node gives its first input, and of its parameters' gradients.
    static func backward(
        _ node: Network.Node, x: [Double], dy: [Double], input: Extent, batch: Int, parameter: (String) -> [Double]
    ) -> (input: Double, weight: Double, bias: Double) {
        let output = Extent(node.shape)
        let rows = batch * output.plane
        let sums = Double(rows).squareRoot() * rms(dy)
        switch node.operation {
        case .convolution(let c):
            return (
                products(c.outputsPerGroup * c.kernel * c.kernel, dy, parameter("weight")), products(rows, dy, x), sums
            )
        case .linear(let l): return (products(l.outputs, dy, parameter("weight")), products(batch, dy, x), sums)
        case .batchNorm(let b):
            let size = normalization(x, gamma: parameter("weight"), epsilon: b.epsilon, batch: batch, extent: input)
            return (size.factor * largest(dy) * size.size, sums * size.size, sums)
        default: return (largest(dy), 0, 0)
        }
    }
}
