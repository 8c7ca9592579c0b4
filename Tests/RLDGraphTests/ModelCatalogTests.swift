import RLDGraph
import RLDModels
import TestSupport
import Testing

@Suite("Model catalogue") struct ModelCatalogTests {
    /// Registered networks come behind them.
    static let published = Array(ModelCatalog.ids.prefix(32))

    @Test func everyPublishedNetworkIsThere() throws {
        let goldens = try Goldens.modelIDs()
        #expect(goldens.count == 32)
        #expect(Set(goldens) == Set(Self.published))
    }

    @Test(arguments: published)
    func namesShapesAndCountsAreThePublishedOnes(id: String) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let entry = try ModelCatalog.entry(id)
        #expect(entry.classes == golden.classes && entry.input == golden.input)
        #expect(network.id == id)
        #expect(network.stateTensors.map(\.name) == golden.state.map(\.name))
        #expect(network.stateTensors.map(\.shape) == golden.state.map(\.shape))
        #expect(network.stateTensors.map { $0.kind == .parameter ? "param" : "buffer" } == golden.state.map(\.kind))
        #expect(network.parameterCount == golden.parameters)
        #expect(network.multiplyAdds == golden.multiplyAdds)
        #expect(network.classes == golden.classes)
        #expect(network.features["pooled_feat"] != nil && network.features["feats/0"] != nil)
        guard let shapes = golden.featureShapes?.byName else { return }
        #expect(network.features.mapValues { network.nodes[$0].shape } == shapes)
    }

    @Test func featuresAreTheValuesTheyAreNamedAfter() throws {
        let network = try ModelCatalog.network("resnet20", classes: 10)
        #expect(network.features.count == 9)
        #expect(network.features["feats/0"] == network.features["preact_feats/0"])
        for stage in 1...3 {
            let feature = try #require(network.features["feats/\(stage)"])
            let before = try #require(network.features["preact_feats/\(stage)"])
            #expect(network.nodes[feature].operation == .relu)
            #expect(network.nodes[feature].inputs == [before])
            #expect(network.nodes[before].operation == .add)
        }
        let pooled = try #require(network.features["pooled_feat"])
        #expect(network.nodes[network.output].inputs == [pooled])
        let error = #expect(throws: InputError.self) { try network.features(named: ["feats/0", "feat/1"]) }
        #expect(error?.description.contains("did you mean 'feats/1'?") == true)
    }

    @Test(arguments: [[1, 28, 28], [3, 64, 48], [1, 1, 1], [3, 33, 31]])
    func anyImageExtentsDo(input: [Int]) throws {
        let network = try ModelCatalog.network("resnet8", classes: 10, input: input)
        #expect(network.inputShape == input)
        #expect(network.nodes[network.output].shape == [10])
        let last = try #require(network.features["feats/3"])
        #expect(network.nodes[last].shape == [64, (input[1] + 3) / 4, (input[2] + 3) / 4])
        // Only the stem sees the number of channels.
        #expect(network.parameterCount == 78_042 + (input[0] - 3) * 16 * 9)
    }

    /// Fashion-MNIST's images, and a number of classes of one's own.
    @Test(arguments: published) func otherImagesAndClassesDo(id: String) throws {
        let network = try ModelCatalog.network(id, classes: 7, input: [1, 28, 28])
        #expect(network.nodes[network.output].shape == [7])
        #expect(network.stateTensors.first?.shape[1] == 1)
    }

    @Test func tooSmallImagesAreRefused() throws {
        for id in Self.published {
            do {
                let network = try ModelCatalog.network(id, classes: 10, input: [3, 4, 4])
                #expect(network.classes == 10)
                #expect(!id.hasPrefix("vgg"))
            } catch { #expect(id.hasPrefix("vgg") && "\(error)".contains("8x8 at least")) }
        }
    }

    /// Published: a fourth pooling for images 64 high.
    @Test func vggPoolsLargerImagesOnceMore() throws {
        func last(_ extent: Int) throws -> [Int] {
            let network = try ModelCatalog.network("vgg8", classes: 10, input: [3, extent, extent])
            return network.nodes[try #require(network.features["feats/4"])].shape
        }
        #expect(try last(32) == [512, 4, 4])
        #expect(try last(64) == [512, 4, 4])
        #expect(try last(48) == [512, 6, 6])
    }

    @Test func anyWideResNetIsThere() throws {
        let network = try ModelCatalog.network("wrn_22_3", classes: 10)
        #expect(network.id == "wrn_22_3")
        #expect(network.stateTensors.contains { $0.name == "block3.layer.2.conv2.weight" && $0.shape == [192, 192, 3, 3] })
        for wrong in ["wrn_17_2", "wrn_16_0", "wrn_16", "wrn_016_2", "wrn_16_2_1", "wrn_99999999_1"] {
            #expect(throws: InputError.self, "\(wrong)") { try ModelCatalog.network(wrong, classes: 10) }
        }
    }

    // MARK: Fresh weights

    private func initializer(_ id: String, _ name: String) throws -> StateTensor.Initializer {
        let network = try ModelCatalog.network(id, classes: 10)
        return try #require(network.stateTensors.first { $0.name == name }, "\(id) \(name)").initializer
    }

    @Test func freshWeightsFollowThePublishedSchemes() throws {
        #expect(try initializer("resnet8x4", "layer2.0.conv1.weight") == .kaimingNormal(fanOut: 128 * 9))
        #expect(try initializer("resnet8x4", "fc.bias") == .uniform(fanIn: 256))
        #expect(try initializer("wrn_16_2", "block2.layer.0.conv1.weight") == .kaimingNormal(fanOut: 64 * 9))
        #expect(try initializer("wrn_16_2", "fc.weight") == .uniform(fanIn: 128))
        #expect(try initializer("wrn_16_2", "fc.bias") == .constant(0))
        #expect(try initializer("vgg8", "block1.0.weight") == .kaimingNormal(fanOut: 128 * 9))
        #expect(try initializer("vgg8", "block1.0.bias") == .constant(0))
        #expect(try initializer("vgg8", "classifier.weight") == .normal(deviation: 0.01))
        #expect(try initializer("MobileNetV2", "blocks.1.0.conv.3.weight") == .kaimingNormal(fanOut: 48 * 9))
        #expect(try initializer("MobileNetV2", "classifier.0.weight") == .normal(deviation: 0.01))
        #expect(try initializer("MobileNetV2", "classifier.0.bias") == .constant(0))
        #expect(try initializer("ShuffleV1", "layer1.1.conv1.weight") == .uniform(fanIn: 80))
        #expect(try initializer("ShuffleV2", "layer1.0.conv1.weight") == .uniform(fanIn: 9))
        #expect(try initializer("ResNet50", "layer1.0.conv3.weight") == .kaimingNormal(fanOut: 256))
        #expect(try initializer("imagenet_ResNet18", "conv1.weight") == .kaimingNormal(fanOut: 64 * 49))
        #expect(try initializer("imagenet_MobileNetV1", "model.1.0.weight") == .uniform(fanIn: 9))
    }

    @Test func normalWeightsHaveTheirDeviation() throws {
        let weight = try #require(ModelCatalog.network("vgg8", classes: 100).initialState(seed: 3)["classifier.weight"])
        let variance = weight.values.reduce(0) { $0 + $1 * $1 } / Double(weight.count)
        #expect(abs(variance / 1e-4 - 1) < 0.05)
        #expect(abs(weight.values.reduce(0, +) / Double(weight.count)) < 2e-4)
    }

    // MARK: Refusals

    @Test func unknownIDsAreRefusedWithTheNearest() {
        let error = #expect(throws: InputError.self) { try ModelCatalog.network("resnet23", classes: 10) }
        #expect(error?.description.contains("did you mean 'resnet20'?") == true)
        #expect(error?.description.contains("model 'resnet23'") == true)
    }

    @Test(arguments: [1, 0, -5, Int.max])
    func uselessClassesAreRefused(classes: Int) {
        let error = #expect(throws: InputError.self) { try ModelCatalog.network("resnet8", classes: classes) }
        #expect(error?.description.contains("\(classes) classes") == true)
    }

    @Test(arguments: [[], [3], [3, 32], [0, 32, 32], [3, -1, 32], [3, 32, 32, 1], [3, Int.max, 32]])
    func uselessInputsAreRefused(input: [Int]) {
        let error = #expect(throws: InputError.self) { try ModelCatalog.network("resnet8", classes: 10, input: input) }
        #expect(error?.description.contains("input shape \(input)") == true)
    }

    // MARK: Networks of one's own

    @Test func registeredNetworksAreKnown() throws {
        try ModelCatalog.register("test_own", classes: 4, input: [1, 8, 8]) { classes, input in
            try Network(validating: "test_own", input: input) { net, image in
                net.linear(net.flatten(net.maxPool(image, kernel: 2)), classes, name: "fc")
            }
        }
        let network = try ModelCatalog.network("test_own", classes: 3, input: [2, 6, 6])
        #expect(network.parameters.map(\.shape) == [[3, 18], [3]])
        #expect(ModelCatalog.ids.contains("test_own"))
        #expect(throws: InputError.self, "its input is too small") {
            try ModelCatalog.network("test_own", classes: 3, input: [1, 1, 1])
        }
        for taken in ["test_own", "resnet8", "wrn_28_10"] {
            let error = #expect(throws: InputError.self) {
                try ModelCatalog.register(taken) { _, input in try Network(validating: taken, input: input) { $1 } }
            }
            #expect(error?.description.contains("in the catalogue already") == true, "\(taken)")
        }
        // One that does not do what it is asked for.
        try ModelCatalog.register("test_stubborn") { _, input in
            try Network(validating: "test_stubborn", input: input) { net, x in
                net.linear(net.globalAveragePool(x), 10, name: "fc")
            }
        }
        let error = #expect(throws: InputError.self) { try ModelCatalog.network("test_stubborn", classes: 5) }
        #expect(error?.description.contains("asked for [3, 32, 32] to [5]") == true)
    }
}
