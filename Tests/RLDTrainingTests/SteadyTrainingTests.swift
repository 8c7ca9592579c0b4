import OpenCLRuntime
import RLD
import TestSupport
import Testing

/// The trainer's loop as a device sees it.
@Suite struct SteadyTrainingTests {
    @Test(
        "between two readings of the metrics the trainer allocates, builds and waits for nothing: the host runs ahead of the device",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func loop() throws {
        var configuration = TrainingConfiguration()
        (configuration.epochs, configuration.batchSize, configuration.validation) = (2, 8, 0)
        configuration.logEvery = 1000
        configuration.method = .refinedLogitDistillation(RefinedLogitDistillation())
        let network = try bandData().network("resnet8")
        let engine = try DeviceEngine(TestDevice.device())
        let counters = engine.context.counters
        struct Sample: Equatable {
            var allocations: Int
            var programs: Int
            var synchronisations: Int
        }
        var samples: [(launches: Int, sample: Sample)] = []
        // Asked before each step.
        let result = try Trainer(
            configuration: configuration, executor: DeviceExecutor(engine: engine), dataset: bandData(), network: network,
            teacher: .init(network: network, state: network.initialState(seed: 4)),
            shouldStop: {
                samples.append(
                    (
                        counters.launches,
                        Sample(
                            allocations: counters.allocations, programs: counters.programsBuilt,
                            synchronisations: counters.hostSynchronisations)
                    ))
                return false
            }
        ).run()
        // 100 images; the evaluation at the end asks as well.
        let steps = 13
        try #require(samples.count > 2 * steps && result.lastState.allFinite)
        // From the second step on, and again within the second epoch.
        for range in [1..<steps, steps..<2 * steps] {
            #expect(
                samples[range].allSatisfy { $0.sample == samples[range.lowerBound].sample },
                "\(samples.map(\.sample))")
            #expect(zip(samples[range], samples[range].dropFirst()).allSatisfy { $0.launches < $1.launches })
        }
        #expect(samples[steps].sample.programs == samples[1].sample.programs, "the second epoch builds nothing")
    }
}
