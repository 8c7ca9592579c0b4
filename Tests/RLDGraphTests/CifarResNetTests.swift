import RLDGraph
import RLDModels
import TestSupport
import Testing

struct CifarResNetTests {
    static let resNetIDs = ModelCatalog.ids.filter { $0.hasPrefix("resnet") }

    @Test func everyPublishedResNetIsThere() throws {
        let golden = try Goldens.modelIDs().filter { $0.hasPrefix("resnet") }
        #expect(golden.count == 9)
        #expect(Set(golden) == Set(Self.resNetIDs))
    }

    @Test(arguments: resNetIDs)
    func namesShapesAndCountsAreThePublishedOnes(id: String) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        #expect(network.id == golden.id)
        #expect(network.stateTensors.map(\.name) == golden.state.map(\.name))
        #expect(network.stateTensors.map(\.shape) == golden.state.map(\.shape))
        #expect(network.stateTensors.map { $0.kind == .parameter ? "param" : "buffer" } == golden.state.map(\.kind))
        #expect(network.parameterCount == golden.parameters)
        #expect(network.multiplyAdds == golden.multiplyAdds)
        #expect(network.classes == golden.classes)
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

    @Test func convolutionsStartWithKaimingNormalFanOut() throws {
        let network = try ModelCatalog.network("resnet8x4", classes: 10)
        let tensor = try #require(network.stateTensors.first { $0.name == "layer2.0.conv1.weight" })
        #expect(tensor.initializer == .kaimingNormal(fanOut: 128 * 9))
    }

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
}
