import Foundation

/// log of the sum of exp(x_i / temperature) over a subset of a row; -infinity when the subset has no finite logit.
/// The maximum is subtracted before the division, so a finite row cannot overflow.
func logSumExp(_ row: [Double], over classes: some Sequence<Int>, temperature: Double) -> Double {
    let kept = classes.filter { row[$0] > -.infinity }
    guard let largest = kept.map({ row[$0] }).max() else { return -.infinity }
    let sum = kept.reduce(0) { $0 + exp((row[$1] - largest) / temperature) }
    return largest / temperature + log(sum)
}

/// log softmax(row / temperature) over a subset, in the order of `classes`; excluded classes get -infinity.
/// Differences are taken before the division, so that large common offsets cancel exactly.
func logSoftmax(_ row: [Double], over classes: [Int], temperature: Double) -> [Double]? {
    guard let largest = classes.map({ row[$0] }).max(), largest > -.infinity else { return nil }
    let shifted = classes.map { (row[$0] - largest) / temperature }
    let logSum = log(shifted.reduce(0) { $0 + exp($1) })
    return shifted.map { $0 - logSum }
}

/// q log(q / p) - q + p for one outcome, given as logarithms, by limits: 0 log 0 = 0, and infinite when p = 0 < q, however small q is.
/// Over two normalised distributions the -q + p sums to 0; with it every outcome is at least 0, and rounding in the two
/// normalisers cancels instead of adding up.
func divergence(logQ: Double, logP: Double) -> Double {
    guard logP > -.infinity else { return logQ > -.infinity ? .infinity : 0 }
    let q = exp(logQ)
    guard q > 0 else { return exp(logP) }
    let gap = logP - logQ
    // Near each other the same as q (exp(gap) - 1 - gap), which is not lost in the rounding of q: a high temperature magnifies it.
    return abs(gap) < 1 ? q * (expm1(gap) - gap) : exp(logP) - q - q * gap
}

/// The first largest class of a row.
func firstArgmax(_ row: [Double]) -> Int {
    var best = 0
    for i in row.indices where row[i] > row[best] { best = i }
    return best
}

/// Classes that come before `label` when a row is sorted downward, equal logits by index: 0 means that it is the argmax.
func rank(of label: Int, in row: [Double]) -> Int {
    row.indices.count { row[$0] > row[label] || (row[$0] == row[label] && $0 < label) }
}

/// A row brought to mean 0 and unbiased deviation 1 (LSKD): x_i = (s_i - mean) / (deviation + 1e-7).
/// The row is first shifted by its maximum and divided by its range, so that no finite row overflows and a constant row gives
/// exactly 0. Excluded classes (-infinity) take no part and stay excluded.
struct Standardization {
    static let epsilon = 1e-7
    /// The standardised row.
    let values: [Double]
    /// 1 / (deviation + 1e-7), the slope with mean and deviation held.
    let slope: Double
    /// (s_i - mean) / deviation; 0 in a constant row, whose deviation passes no gradient.
    private let normal: [Double]
    private let count: Int

    init(_ row: [Double]) {
        let kept = row.filter { $0 > -.infinity }
        count = kept.count
        let largest = kept.max() ?? 0
        let range = largest - (kept.min() ?? 0)
        guard range > 0 else {
            values = row.map { $0 > -.infinity ? 0 : -.infinity }
            normal = Array(repeating: 0, count: row.count)
            slope = 1 / Self.epsilon
            return
        }
        let scaled = kept.map { ($0 - largest) / range }
        let mean = scaled.reduce(0, +) / Double(count)
        let squares = scaled.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
        let deviation = (squares / Double(count - 1)).squareRoot()
        let full = deviation + Self.epsilon / range
        values = row.map { $0 > -.infinity ? (($0 - largest) / range - mean) / full : -.infinity }
        normal = row.map { $0 > -.infinity ? (($0 - largest) / range - mean) / deviation : 0 }
        slope = 1 / (range * deviation + Self.epsilon)
    }

    /// d L / d s from g = d L / d x:
    /// slope * (g_j - mean(g) - (s_j - mean) / deviation * sum_i(g_i x_i) / (count - 1)).
    func backward(_ g: [Double]) -> [Double] {
        var sum = 0.0
        var product = 0.0
        for i in g.indices where values[i] > -.infinity {
            sum += g[i]
            product += g[i] * values[i]
        }
        let mean = sum / Double(count)
        let share = count > 1 ? product / Double(count - 1) : 0
        return g.indices.map { values[$0] > -.infinity ? slope * (g[$0] - mean - normal[$0] * share) : 0 }
    }
}
