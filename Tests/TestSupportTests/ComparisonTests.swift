import RLDGraph
import TestSupport
import Testing

/// A comparison that cannot fail proves nothing, so each of its ways to fail is provoked here.
struct ComparisonTests {
    static let expected = Tensor(shape: [2, 3], values: [1, -2, 3, 0.5, -0.25, 4])
    static let bounds: [(name: String, bound: Bound, limits: [Double])] = [
        ("absolute", .absolute(1e-3), Array(repeating: 1e-3, count: 6)),
        ("relative", .relative(1e-3), expected.values.map { abs($0) * 1e-3 }),
        ("relative and absolute", .relative(1e-3, absolute: 1e-4), expected.values.map { abs($0) * 1e-3 + 1e-4 }),
        ("of max", .ofMax(1e-3), Array(repeating: 4e-3, count: 6)),
        ("row operation", .rowOperation, expected.values.map { abs($0) * 1e-5 + 4e-6 }),
        ("each", .each([1, 2, 3, 4, 5, 6]), [1, 2, 3, 4, 5, 6]),
        ("of L2", .ofL2(1e-3), Array(repeating: 1e-3 * l2(expected.values), count: 6)),
        ("of L2 with a floor", .ofL2(1e-3, floor: 100), Array(repeating: 0.1, count: 6)),
    ]

    @Test(arguments: bounds.indices, expected.values.indices)
    func anErrorOfThreeBoundsFailsAndOfHalfABoundPasses(which: Int, index: Int) {
        let (name, bound, limits) = Self.bounds[which]
        for sign in [-1.0, 1] {
            var found = Self.expected
            found.values[index] += sign * 3 * limits[index]
            let far = compare(found, Self.expected, bound: bound, name: name)
            #expect(!far.passed)
            #expect(abs(far.worstRatio - 3) < 1e-6)
            found.values[index] = Self.expected.values[index] + sign * 0.5 * limits[index]
            let near = compare(found, Self.expected, bound: bound, name: name)
            #expect(near.passed, "\(near)")
            #expect(abs(near.worstRatio - 0.5) < 1e-6)
        }
    }

    @Test func equalTensorsPassEvenAtBoundZero() {
        #expect(compare(Self.expected, Self.expected, bound: .absolute(0)).passed)
        #expect(compare([], [], bound: .absolute(0)).passed)
        #expect(!compare([0], [1e-300], bound: .absolute(0)).passed)
        #expect(!compare([1e-300], [0], bound: .ofMax(1)).passed)
    }

    @Test func manySmallErrorsFailTheNorm() {
        let expected = Array(repeating: 1.0, count: 100)
        let found = expected.map { $0 + 0.02 }
        #expect(!compare(found, expected, bound: .ofL2(0.01)).passed)
        #expect(compare(found, expected, bound: .ofL2(0.04)).passed)
    }

    @Test func aTransposeFails() {
        let transposed = Tensor(shape: [3, 2], values: [1, 0.5, -2, -0.25, 3, 4])
        #expect(!compare(transposed, Self.expected, bound: .absolute(100)).passed)
        #expect(!compare(transposed.values, Self.expected.values, bound: .absolute(1e-3)).passed)
        // The probe sees a permutation, the norm does not.
        #expect(l2(transposed.values) == l2(Self.expected.values))
        #expect(abs(probe(transposed.values, "x") - probe(Self.expected.values, "x")) > 1e-3)
    }

    @Test func aTruncationFails() {
        let result = compare(Array(Self.expected.values.dropLast()), Self.expected.values, bound: .absolute(100))
        #expect(!result.passed)
        #expect(result.description.contains("5 values, expected 6"))
        #expect(!compare(Self.expected.values, Array(Self.expected.values.dropLast()), bound: .absolute(100)).passed)
        #expect(!compare([1, 2], [1, 2], expectedShape: [3], bound: .absolute(100)).passed)
    }

    @Test(arguments: [
        (Double.nan, 1.0), (1.0, .nan), (.infinity, 1), (1, .infinity), (.nan, .infinity), (.infinity, .nan),
        (.infinity, -.infinity), (-.infinity, .infinity),
    ])
    func otherKindsOfNumberFail(found: Double, expected: Double) {
        for bound in [Bound.absolute(.infinity), .absolute(1e300), .relative(1e300), .ofMax(1e300), .ofL2(1e300)] {
            let result = compare([0, found], [0, expected], bound: bound)
            #expect(!result.passed)
            #expect(result.worstRatio == .infinity)
        }
    }

    @Test(arguments: [Double.nan, .infinity, -.infinity])
    func theSameKindOfNumberPassesAndHidesNothing(value: Double) {
        for bound in [Bound.absolute(0.1), .relative(0.1), .ofMax(0.1), .ofL2(0.1)] {
            #expect(compare([value, 1.05], [value, 1], bound: bound).passed)
            #expect(!compare([value, 1.3], [value, 1], bound: bound).passed)
        }
    }

    @Test func aBoundThatIsNoNumberFails() {
        #expect(!compare([1.5], [1], bound: .absolute(.nan)).passed)
        #expect(!compare([1.5], [1], bound: .each([])).passed)
    }

    /// A bound below 0 (of an expected value that is negative) would let every error pass, an infinite one too.
    @Test(arguments: [-1e-9, -1, -.infinity, .infinity]) func aBoundThatBoundsNothingFails(value: Double) {
        for bound in [Bound.absolute(value), .relative(value), .ofMax(value), .each([value]), .ofL2(value)] {
            let result = compare([1.5], [1], bound: bound)
            #expect(!result.passed)
            #expect(result.worstRatio == .infinity)
            #expect(compare([1], [1], bound: bound).passed, "equal values need no bound")
        }
    }

    @Test func theMessageNamesCountPlaceAndSize() {
        let found = Tensor(shape: [2, 3], values: [1, -2, 3.5, 0.5, -0.25, 6])
        let text = compare(found, Self.expected, bound: .absolute(0.25), name: "logits").description
        #expect(text.contains("logits: 2 of 6 values out of bounds"))
        #expect(text.contains("worst |error|/bound 8.0 at [1, 2]"))
        #expect(text.contains("[0, 2] found 3.5 expected 3.0"))
    }

    @Test func expectCloseRecordsAnIssue() {
        withKnownIssue { expectClose(1.5, 1, .absolute(0.1)) }
        withKnownIssue { expectClose(Self.expected, Tensor(shape: [3, 2], values: Self.expected.values), .absolute(9)) }
        #expect(expectClose(1.05, 1, .absolute(0.1)) < 1)
    }
}
