import RLDGraph

/// The inputs and weights that the golden numbers were computed with: pure functions of a name and a flat row-major index.
/// Every step is one float32 operation in the order written, so the values are equal to the last bit everywhere.
public enum FormulaValues {
    /// 64-bit FNV-1a over the UTF-8 bytes.
    public static func fnv1a64(_ string: String) -> UInt64 {
        string.utf8.reduce(0xCBF2_9CE4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
    }

    /// The low 31 bits of the name's hash.
    public static func seed(_ name: String) -> UInt64 { fnv1a64(name) & 0x7FFF_FFFF }

    public static func raw(_ seed: UInt64, _ index: UInt64) -> UInt64 { CounterRandom.splitMix64(seed << 32 &+ index) }

    /// Uniform in [0, 1) on a grid of 2^-24, exact in float32.
    public static func u(_ seed: UInt64, _ index: UInt64) -> Float { Float(raw(seed, index) >> 40) * 0x1p-24 }

    /// Uniform in [-1, 1), exact in float32.
    public static func s(_ seed: UInt64, _ index: UInt64) -> Float { 2 * u(seed, index) - 1 }

    /// Images named `name`, [N, C, H, W], already normalised.
    public static func images(_ name: String, shape: [Int]) -> Tensor {
        let seed = seed(name)
        return tensor(shape) { 2 * s(seed, $0) }
    }

    /// `count` labels named `name`, in `0..<classes`.
    public static func labels(_ name: String, count: Int, classes: Int) -> [Int] {
        let seed = seed(name)
        return (0..<count).map { Int((raw(seed, UInt64($0)) >> 33) % UInt64(classes)) }
    }

    /// A whole state dict.
    /// - Parameters:
    ///   - entries: state-dict names and shapes; what an entry is follows from its name, its rank and its neighbours.
    ///   - prefix: goes before each name in the seed, not into the result.
    ///   - runningVarScale: factor of every running variance; it keeps evaluation-mode activations at a sensible scale.
    public static func state(
        entries: [(name: String, shape: [Int])], prefix: String = "", runningVarScale: Float = 2
    ) -> NetworkState {
        let names = Set(entries.map(\.name))
        var state = NetworkState()
        for (name, shape) in entries {
            let dot = name.lastIndex(of: ".")
            let stem = dot.map { String(name[..<$0]) } ?? ""
            let kind = dot.map { String(name[name.index(after: $0)...]) } ?? name
            let seed = seed(prefix + name)
            let isBatchNorm = names.contains(stem + ".running_mean")
            let value: (UInt64) -> Float =
                switch kind {
                case "weight" where shape.count >= 2:
                    weight(seed: seed, fanIn: shape.dropFirst().reduce(1, *))
                case "weight": { 0.5 + u(seed, $0) }
                case "bias" where isBatchNorm: { 0.2 * s(seed, $0) }
                case "running_mean": { 0.1 * s(seed, $0) }
                case "running_var": { runningVarScale * (0.5 + u(seed, $0)) }
                case "num_batches_tracked": { _ in 0 }
                default: { 0.1 * s(seed, $0) }
                }
            state[name] = tensor(shape, value)
        }
        return state
    }

    private static func weight(seed: UInt64, fanIn: Int) -> (UInt64) -> Float {
        let bound = Float((6 / Double(fanIn)).squareRoot())
        return { s(seed, $0) * bound }
    }

    private static func tensor(_ shape: [Int], _ value: (UInt64) -> Float) -> Tensor {
        Tensor(shape: shape, values: (0..<UInt64(shape.reduce(1, *))).map { Double(value($0)) })
    }
}

/// The formula weights of a network, in state-dict order.
public func formulaState(for network: Network, prefix: String = "", runningVarScale: Float = 2) -> NetworkState {
    FormulaValues.state(
        entries: network.stateTensors.map { ($0.name, $0.shape) }, prefix: prefix, runningVarScale: runningVarScale)
}

/// The golden fingerprint of a tensor: sum over its row-major index i of x[i] * s(seed("probe/" + name), i).
/// Unlike a norm it changes when values are permuted.
public func probe(_ values: [Double], _ name: String) -> Double {
    let seed = FormulaValues.seed("probe/" + name)
    var sum = 0.0
    for (index, value) in values.enumerated() { sum += value * Double(FormulaValues.s(seed, UInt64(index))) }
    return sum
}

/// The Euclidean norm.
public func l2(_ values: [Double]) -> Double { values.reduce(0) { $0 + $1 * $1 }.squareRoot() }
