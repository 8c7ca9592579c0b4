import RLD
import TestSupport
import Testing

struct ConfigurationFuzzTests {
    private func read(_ text: String) throws(InputError) {
        var reader = ConfigurationReader()
        try reader.read(yaml: text, source: "mutant.yaml")
        _ = try reader.finish()
    }

    @Test("a hundred thousand mutants of a configuration are read or refused with a clean error")
    func mutants() {
        let good = Array(
            """
            model: resnet8
            data: "mnist:/a b"
            limit: 100
            optimizer: {learning_rate: 0.1, nesterov: true}
            schedule:
              kind: multistep
              milestones: [2, 3]
            epochs: 5
            method: {id: rld, beta: 4}
            """.utf8)
        let letters = Array("0123456789-.{}[],:#&*!|>'\"%@ \n\t~eEyn?".utf8)
        fuzz(100_000) { seed in
            mutated(good, seed: seed, alphabet: letters)
        } parse: { bytes throws(InputError) in
            try read(String(decoding: bytes, as: UTF8.self))
        }
    }

    @Test("nesting without end, aliases of aliases and huge numbers are refused")
    func absurdities() {
        func refused(_ text: String) {
            let error = #expect(throws: InputError.self) { try read(text) }
            #expect((error?.description.count ?? 0) < 1500)
        }
        refused("a: " + String(repeating: "[", count: 200_000))
        refused("a: " + String(repeating: "[", count: 200_000) + String(repeating: "]", count: 200_000))
        refused((0..<5000).map { String(repeating: " ", count: $0) + "a:\n" }.joined())
        refused(String(repeating: "- ", count: 100_000))
        let bomb = (1...40).map { "a\($0): &x\($0) [*x\($0 - 1), *x\($0 - 1)]" }.joined(separator: "\n")
        refused("a0: &x0 [1, 1]\n" + bomb)
        refused("epochs: 1e400")
        refused("epochs: 99999999999999999999")
        refused("schedule: {milestones: [9223372036854775808]}")
        refused("validation: 1e30")
        for key in [
            "epochs", "batch_size", "limit", "log_every", "evaluate_every", "early_stopping", "optimizer.accumulation",
            "schedule.period", "schedule.warmup_epochs", "checkpoint.every", "checkpoint.keep", "teacher.cache_draws",
        ] {
            for number in ["9223372036854775807", "-9223372036854775808", "1000000001"] {
                var reader = ConfigurationReader()
                let error = #expect(throws: InputError.self) {
                    try reader.set(key, to: number)
                    _ = try reader.finish()
                }
                #expect(error?.subject == key && error?.problem.contains(number) == true)
            }
        }
    }

    @Test(
        "the largest numbers are refused, or a run with them ends",
        arguments: ["9223372036854775807", "-9223372036854775808", "1e30", "1000000000", "1e-300"])
    func extremes(number: String) throws {
        for key in ConfigurationReader.keys {
            var reader = ConfigurationReader(bandConfiguration(epochs: 1))
            do {
                try reader.set(key, to: number)
                let configuration = try reader.finish().configuration
                // A run of so many epochs ends when it is stopped.
                var steps = 0
                _ = try Trainer(
                    configuration: configuration, executor: FakeExecutor(), dataset: bandData(),
                    shouldStop: {
                        steps += 1
                        return steps > 12
                    }
                ).run()
            } catch is InputError {
            } catch is TrainingError {}
        }
    }
}
