import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import TestSupport
import Testing

/// The authors' numbers in float64 against the Double reference.
@Suite("Model goldens on the reference") struct ModelGoldenTests {
    static let ids = ["resnet20", "resnet8x4"]

    @Test(arguments: ids) func evaluation(id: String) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let images = try golden.evaluationImages()
        let reference = try ReferenceNetwork(network, state: state)
        try golden.expectLogits(try reference.forward(images.values, batch: 2, training: false), .float64)
        #expect(Set(network.features.keys) == Set(try #require(golden.evaluation).featureNorms.byName.keys))
        for (name, node) in network.features { try golden.expectFeature(name, reference.value(of: node), .float64) }

        // A folded and fused network computes the same.
        let folded = network.foldingBatchNorm(state: state)
        let fused = try ReferenceNetwork(folded.network.fusingEpilogues(for: .inference), state: folded.state)
        #expect(!fused.network.nodes.contains { if case .batchNorm = $0.operation { true } else { false } })
        let tolerance = ModelTolerance.float64
        try golden.expectLogits(try fused.forward(images.values, batch: 2, training: false), tolerance)
        for (name, node) in fused.network.features { try golden.expectFeature(name, fused.value(of: node), tolerance) }
    }

    @Test(arguments: ids, [false, true]) func trainingStep(id: String, fused: Bool) throws {
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
        reference.applySGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4, nesterov: false)
        try golden.expectTrainingStep(
            TrainingStepOutcome(
                loss: loss.total, logits: logits, gradients: reference.gradients, state: reference.state), .float64)
    }
}
