import RLDGraph
import Testing

struct CounterRandomTests {
    /// Published outputs of splitmix64 for the states 0, 1 and 123456789 * 2^32 + 5.
    @Test func splitMix64() {
        #expect(CounterRandom.splitMix64(0) == 0xe220_a839_7b1d_cdaf)
        #expect(CounterRandom.splitMix64(1) == 0x910a_2dec_8902_5cc1)
        #expect(CounterRandom.splitMix64(123_456_789 << 32 + 5) == 0xd6c4_3698_52b4_8a2c)
    }

    @Test(arguments: [1, 2, 3, 10, 1000, 60_000])
    func integersFillTheirRangeEvenly(bound: Int) {
        let draws = 20 * bound
        var counts = Array(repeating: 0, count: bound)
        for counter in 0..<UInt64(draws) {
            counts[CounterRandom.integer(below: bound, seed: 5, stream: 9, counter: counter)] += 1
        }
        // Chi-square: mean bound - 1, variance 2 (bound - 1); eight deviations never happen by chance.
        let chi = counts.reduce(0) { $0 + Double(($1 - 20) * ($1 - 20)) / 20 }
        #expect(abs(chi - Double(bound - 1)) <= 8 * Double(2 * (bound - 1)).squareRoot())
    }

    @Test func permutationsArePermutationsAndDependOnSeedAndStream() {
        let order = CounterRandom.permutation(of: 1000, seed: 1, stream: 1)
        #expect(order.sorted() == Array(0..<1000))
        #expect(order == CounterRandom.permutation(of: 1000, seed: 1, stream: 1))
        for other in [(2, 1), (1, 2), (1, 3)] as [(UInt64, UInt64)] {
            let another = CounterRandom.permutation(of: 1000, seed: other.0, stream: other.1)
            // Two random orders agree in about one place.
            #expect(zip(order, another).count { $0 == $1 } < 10)
        }
        #expect(zip(order, 0..<1000).count { $0 == $1 } < 10)
        #expect(CounterRandom.permutation(of: 0, seed: 1, stream: 1) == [])
        #expect(CounterRandom.permutation(of: 1, seed: 1, stream: 1) == [0])
    }

    /// Every order of four things is equally likely.
    @Test func shufflesAreFair() {
        var counts: [[Int]: Int] = [:]
        for stream in 0..<24_000 as Range<UInt64> {
            counts[CounterRandom.permutation(of: 4, seed: 3, stream: stream), default: 0] += 1
        }
        #expect(counts.count == 24)
        #expect(counts.values.allSatisfy { abs($0 - 1000) < 200 })
    }

    /// Mean 1/2, variance 1 / (4 (2 a + 1)); for tiny a nearly every draw is 0 or 1.
    @Test(arguments: [1e-4, 0.01, 0.2, 1, 8]) func betaHasItsMoments(shape: Double) {
        let count = 20_000
        let draws = (0..<UInt64(count)).map { CounterRandom.beta(shape, seed: 1, stream: 3, counter: $0 * 4096) }
        #expect(draws.allSatisfy { 0 <= $0 && $0 <= 1 })
        let variance = draws.reduce(0) { $0 + ($1 - 0.5) * ($1 - 0.5) } / Double(count)
        #expect(abs(draws.reduce(0, +) / Double(count) - 0.5) < 0.02)
        #expect(abs(variance - 1 / (4 * (2 * shape + 1))) < 0.01, "\(variance)")
    }

    @Test func uniformAndNormalHaveTheirMoments() {
        let count = 100_000
        let uniforms = (0..<UInt64(count)).map { CounterRandom.uniform(seed: 1, stream: 2, counter: $0) }
        let normals = (0..<UInt64(count)).map { CounterRandom.normal(seed: 1, stream: 2, counter: $0) }
        let mean = { (values: [Double]) in values.reduce(0, +) / Double(count) }
        #expect(uniforms.allSatisfy { 0 <= $0 && $0 < 1 })
        #expect(abs(mean(uniforms) - 0.5) < 0.005)
        #expect(abs(mean(uniforms.map { $0 * $0 }) - 1.0 / 3) < 0.005)
        #expect(abs(mean(normals)) < 0.02)
        #expect(abs(mean(normals.map { $0 * $0 }) - 1) < 0.03)
        #expect(abs(mean(normals.map { $0 * $0 * $0 * $0 }) - 3) < 0.2)
    }
}
