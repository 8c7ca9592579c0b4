import OpenCLRuntime
import RLDDatasets
import RLDExecution
import RLDGraph
import RLDMethods
import RLDTraining

/// Whole epochs of RLD training as a user runs them: batches put together on the device, steps, metrics read now and then, the
/// weights taken at the end of each epoch. Images are noise in memory; launches are not timed, as in training.
package struct EpochBenchmark {
    package let step: StepBenchmark
    /// Steps of an epoch.
    package let steps: Int
    package let epochs: Int

    package init(_ step: StepBenchmark, steps: Int, epochs: Int) { (self.step, self.steps, self.epochs) = (step, steps, epochs) }

    /// - Throws: `BenchmarkError.wrong` if a step does not give what the reference gives.
    /// - Parameter checked: compare a step with the reference first.
    package func run(in session: BenchmarkSession, checked: Bool = true) throws -> BenchmarkResult {
        let worst = checked ? try step.prepare(on: session.engine).check() : nil
        if let worst, !(worst <= 1) { throw BenchmarkError.wrong("epoch \(step.shape)", worst) }

        let clock = ContinuousClock()
        let started = clock.now
        let engine = try DeviceEngine(
            session.device, profile: session.profile, tuning: session.engine.tuning, precision: session.engine.precision)
        let counters = engine.context.counters
        let images = SyntheticImages.table(
            count: steps * step.batch, shape: step.student.inputShape, classes: step.student.classes)
        var empty = images
        (empty.pixels, empty.labels) = ([], [])
        var configuration = TrainingConfiguration()
        (configuration.epochs, configuration.batchSize, configuration.validation) = (epochs + 1, step.batch, 0)
        configuration.method = StepBenchmark.method
        (configuration.precision, configuration.teacherStorage) = (engine.precision, step.teacherStorage)
        let teacher = try step.states(logitScale: step.logitScale(on: engine)).teacher
        var ends: [ContinuousClock.Instant] = []
        var launches: [Int] = []
        let result = try Trainer(
            configuration: configuration, executor: DeviceExecutor(engine: engine, teacherStorage: step.teacherStorage),
            dataset: Dataset(name: "noise", path: "", train: images, test: empty, transform: StepBenchmark.transform),
            network: step.student, teacher: .init(network: step.teacher, state: teacher),
            observer: { event in
                guard case .epoch = event else { return }
                ends.append(clock.now)
                launches.append(counters.launches)
            }
        ).run()
        guard result.lastState.allFinite, ends.count == epochs + 1 else {
            throw BenchmarkError.wrong("epoch \(step.shape)", .nan)
        }
        // The first epoch builds kernels and plans.
        let times = Spread(zip(ends.dropFirst(), ends).map { seconds($1.duration(to: $0)) })
        return BenchmarkResult(
            name: "epoch", provider: "rld", mode: step.mode, shape: step.shape, runs: epochs,
            setup: seconds(started.duration(to: ends[0])) - times.p50, building: counters.buildingSeconds, worstError: worst,
            device: times, wall: times, launches: (launches[1] - launches[0]) / steps, memory: counters.peakBytes, records: [],
            images: images.count)
    }
}
