import RLDGraph
import RLDModels
import Testing

@Suite("Graph passes") struct PassTests {
    /// One value read twice: its gradient is written by the reader that runs backward first, then added to.
    @Test func sharedValuesAccumulate() {
        let network = Network("shared", input: [2, 2, 2]) { net, x in
            let y = net.convolution(x, 2, kernel: 1, name: "c")
            return net.add(net.relu(y), y)
        }
        let pass = network.backwardPass()
        #expect(pass.steps.map(\.node) == [3, 2, 1])
        // The rectifier adds to y's gradient while it reads its own, so the two lie apart.
        #expect(pass.steps[0].inputGradients == [.overwrite, .overwrite])
        #expect(pass.steps[1].inputGradients == [.accumulate])
        #expect(pass.steps[2].inputGradients == [nil], "nobody asked for the input's gradient")
        #expect(network.backwardPass(includingInput: true).steps[2].inputGradients == [.overwrite])
    }

    /// What an addition would only copy has one place, as long as nothing is added to it before all have read it.
    @Test func gradientsOfAdditionsShareTheirPlace() throws {
        // A chain of preactivation blocks: everything lies in the gradient of the last sum.
        let chain = Network("chain", input: [2, 2, 2]) { net, x in
            var y = net.convolution(x, 2, kernel: 1, name: "stem")
            for block in 1...2 {
                let branch = net.convolution(net.relu(y), 2, kernel: 1, name: "branch\(block)")
                y = net.add(branch, y)
            }
            return net.relu(y)
        }
        let additions = chain.backwardPass().steps.filter { chain.nodes[$0.node].operation == .add }
        #expect(additions.map(\.inputGradients) == [[.share, .share], [.share, .share]])

        // The output's gradient comes from outside and stays; the input's is read from outside.
        let bare = Network("bare", input: [2, 2, 2]) { net, x in net.add(net.convolution(x, 2, kernel: 1, name: "c"), x) }
        #expect(bare.backwardPass(includingInput: true).steps[0].inputGradients == [.overwrite, .overwrite])
        let inner = Network("inner", input: [2, 2, 2]) { net, x in
            net.relu(net.add(net.convolution(x, 2, kernel: 1, name: "c"), x))
        }
        #expect(inner.backwardPass(includingInput: true).steps[1].inputGradients == [.share, .overwrite])

        // Both inputs are one value: the second copy adds to the first.
        let doubled = Network("doubled", input: [2, 2, 2]) { net, x in
            let y = net.convolution(x, 2, kernel: 1, name: "c")
            return net.relu(net.add(y, y))
        }
        #expect(doubled.backwardPass().steps[1].inputGradients == [.overwrite, .accumulate])

        // A value that is added to while the sum's other input is still to be read.
        let crossing = Network("crossing", input: [2, 2, 2]) { net, x in
            let y = net.convolution(x, 2, kernel: 1, name: "y")
            let early = net.convolution(y, 2, kernel: 1, name: "early")
            let late = net.convolution(y, 2, kernel: 1, name: "late")
            return net.relu(net.add(net.add(early, y), late))
        }
        let writes = crossing.backwardPass().steps.filter { crossing.nodes[$0.node].operation == .add }.map(\.inputGradients)
        #expect(writes == [[.share, .share], [.share, .overwrite]])
    }

    @Test func foldingAndFusingLeaveConvolutionsOnly() throws {
        let network = try ModelCatalog.network("resnet20", classes: 10)
        let folded = network.foldingBatchNorm(state: network.initialState(seed: 1)).network.fusingEpilogues(for: .inference)
        #expect(Set(folded.nodes.map { $0.operation.label.prefix(4) }) == ["inpu", "conv", "glob", "line"])
        #expect(folded.nodes.count == 1 + 21 + 2)
        #expect(folded.multiplyAdds == network.multiplyAdds)
        let training = network.fusingEpilogues(for: .training)
        #expect(training.stateTensors == network.stateTensors, "weights and their order do not change")
        #expect(!training.nodes.contains { $0.operation == .relu || $0.operation == .add })
    }

    /// A value that a fused pass no longer computes must not keep its name.
    @Test func featuresThatVanishLoseTheirNames() throws {
        let network = try ModelCatalog.network("resnet8", classes: 10)
        let fused = network.fusingEpilogues(for: .training)
        #expect(fused.features["preact_feats/1"] == nil)
        #expect(fused.features["feats/1"] != nil && fused.features["pooled_feat"] != nil)
        let kept = network.fusingEpilogues(for: .training, keeping: [try #require(network.features["preact_feats/1"])])
        #expect(kept.features["preact_feats/1"] != nil)
    }

    /// What only a feature reads is computed when the feature is asked for, and not otherwise.
    @Test func unreadFeaturesCostNothing() throws {
        let network = try ModelCatalog.network("ShuffleV2", classes: 10)
        let feature = try #require(network.features["preact_feats/3"])
        let fused = network.fusingEpilogues(for: .training)
        #expect(fused.features["preact_feats/3"] == nil && fused.features["feats/3"] != nil)
        #expect(fused.nodes.count { $0.operation == .concat } == network.nodes.count { $0.operation == .concat } - 3)
        let kept = network.fusingEpilogues(for: .training, keeping: [feature])
        #expect(kept.features["preact_feats/3"] != nil)
        let folded = network.foldingBatchNorm(state: network.initialState(seed: 1), keeping: [feature]).network
        #expect(folded.features["preact_feats/3"] != nil)
    }

    /// Activation, addition and batch norm go into convolutions of every kind.
    @Test func everythingFusesIntoConvolutions() throws {
        func labels(_ id: String) throws -> Set<String> {
            let network = try ModelCatalog.network(id, classes: 10)
            let folded = network.foldingBatchNorm(state: network.initialState(seed: 1)).network.fusingEpilogues(for: .inference)
            return Set(folded.nodes.map { String($0.operation.label.prefix { $0.isLetter || $0 == "_" }) })
        }
        let ends: Set = ["input", "global_average_pool", "linear", "convolution"]
        #expect(try labels("vgg13") == ends.union(["max_pool"]))
        #expect(try labels("MobileNetV2") == ends.union(["depthwise"]))
        #expect(try labels("imagenet_MobileNetV1") == ends.union(["depthwise"]))
        #expect(try labels("ResNet50") == ends)
        // A rectifier after a concatenation, and sums before a batch norm, have no convolution to go into.
        #expect(
            try labels("ShuffleV1") == ends.union(["depthwise", "grouped", "channel_shuffle", "concat", "average_pool", "relu"]))
        #expect(try labels("ShuffleV2") == ends.union(["depthwise", "channel_shuffle", "concat", "slice"]))
        #expect(try labels("wrn_16_2") == ends.union(["batch_norm"]))
        let relu6 = Network("relu6", input: [4, 5, 5]) { net, x in
            let y = net.convolution(x, 4, kernel: 3, groups: 2, bias: true, name: "c")
            return net.relu6(net.add(net.batchNorm(y, name: "bn"), x))
        }
        let fused = relu6.foldingBatchNorm(state: relu6.initialState(seed: 1)).network.fusingEpilogues(for: .inference)
        #expect(fused.nodes.count == 2 && fused.nodes[1].operation.epilogue == Epilogue(residual: true, relu6: true))
        #expect(relu6.fusingEpilogues(for: .training).nodes.contains { $0.operation == .relu6 })
    }

    @Test func initialWeightsDependOnTheSeedAlone() throws {
        let network = try ModelCatalog.network("resnet8", classes: 10)
        #expect(network.initialState(seed: 1) == network.initialState(seed: 1))
        #expect(network.initialState(seed: 1) != network.initialState(seed: 2))
        // Kaiming normal, fan out: deviation sqrt(2 / (64 * 9)).
        let weight = try #require(network.initialState(seed: 1)["layer3.0.conv2.weight"])
        let variance = weight.values.reduce(0) { $0 + $1 * $1 } / Double(weight.count)
        #expect(abs(variance * 288 - 1) < 0.05)
    }
}

@Suite("Suggestions of near names") struct SuggestionTests {
    @Test func suggestions() {
        #expect(nearestName(to: "resnet2O", among: ["resnet20", "vgg8"]) == "resnet20")
        #expect(nearestName(to: "rdl", among: ["ce", "kd", "rld"]) == "rld")
        #expect(nearestName(to: "completely-else", among: ["resnet20", "vgg8"]) == nil)
    }
}
