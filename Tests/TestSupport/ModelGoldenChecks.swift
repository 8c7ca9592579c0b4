import RLDGraph
import Testing

/// One training step as a golden knows it.
public struct TrainingStepOutcome {
    public var loss: Double
    /// [batch, classes].
    public var logits: [Double]
    /// By parameter name.
    public var gradients: [String: [Double]]
    /// After the optimiser.
    public var state: NetworkState

    public init(loss: Double, logits: [Double], gradients: [String: [Double]], state: NetworkState) {
        self.loss = loss
        self.logits = logits
        self.gradients = gradients
        self.state = state
    }
}

/// How far a model's numbers may lie from its golden (`Tests/Goldens/README.md`).
public struct ModelTolerance: Sendable {
    /// Of logits over the largest, of features and running statistics over their L2, of the loss relative.
    public let forward: Double
    /// Of single logits of a training step, over their scale. Batch statistics of deep
    /// layers (16 pixels of 8 images) magnify rounding.
    public let trainingLogits: Double
    /// Of a gradient over max(its L2, 1e-3 of the largest gradient's L2).
    public let gradient: Double
    /// The same for the median of all gradients: where one rectifier has flipped, most gradients still lie closer.
    public let medianGradient: Double
    /// Of a gradient's probe. Where signs differ it sees all of the difference, of which the norm sees little.
    public let probe: Double

    public static let float64 = ModelTolerance(
        forward: 1e-11, trainingLogits: 1e-11, gradient: 1e-8, medianGradient: 1e-8, probe: 1e-8)
    private static let shallow = ModelTolerance(
        forward: 1e-5, trainingLogits: 1e-5, gradient: 1e-4, medianGradient: 1e-5, probe: 1e-4)
    /// Where a rectifier or a few have fallen on the other side of 0 than in float64.
    public static let flipped = ModelTolerance(
        forward: 1e-5, trainingLogits: 1e-4, gradient: 3e-2, medianGradient: 1e-2, probe: 3e-2)

    /// Shallow networks hardly meet a rectifier whose input is 0 within rounding; deep ones do.
    public static func float32(_ id: String) -> ModelTolerance {
        ["resnet20", "resnet8x4", "wrn_16_2"].contains(id) ? .shallow : .flipped
    }
}

extension ModelGolden {
    /// The network's formula state and inputs, built once.
    public func evaluationImages() throws -> Tensor {
        let evaluation = try #require(evaluation)
        let images = evaluation.images.map { FormulaValues.images($0, shape: input).values }
        return Tensor(shape: [images.count] + input, values: images.flatMap { $0 })
    }

    public func trainingImages() throws -> Tensor {
        let training = try #require(training)
        return FormulaValues.images(training.images, shape: [training.batch] + input)
    }

    public func trainingLabels() throws -> [Int32] {
        let training = try #require(training)
        return FormulaValues.labels(training.labels, count: training.batch, classes: classes).map(Int32.init)
    }

    public func expectLogits(_ logits: [Double], _ tolerance: ModelTolerance, sourceLocation: SourceLocation = #_sourceLocation)
        throws
    {
        let expected = try #require(evaluation).logits.flatMap { $0 }
        expectClose(logits, expected, .ofMax(tolerance.forward), "\(id) logits", sourceLocation: sourceLocation)
    }

    /// Mean, mean magnitude, L2 and probe of every feature over the two evaluation images.
    public func expectFeature(
        _ name: String, _ values: [Double], _ tolerance: ModelTolerance, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let evaluation = try #require(evaluation)
        let norms = try #require(evaluation.featureNorms.byName[name])
        let count = Double(values.count)
        let found = [
            values.reduce(0, +) / count, values.reduce(0) { $0 + abs($1) } / count, l2(values), probe(values, name),
        ]
        let expected = norms + [try #require(evaluation.featureProbe.byName[name])]
        let size = norms[2]
        let bounds = [size / count.squareRoot(), size / count.squareRoot(), size, size].map { $0 * tolerance.forward }
        expectClose(found, expected, .each(bounds), "\(id) \(name)", sourceLocation: sourceLocation)
    }

    public func expectTrainingStep(
        _ step: TrainingStepOutcome, _ tolerance: ModelTolerance, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let golden = try #require(training)
        func close(_ found: [Double], _ expected: [Double], _ bounds: [Double], _ name: String) {
            expectClose(found, expected, .each(bounds), "\(id) \(name)", sourceLocation: sourceLocation)
        }
        let scale = golden.logitsL2 / Double(step.logits.count).squareRoot()
        close([step.loss], [golden.loss], [tolerance.forward * abs(golden.loss)], "loss")
        close([l2(step.logits)], [golden.logitsL2], [tolerance.forward * golden.logitsL2], "logits L2")
        close(
            Array(step.logits.prefix(4)), golden.firstLogits,
            Array(repeating: tolerance.trainingLogits * max(scale, golden.firstLogits.map(abs).max() ?? 0), count: 4),
            "first logits")

        #expect(Set(step.gradients.keys) == Set(golden.gradients.keys), sourceLocation: sourceLocation)
        let largest = golden.gradients.values.map { $0[0] }.max() ?? 0
        func gradientBound(_ name: String) -> Double {
            tolerance.gradient * max(golden.gradients[name]?[0] ?? 0, 1e-3 * largest)
        }
        var ratios: [Double] = []
        for (name, expected) in golden.gradients {
            let gradient = try #require(step.gradients[name])
            let bound = gradientBound(name)
            let found = [l2(gradient)] + gradient.prefix(expected.count - 1) + [probe(gradient, name)]
            let wanted = expected + [try #require(golden.gradientProbe[name])]
            let bounds = Array(repeating: bound, count: wanted.count - 1) + [bound * tolerance.probe / tolerance.gradient]
            close(found, wanted, bounds, "gradient of \(name)")
            ratios.append(zip(found, wanted).map { abs($0 - $1) / bound }.max() ?? 0)
        }
        let median = ratios.sorted()[ratios.count / 2] * tolerance.gradient
        #expect(median <= tolerance.medianGradient, "\(id): median error of the gradients", sourceLocation: sourceLocation)
        for (name, published) in golden.runningL2 {
            // Each batch norm runs once per step here, also where the published code runs it again.
            let expected = golden.updatedMoreThanOnce[name]?.l2AfterFirstUpdate ?? published
            let mean = try #require(step.state["\(name).running_mean"]).values
            let variance = try #require(step.state["\(name).running_var"]).values
            close([l2(mean), l2(variance)], expected, expected.map { tolerance.forward * $0 }, "running statistics of \(name)")
        }
        for (name, expected) in golden.parameterL2AfterSGD {
            let found = l2(try #require(step.state[name]).values)
            // The optimiser takes 0.05 of the gradient, and of the gradient's error.
            let bound = 0.05 * gradientBound(name) + tolerance.forward * expected
            close([found], [expected], [bound], "\(name) after the step")
        }
    }
}
