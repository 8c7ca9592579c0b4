import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import TestSupport
import Testing

/// The authors' numbers in float64 against the Double reference.
@Suite("Model goldens on the reference") struct ModelGoldenTests {
    /// Every network with numbers.
    static let ids = [
        "resnet20", "resnet8x4", "wrn_16_2", "wrn_40_2", "vgg8", "MobileNetV2", "ShuffleV2", "ResNet50", "imagenet_ResNet18",
    ]

    @Test func everyGoldenWithNumbersIsTested() throws {
        let numeric = try Goldens.modelIDs().filter { try Goldens.model($0).evaluation != nil }
        #expect(Set(numeric) == Set(Self.ids))
        let trained = try Goldens.modelIDs().filter { try Goldens.model($0).training != nil }
        #expect(Set(trained) == Set(Self.steps.map(\.id)))
    }

    @Test(arguments: ids) func evaluation(id: String) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let images = try golden.evaluationImages()
        let batch = images.shape[0]
        let reference = try ReferenceNetwork(network, state: state)
        try golden.expectLogits(try reference.forward(images.values, batch: batch, training: false), .float64)
        #expect(Set(network.features.keys) == Set(try #require(golden.evaluation).featureNorms.byName.keys))
        for (name, node) in network.features { try golden.expectFeature(name, reference.value(of: node), .float64) }

        // A folded and fused network computes the same.
        let folded = network.foldingBatchNorm(state: state)
        let fused = try ReferenceNetwork(folded.network.fusingEpilogues(for: .inference), state: folded.state)
        let norms = fused.network.nodes.count { if case .batchNorm = $0.operation { true } else { false } }
        #expect(id.hasPrefix("wrn") ? norms > 0 : norms == 0, "only pre-activation keeps batch norms that follow sums")
        let tolerance = ModelTolerance.float64
        try golden.expectLogits(try fused.forward(images.values, batch: batch, training: false), tolerance)
        for (name, node) in fused.network.features { try golden.expectFeature(name, fused.value(of: node), tolerance) }
    }

    /// Fused too, but not the two largest: the same passes run on their blocks in the others.
    static let steps: [(id: String, fused: Bool)] =
        ids.dropLast().map { ($0, false) } + ["resnet20", "wrn_16_2", "vgg8", "MobileNetV2", "ShuffleV2"].map { ($0, true) }

    @Test(arguments: steps) func trainingStep(id: String, fused: Bool) throws {
        let golden = try Goldens.model(id)
        let plain = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let network = fused ? plain.fusingEpilogues(for: .training) : plain
        let state = formulaState(for: plain, runningVarScale: golden.runningVarScale ?? 1)
        let labels = try golden.trainingLabels()
        let reference = try ReferenceNetwork(network, state: state)
        let logits = try reference.forward(try golden.trainingImages().values, batch: labels.count, training: true)
        let loss = try ReferenceLoss.evaluate(
            .crossEntropy(CrossEntropy()), student: logits, teacher: nil, labels: labels, classes: golden.classes)
        try reference.backward(loss.gradient)
        let sgd = SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)
        _ = ReferenceUpdater().apply(ParameterUpdate(UpdateRule(.sgd(sgd)), number: 1), to: reference)
        try golden.expectTrainingStep(
            TrainingStepOutcome(
                loss: loss.total, logits: logits, gradients: reference.gradients, state: reference.state), .float64)
    }

    /// The published forward pass runs three batch norms again; the single-update values differ from what that leaves behind.
    @Test func wideNetworksUpdateEachBatchNormOnce() throws {
        let training = try #require(try Goldens.model("wrn_16_2").training)
        #expect(training.updatedMoreThanOnce.count == 3)
        for (name, update) in training.updatedMoreThanOnce {
            let twice = try #require(training.runningL2[name])
            #expect(zip(twice, update.l2AfterFirstUpdate).contains { abs($0 - $1) > 1e-4 * $1 })
        }
    }
}
