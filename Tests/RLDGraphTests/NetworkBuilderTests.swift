import RLDGraph
import Testing

/// What cannot be is refused with the name of the layer, not trapped on.
@Suite("Network builder") struct NetworkBuilderTests {
    private func problem(
        _ input: [Int] = [4, 6, 6], _ build: (inout NetworkBuilder, NetworkBuilder.Value) -> NetworkBuilder.Value
    ) -> String {
        do {
            _ = try Network(validating: "wrong", input: input, build)
            return ""
        } catch { return error.description }
    }

    @Test func mistakesAreNamed() {
        #expect(
            problem { $0.convolution($1, 6, kernel: 3, groups: 4, name: "c") }.contains("c: 4 groups do not divide 4 input and 6")
        )
        #expect(problem { $0.convolution($1, 6, kernel: 3, groups: 0, name: "c") }.contains("0 groups"))
        #expect(problem { $0.convolution($1, 6, kernel: 3, stride: 0, name: "c") }.contains("stride 0"))
        #expect(problem { $0.convolution($1, 6, kernel: 9, padding: 0, name: "c") }.contains("c: shape [6, 0, 0] is empty"))
        #expect(problem { $0.maxPool($1, kernel: 7) }.contains("is empty"))
        #expect(problem { $0.maxPool($1, kernel: 2, padding: 2) }.contains("padding 2 is more than half of kernel 2"))
        #expect(problem { $0.averagePool($1, kernel: 0) }.contains("kernel 0"))
        #expect(problem { $0.linear($1, 3, name: "fc") }.contains("fc: takes a vector, found [4, 6, 6]"))
        #expect(
            problem { net, x in net.add(x, net.maxPool(x, kernel: 2)) }.contains("add: shapes [4, 6, 6] and [4, 3, 3] differ"))
        #expect(problem { net, x in net.concat([x, net.maxPool(x, kernel: 2)]) }.contains("concat: extents"))
        #expect(problem { $0.concat([$1].filter { _ in false }) }.contains("concat"))
        #expect(problem { $0.slice($1, channels: 2..<5) }.contains("channels 2..<5 are not within 4"))
        #expect(problem { $0.slice($1, channels: 2..<2) }.contains("is empty"))
        #expect(problem { $0.channelShuffle($1, groups: 3) }.contains("3 groups do not divide 4 channels"))
        #expect(problem { $0.adaptiveAveragePool($1, height: 0, width: 2) }.contains("is empty"))
        #expect(
            problem { net, x in net.batchNorm(net.batchNorm(x, name: "n"), name: "n") }.contains("n: two nodes have this name"))
        #expect(problem([]) { $1 }.contains("has no elements"))
        #expect(problem([3, 0, 2]) { $1 }.contains("has no elements"))
    }

    /// Sizes that no memory holds, some of them beyond what an Int holds.
    @Test func sizesBeyondReasonAreNamed() {
        let huge = Int.max
        #expect(problem { $0.linear($0.flatten($1), huge, name: "fc") }.contains("fc: shape [\(huge)] has more than"))
        #expect(
            problem { $0.linear($0.flatten($1), 1 << 35, name: "fc") }.contains("fc: its weight [\(1 << 35), 144] has more than"))
        #expect(problem { $0.convolution($1, huge, kernel: 1, name: "c") }.contains("has more than"))
        #expect(problem { $0.convolution($1, 4, kernel: 1 << 32, name: "c") }.contains("kernel \(1 << 32)"))
        #expect(problem { $0.convolution($1, 4, kernel: 3, padding: huge, name: "c") }.contains("padding \(huge)"))
        #expect(problem { $0.convolution($1, 4, kernel: 3, stride: huge, name: "c") }.contains("stride \(huge)"))
        #expect(problem { $0.maxPool($1, kernel: 3, padding: huge) }.contains("padding \(huge)"))
        #expect(problem { $0.adaptiveAveragePool($1, height: huge, width: huge) }.contains("has more than"))
        #expect(problem([huge, 2, 2]) { $0.flatten($1) }.contains("input: shape [\(huge), 2, 2] has more than"))
        // A product in one sample that fits, of values that do.
        #expect(
            problem([1 << 20, 1, 1 << 12]) { $0.convolution($1, 1 << 20, kernel: 1, name: "c") }
                .contains("c: more multiply-adds than"))
    }

    /// Whatever goes on after a mistake ends in its message, and not in a trap.
    @Test func whatFollowsAMistakeIsNoTrap() {
        let text = problem { net, x in
            let (left, right) = net.split(net.convolution(x, -3, kernel: 0, name: "first"), at: 2)
            return net.channelShuffle(net.concat([left, right]), groups: 2)
        }
        #expect(text.contains("first: -3 output channels"))
        #expect(problem { $0.flatten($0.linear($0.flatten($1), .max, name: "fc")) }.contains("fc: shape"))
        #expect(problem { $0.convolution($1, -4, kernel: 3, name: "c") }.contains("c: -4 output channels"))
    }

    /// Extents and names that later passes would misread.
    @Test func inputsAndNamesHaveOneMeaning() throws {
        #expect(
            problem([3, 4]) { $0.flatten($1) }.contains("input shape [3, 4], expected [channels, height, width] or [features]"))
        #expect(problem([3, 4, 5, 6]) { $0.flatten($1) }.contains("input shape [3, 4, 5, 6]"))
        for name in ["", ".", "a.", ".a", "a..b"] {
            #expect(problem { $0.convolution($1, 2, kernel: 1, name: name) }.contains("name '\(name)'"), "'\(name)'")
        }
        let twice = problem { net, x in
            net.feature("f", x)
            net.feature("f", net.relu(x))
            return x
        }
        #expect(twice.contains("feature 'f': two values have this name"))
        var stray: NetworkBuilder.Value?
        _ = Network("other", input: [4, 6, 6]) { net, x in
            stray = net.relu(net.relu(x))
            return x
        }
        let other = try #require(stray)
        #expect(problem { $0.add($1, other) }.contains("value of another network"))
        #expect(problem { _, _ in other }.contains("value of another network"))
        #expect(
            problem { net, x in
                net.feature("f", other)
                return x
            }.contains("value of another network"))
    }

    /// The first mistake is the one that is told.
    @Test func laterMistakesDoNotHideTheFirst() {
        let text = problem { net, x in
            let y = net.convolution(x, 6, kernel: 3, groups: 5, name: "first")
            return net.linear(net.concat([y, x]), 3, name: "second")
        }
        #expect(text.contains("first") && !text.contains("second"))
    }

    @Test func shapes() {
        let network = Network("shapes", input: [6, 9, 8]) { net, x in
            let y = net.depthwiseConvolution(x, kernel: 3, stride: 2, name: "d")
            net.feature("depthwise", y)
            let (a, b) = net.split(net.maxPool(y, kernel: 3, stride: 2, padding: 1), at: 2)
            net.feature("left", a)
            net.feature("joined", net.concat([b, a, b]))
            return net.adaptiveAveragePool(b, height: 2, width: 1)
        }
        func shape(_ name: String) -> [Int]? { network.features[name].map { network.nodes[$0].shape } }
        #expect(shape("depthwise") == [6, 5, 4])
        #expect(shape("left") == [2, 3, 2])
        #expect(shape("joined") == [10, 3, 2])
        #expect(network.nodes[network.output].shape == [4, 2, 1])
        #expect(network.parameterCount == 54)
        #expect(network.multiplyAdds == 6 * 5 * 4 * 9)
    }
}
