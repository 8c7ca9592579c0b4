import RLDGraph
import RLDReference
import TestSupport
import Testing

/// Passes over networks that no one would think of: whatever they fold and fuse, values, gradients and features stay.
@Suite("Passes over random networks") struct RandomNetworkTests {
    /// Draws one number after the other, the same for a seed.
    private struct Draws {
        let seed: UInt64
        var counter: UInt64 = 0

        mutating func below(_ bound: Int) -> Int {
            counter += 1
            return CounterRandom.integer(below: bound, seed: seed, stream: 11, counter: counter)
        }
    }

    /// Up to sixteen calls on values drawn from all those before, so that many are read twice, some never, and sums meet themselves.
    private static func network(_ seed: UInt64) -> Network {
        var draws = Draws(seed: seed)
        return Network("random\(seed)", input: [4, 5, 4]) { net, image in
            var values = [image]
            for step in 0..<4 + draws.below(13) {
                let x = values[max(0, values.count - 1 - (draws.below(3) == 0 ? draws.below(4) : 0))]
                let peers = values.filter { $0.shape == x.shape }
                let y: NetworkBuilder.Value
                switch draws.below(10) {
                case 0, 1:
                    let groups = x.shape[0] % 2 == 0 ? 1 + draws.below(2) : 1
                    y = net.convolution(
                        x, 4, kernel: 1 + 2 * draws.below(2), groups: groups, bias: draws.below(2) == 0, name: "conv.\(step)")
                case 2, 3: y = net.batchNorm(x, name: "norm.\(step)")
                case 4: y = net.relu(x)
                case 5: y = net.relu6(x)
                case 6, 7: y = net.add(x, peers[draws.below(peers.count)])
                case 8: y = net.channelShuffle(net.concat([x, x]), groups: 2)
                default: y = net.averagePool(x, kernel: 3, stride: 1, padding: 1)
                }
                if y.shape[0] <= 8 { values.append(y) }
                if draws.below(3) == 0 { net.feature("f\(step)", values[values.count - 1]) }
            }
            return net.linear(net.globalAveragePool(values[values.count - 1]), 3, name: "fc")
        }
    }

    /// Networks in which nothing folds or fuses, or no feature is asked for, would test nothing.
    @Test func thereIsMuchToFoldAndFuse() {
        var (folded, fused, features) = (0, 0, 0)
        for network in (0..<300).map({ Self.network($0) }) {
            let inference = network.foldingBatchNorm()
            folded += network.stateTensors.count { $0.kind == .counter }
            folded -= inference.network.stateTensors.count { $0.kind == .counter }
            fused += network.fusingEpilogues(for: .training).nodes.count { $0.operation.epilogue != Epilogue() }
            fused += inference.network.fusingEpilogues(for: .inference).nodes.count { $0.operation.epilogue != Epilogue() }
            features += Self.kept(network).count
        }
        #expect(folded > 50 && fused > 150 && features > 150, "\(folded) folded, \(fused) fused, \(features) features")
    }

    private static func images(_ network: Network, batch: Int) -> [Double] {
        FormulaValues.images("random networks", shape: [batch] + network.inputShape).values
    }

    /// Some of the features, to be asked for.
    private static func kept(_ network: Network) -> [String] {
        network.features.keys.sorted().enumerated().filter { $0.offset % 2 == 0 }.map(\.element)
    }

    /// The features that are asked for, and every feature that a pass has left.
    private static func expectFeatures(
        _ found: ReferenceNetwork, _ wanted: ReferenceNetwork, keeping: [String], _ bound: Bound, _ what: String
    ) {
        #expect(Set(keeping).isSubset(of: found.network.features.keys), "\(what)")
        for (name, node) in found.network.features {
            guard let original = wanted.network.features[name] else {
                Issue.record("\(what): feature \(name) is new")
                continue
            }
            expectClose(found.value(of: node), wanted.value(of: original), bound, "\(what): \(name)")
        }
    }

    @Test(arguments: 0..<300 as Range<UInt64>) func passesKeepWhatIsComputed(seed: UInt64) throws {
        let network = Self.network(seed)
        let state = formulaState(for: network, runningVarScale: 1)
        let (batch, bound) = (2, Bound.ofMax(1e-10))
        let images = Self.images(network, batch: batch)
        let plain = try ReferenceNetwork(network, state: state)
        let kept = Self.kept(network)
        let keeping = Set(kept.compactMap { network.features[$0] })

        let logits = try plain.forward(images, batch: batch, training: false)
        let folded = network.foldingBatchNorm(state: state, keeping: keeping)
        let keptAfter = Set(kept.compactMap { folded.network.features[$0] })
        let fused = try ReferenceNetwork(
            folded.network.fusingEpilogues(for: .inference, keeping: keptAfter), state: folded.state)
        expectClose(try fused.forward(images, batch: batch, training: false), logits, bound, "seed \(seed), inference")
        Self.expectFeatures(fused, plain, keeping: kept, bound, "seed \(seed), inference")

        let trained = try plain.forward(images, batch: batch, training: true)
        let training = try ReferenceNetwork(network.fusingEpilogues(for: .training, keeping: keeping), state: state)
        expectClose(try training.forward(images, batch: batch, training: true), trained, bound, "seed \(seed), training")
        Self.expectFeatures(training, plain, keeping: kept, bound, "seed \(seed), training")
        #expect(training.network.stateTensors == network.stateTensors, "seed \(seed)")
        let direction = trained.indices.map { Double($0 % 3) - 0.5 }
        try plain.backward(direction)
        try training.backward(direction)
        #expect(Set(training.gradients.keys) == Set(plain.gradients.keys), "seed \(seed)")
        let largest = plain.gradients.values.flatMap { $0 }.reduce(0) { max($0, abs($1)) }
        for (name, gradient) in plain.gradients {
            expectClose(try #require(training.gradients[name]), gradient, .absolute(1e-9 * largest), "seed \(seed): \(name)")
        }
        for name in network.stateTensors.map(\.name) {
            expectClose(try #require(training.state[name]), try #require(plain.state[name]), bound, "seed \(seed): \(name)")
        }
    }
}
