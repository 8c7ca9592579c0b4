import RLDGraph
import Testing

/// How far a value may lie from the expected one. The parts add up, per element:
/// `absolute + relative * |expected| + ofMax * max|expected| + each[i]`.
/// `ofL2` is another kind: the norm of all errors together may reach `ofL2 * max(l2Floor, norm of expected)`.
public struct Bound: Sendable {
    public var absolute = 0.0
    public var relative = 0.0
    public var ofMax = 0.0
    public var each: [Double]?
    public var ofL2: Double?
    public var l2Floor = 0.0

    public init() {}

    /// |error| <= bound.
    public static func absolute(_ bound: Double) -> Bound { with { $0.absolute = bound } }

    /// |error| <= relative * |expected| + absolute.
    public static func relative(_ relative: Double, absolute: Double = 0) -> Bound {
        with { ($0.relative, $0.absolute) = (relative, absolute) }
    }

    /// |error| <= factor * largest |expected| of this tensor, plus a part relative to the element itself.
    public static func ofMax(_ factor: Double, relative: Double = 0) -> Bound {
        with { ($0.ofMax, $0.relative) = (factor, relative) }
    }

    /// norm(error) <= factor * max(norm(expected), floor).
    public static func ofL2(_ factor: Double, floor: Double = 0) -> Bound {
        with { ($0.ofL2, $0.l2Floor) = (factor, floor) }
    }

    /// One bound per element, as sums need: theirs grows with the sum of absolute products.
    public static func each(_ bounds: [Double]) -> Bound { with { $0.each = bounds } }

    /// The reference against a float64 golden.
    public static let host = Bound.relative(1e-12, absolute: 1e-13)
    /// An analytic gradient of the reference against a central difference.
    public static let finiteDifference = Bound.relative(1e-6, absolute: 1e-9)
    /// Row operations of a device (softmax, losses and their gradients) against the reference.
    public static let rowOperation = Bound.ofMax(1e-6, relative: 1e-5)

    private static func with(_ change: (inout Bound) -> Void) -> Bound {
        var bound = Bound()
        change(&bound)
        return bound
    }
}

/// What a comparison found.
public struct ComparisonResult: Sendable, CustomStringConvertible {
    public let passed: Bool
    /// One readable paragraph: what disagrees, how often, where worst, by how much.
    public let description: String
    /// The largest |error| / bound; infinite when shapes or kinds of number disagree, or a bound is below 0, infinite or nan.
    public let worstRatio: Double
}

/// Compares two tensors. A disagreement of shape, count, NaN or infinity fails before any number is looked at;
/// where both are the same NaN or infinity, they agree.
/// - Parameters:
///   - foundShape, expectedShape: row-major extents; nil where the values have none worth checking.
public func compare(
    _ found: [Double], _ expected: [Double], foundShape: [Int]? = nil, expectedShape: [Int]? = nil, bound: Bound,
    name: String = "values"
) -> ComparisonResult {
    func refuse(_ message: String) -> ComparisonResult {
        ComparisonResult(passed: false, description: "\(name): \(message)", worstRatio: .infinity)
    }
    if let foundShape, let expectedShape, foundShape != expectedShape {
        return refuse("shape \(foundShape), expected \(expectedShape)")
    }
    guard found.count == expected.count else { return refuse("\(found.count) values, expected \(expected.count)") }
    if let shape = expectedShape ?? foundShape, shape.reduce(1, *) != found.count {
        return refuse("\(found.count) values do not fill shape \(shape)")
    }
    if let each = bound.each, each.count != expected.count {
        return refuse("\(each.count) bounds for \(expected.count) values")
    }
    let kinds = expected.indices.filter { !sameKind(found[$0], expected[$0]) }
    if let first = kinds.first {
        return refuse(
            "\(kinds.count) of \(found.count) values disagree in being finite, infinite or NaN; "
                + listing(kinds, found, expected, shape: expectedShape, errors: nil)
                + " (first at \(place(first, expectedShape)))")
    }
    return compareFinite(found, expected, shape: expectedShape ?? foundShape, bound: bound, name: name)
}

/// Both tensors, shapes included.
public func compare(_ found: Tensor, _ expected: Tensor, bound: Bound, name: String = "tensor") -> ComparisonResult {
    compare(
        found.values, expected.values, foundShape: found.shape, expectedShape: expected.shape, bound: bound, name: name)
}

/// Records a failure of the running test unless the values agree.
/// - Returns: the largest |error| / bound, for those who record margins.
@discardableResult
public func expectClose(
    _ found: [Double], _ expected: [Double], foundShape: [Int]? = nil, expectedShape: [Int]? = nil, _ bound: Bound,
    _ name: String = "values", sourceLocation: SourceLocation = #_sourceLocation
) -> Double {
    let result = compare(
        found, expected, foundShape: foundShape, expectedShape: expectedShape, bound: bound, name: name)
    if !result.passed { Issue.record(Comment(rawValue: result.description), sourceLocation: sourceLocation) }
    return result.worstRatio
}

/// Records a failure of the running test unless the tensors agree in shape and values.
@discardableResult
public func expectClose(
    _ found: Tensor, _ expected: Tensor, _ bound: Bound, _ name: String = "tensor",
    sourceLocation: SourceLocation = #_sourceLocation
) -> Double {
    expectClose(
        found.values, expected.values, foundShape: found.shape, expectedShape: expected.shape, bound, name,
        sourceLocation: sourceLocation)
}

/// Records a failure of the running test unless the two numbers agree.
@discardableResult
public func expectClose(
    _ found: Double, _ expected: Double, _ bound: Bound, _ name: String = "value",
    sourceLocation: SourceLocation = #_sourceLocation
) -> Double {
    expectClose([found], [expected], bound, name, sourceLocation: sourceLocation)
}

private func sameKind(_ a: Double, _ b: Double) -> Bool {
    if a.isNaN || b.isNaN { return a.isNaN && b.isNaN }
    if a.isInfinite || b.isInfinite { return a == b }
    return true
}

private func compareFinite(
    _ found: [Double], _ expected: [Double], shape: [Int]?, bound: Bound, name: String
) -> ComparisonResult {
    let finite = expected.map { $0.isFinite ? $0 : 0 }
    let errors = expected.indices.map { expected[$0].isFinite ? found[$0] - expected[$0] : 0 }
    let largest = finite.reduce(0) { max($0, abs($1)) }
    let norm = bound.ofL2.map { $0 * max(bound.l2Floor, l2(finite)) }
    let ratios = expected.indices.map { i in
        let limit =
            bound.absolute + bound.relative * abs(finite[i]) + bound.ofMax * largest + (bound.each?[i] ?? 0) + (norm ?? 0)
        return ratio(abs(errors[i]), limit)
    }
    let worstIndex = ratios.indices.max { ratios[$0] < ratios[$1] }
    let normRatio = norm.map { ratio(l2(errors), $0) } ?? 0
    let worst = max(normRatio, worstIndex.map { ratios[$0] } ?? 0)
    // Written so that a bound which is NaN fails.
    let failures = ratios.indices.filter { !(ratios[$0] <= 1) }
    if failures.isEmpty, normRatio <= 1 {
        return ComparisonResult(
            passed: true, description: "\(name): \(found.count) values agree, worst |error|/bound \(worst)",
            worstRatio: worst)
    }
    var text = "\(name): \(failures.count) of \(found.count) values out of bounds"
    if norm != nil { text += "; norm of all errors / bound \(normRatio)" }
    if let worstIndex {
        text += "; worst |error|/bound \(ratios[worstIndex]) at \(place(worstIndex, shape)); "
        text += listing(failures.isEmpty ? [worstIndex] : failures, found, expected, shape: shape, errors: ratios)
    }
    return ComparisonResult(passed: false, description: text, worstRatio: worst)
}

/// Infinite where the limit bounds nothing: below 0, infinite, nan.
private func ratio(_ error: Double, _ limit: Double) -> Double {
    error == 0 ? 0 : limit >= 0 && limit.isFinite ? error / limit : .infinity
}

private func listing(
    _ indices: [Int], _ found: [Double], _ expected: [Double], shape: [Int]?, errors: [Double]?
) -> String {
    "first: "
        + indices.prefix(5).map { i in
            "\(place(i, shape)) found \(found[i]) expected \(expected[i])" + (errors.map { " (\($0[i]))" } ?? "")
        }.joined(separator: ", ")
}

/// "17" or, with a shape, "[1, 7]".
private func place(_ index: Int, _ shape: [Int]?) -> String {
    guard let shape, shape.count > 1 else { return "[\(index)]" }
    var rest = index
    let coordinates = shape.reversed().map { extent in
        defer { rest /= max(extent, 1) }
        return rest % max(extent, 1)
    }
    return "\(Array(coordinates.reversed()))"
}
