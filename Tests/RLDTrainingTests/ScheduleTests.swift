import RLD
import Testing

struct ScheduleTests {
    private func rate(_ schedule: Schedule, epoch: Int, step: Int = 0, steps: Int = 10, epochs: Int = 240) -> Double {
        schedule.learningRate(base: 0.05, epoch: epoch, step: step, stepsPerEpoch: steps, epochs: epochs)
    }

    @Test("multistep drops once the epoch, counted from 1, is past a milestone")
    func multistep() {
        let schedule = Schedule()
        for (epoch, wanted) in [(1, 0.05), (150, 0.05), (151, 0.005), (180, 0.005), (181, 0.0005), (210, 0.0005), (211, 0.00005)]
        {
            #expect(abs(rate(schedule, epoch: epoch) - wanted) < 1e-12, "epoch \(epoch)")
        }
    }

    @Test("cosine starts at the base, is half way at the half and nears 0, step by step")
    func cosine() {
        let schedule = Schedule(kind: .cosine)
        #expect(rate(schedule, epoch: 1, epochs: 10) == 0.05)
        #expect(abs(rate(schedule, epoch: 6, epochs: 10) - 0.025) < 1e-12)
        #expect(rate(schedule, epoch: 10, step: 9, epochs: 10) < 0.05 * 0.001)
        #expect(rate(schedule, epoch: 1, step: 1, epochs: 10) < 0.05)
        #expect(rate(schedule, epoch: 10, step: 9, epochs: 10) > 0)
    }

    @Test("the warm-up is linear by step and the cosine begins after it")
    func warmup() {
        let schedule = Schedule(kind: .cosine, warmupEpochs: 2)
        #expect(abs(rate(schedule, epoch: 1, step: 0, epochs: 10) - 0.05 / 20) < 1e-12)
        #expect(abs(rate(schedule, epoch: 1, step: 9, epochs: 10) - 0.05 / 2) < 1e-12)
        #expect(abs(rate(schedule, epoch: 2, step: 9, epochs: 10) - 0.05) < 1e-12)
        #expect(rate(schedule, epoch: 3, step: 0, epochs: 10) == 0.05)
        #expect(abs(rate(schedule, epoch: 7, step: 0, epochs: 10) - 0.025) < 1e-12)
        let constant = Schedule(kind: .constant, warmupEpochs: 1)
        #expect(abs(rate(constant, epoch: 1, step: 4) - 0.025) < 1e-12)
        #expect(rate(constant, epoch: 100) == 0.05)
    }

    @Test("step drops after every period")
    func step() {
        let schedule = Schedule(kind: .step, factor: 0.5, period: 3)
        for (epoch, wanted) in [(1, 0.05), (3, 0.05), (4, 0.025), (6, 0.025), (7, 0.0125)] {
            #expect(abs(rate(schedule, epoch: epoch) - wanted) < 1e-12, "epoch \(epoch)")
        }
    }

    @Test("one cycle goes from peak / 25 to the peak to peak / 250,000, as torch's OneCycleLR does")
    func oneCycle() {
        // 2 epochs of 10 steps, rise 0.3: the peak is step 0.3 * 20 - 1 = 5, the end step 19.
        let schedule = Schedule(kind: .onecycle)
        let rates = (0..<20).map { rate(schedule, epoch: $0 / 10 + 1, step: $0 % 10, epochs: 2) }
        #expect(abs(rates[0] - 0.002) < 1e-12)
        #expect(abs(rates[5] - 0.05) < 1e-12)
        #expect(abs(rates[19] - 2e-7) < 1e-15)
        // Step 2 of 5 up: 0.05 + (0.002 - 0.05) / 2 (1 + cos(0.4 pi)); step 12 is half way down.
        #expect(abs(rates[2] - (0.05 - 0.024 * (1 + 0.30901699437494745))) < 1e-12)
        #expect(abs(rates[12] - (2e-7 + (0.05 - 2e-7) / 2)) < 1e-12)
    }
}
