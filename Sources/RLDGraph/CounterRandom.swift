import Foundation

/// Counter-based random numbers: a value depends on (seed, counter) alone, so any order and any device gives the same one.
public enum CounterRandom {
    /// The splitmix64 finaliser (Steele, Lea, Flood 2014). Wraps modulo 2^64.
    public static func splitMix64(_ x: UInt64) -> UInt64 {
        var z = x &+ 0x9E37_79B9_7F4A_7C15
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }

    /// 64 random bits for a stream and a counter.
    public static func bits(seed: UInt64, stream: UInt64, counter: UInt64) -> UInt64 {
        splitMix64(splitMix64(splitMix64(seed) ^ stream) &+ counter)
    }

    /// Uniform in [0, 1), 53 bits.
    public static func uniform(seed: UInt64, stream: UInt64, counter: UInt64) -> Double {
        Double(bits(seed: seed, stream: stream, counter: counter) >> 11) * 0x1p-53
    }

    /// Uniform in 0..<bound. The multiply-shift leaves a bias below bound / 2^32, far under what a shuffle can show.
    public static func integer(below bound: Int, seed: UInt64, stream: UInt64, counter: UInt64) -> Int {
        Int(((bits(seed: seed, stream: stream, counter: counter) >> 32) &* UInt64(bound)) >> 32)
    }

    /// A permutation of 0..<count (Fisher-Yates), a function of (seed, stream) alone.
    public static func permutation(of count: Int, seed: UInt64, stream: UInt64) -> [Int] {
        var order = Array(0..<count)
        guard count > 1 else { return order }
        for i in stride(from: count - 1, to: 0, by: -1) {
            order.swapAt(i, integer(below: i + 1, seed: seed, stream: stream, counter: UInt64(i)))
        }
        return order
    }

    /// Standard normal (Box-Muller on two counters).
    public static func normal(seed: UInt64, stream: UInt64, counter: UInt64) -> Double {
        let u = 1 - uniform(seed: seed, stream: stream, counter: 2 &* counter)
        let v = uniform(seed: seed, stream: stream, counter: 2 &* counter &+ 1)
        return (-2 * log(u)).squareRoot() * cos(2 * Double.pi * v)
    }

    /// A draw from Beta(shape, shape): two Gamma draws (Marsaglia and Tsang 2000; below 1 with their boost), on counters from
    /// `counter` on, at most 4096 of them.
    public static func beta(_ shape: Double, seed: UInt64, stream: UInt64, counter: UInt64) -> Double {
        var next = counter
        func uniform() -> Double {
            defer { next &+= 1 }
            return 1 - CounterRandom.uniform(seed: seed, stream: stream, counter: next)
        }
        // With its logarithm: of a small shape nearly every draw rounds to 0.
        func gamma(_ shape: Double) -> (value: Double, logarithm: Double) {
            if shape < 1 {
                let (larger, u) = (gamma(shape + 1), uniform())
                return (larger.value * pow(u, 1 / shape), larger.logarithm + log(u) / max(shape, 1e-300))
            }
            let d = shape - 1.0 / 3
            let c = 1 / (9 * d).squareRoot()
            for _ in 0..<512 {
                let x = (-2 * log(uniform())).squareRoot() * cos(2 * Double.pi * uniform())
                let v = pow(1 + c * x, 3)
                if v > 0, log(uniform()) < 0.5 * x * x + d - d * v + d * log(v) { return (d * v, log(d * v)) }
            }
            return (d, log(d))
        }
        let (a, b) = (gamma(shape), gamma(shape))
        return a.value + b.value > 0 ? a.value / (a.value + b.value) : 1 / (1 + exp(b.logarithm - a.logarithm))
    }
}
