import RLDGraph
import RLDMethods

/// What a run would do and how long it would take on its device.
public struct TrainingEstimate: Sendable, Equatable, Encodable {
    /// The effective settings, line by line.
    public var plan: [String]
    public var steps: Int
    public var secondsPerStep: Double
    /// Passes over the images that choose the best epoch, and over the test set.
    public var evaluations: Int
    public var secondsPerEvaluation: Double
    public var seconds: Double
}

extension Trainer {
    /// Plans the run, or what is left of one that is resumed, and times a few of its steps; writes nothing. A teacher whose weights
    /// are missing counts with fresh ones.
    public func estimate() throws -> TrainingEstimate {
        let (network, teachers, split, _) = try checkedInput(fresh: true)
        let size = configuration.batchSize
        let staged = configuration.stages(dataset.train, on: executor)
        try executor.load(dataset.train, as: "train", staged: staged)
        for (index, teacher) in teachers {
            try executor.prepareTeacher(teacher.network, state: teacher.state, at: index)
        }
        try executor.prepareStudent(network, state: initialState(network).state)
        try executor.prepareUpdates(configuration.updateRule())
        try executor.prepareSteps(training: [size], evaluation: [size], objective: configuration.objective)
        let rows = Array(split.training.prefix(size))
        let transform = configuration.trainingTransform(dataset)
        let loader = staged ? BatchLoader(dataset.train, batches: Array(repeating: rows, count: 7)) : nil
        func selection(_ transform: ImageTransform, epoch: Int) throws -> BatchSelection {
            var selection = BatchSelection(
                table: "train", indices: rows, transform: transform, seed: configuration.seed, epoch: epoch)
            selection.pixels = try loader?.next()
            return selection
        }
        let clock = ContinuousClock()
        func timed(_ count: Int, _ step: (Int) throws -> Void) throws -> Double {
            // The first is not counted: kernels are built in it.
            try step(0)
            _ = try executor.takeMetrics()
            let start = clock.now
            for index in 1...count { try step(index) }
            _ = try executor.takeMetrics()
            return clock.now.seconds(since: start) / Double(count)
        }
        let step = try timed(3) { index in
            try executor.trainStep(
                selection(transform, epoch: index + 1),
                objective: configuration.objective,
                update: ParameterUpdate(configuration.updateRule(), number: index + 1))
        }
        let evaluation = try timed(2) { _ in
            try executor.evaluateStep(selection(dataset.transform.evaluation, epoch: 0))
        }
        let all = TrainingOrder.steps(split.training.count, batch: size) * configuration.epochs
        let steps = max(0, all - (resumption?.checkpoint.stepsDone ?? 0))
        let chosenOn = configuration.selection(dataset, split)
        let left = Double(steps) / Double(all)
        let selects = chosenOn == .last ? 0 : Int((Double(configuration.evaluations) * left).rounded(.up))
        let tests = dataset.test.count > 0 ? 2 : 0
        func batches(_ images: Int) -> Double { Double(images) / Double(size) }
        let images =
            batches(chosenOn == .test ? dataset.test.count : split.validation.count) * Double(selects)
            + batches(dataset.test.count) * Double(tests)
        return TrainingEstimate(
            plan: configuration.effectiveDescription(chosenOn: chosenOn) + [
                split.description(dataset),
                "device     \(executor.executorDescription)",
            ],
            steps: steps, secondsPerStep: step, evaluations: selects + tests,
            secondsPerEvaluation: evaluation * images / Double(max(selects + tests, 1)),
            seconds: step * Double(steps) + evaluation * images)
    }
}
