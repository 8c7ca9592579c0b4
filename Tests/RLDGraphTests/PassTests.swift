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
        #expect(pass.steps[0].inputGradients == [.overwrite, .overwrite])
        #expect(pass.steps[1].inputGradients == [.accumulate])
        #expect(pass.steps[2].inputGradients == [nil], "nobody asked for the input's gradient")
        #expect(network.backwardPass(includingInput: true).steps[2].inputGradients == [.overwrite])
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
