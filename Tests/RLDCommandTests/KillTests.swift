import Foundation
import RLD
import TestSupport
import Testing

/// The program killed without warning, and told to stop.
struct KillTests {
    private func arguments(_ folder: TemporaryFolder, out: String, device: [String] = [], epochs: Int) throws -> [String] {
        [
            "train", "--model", "resnet8", "--data", try folder.images(train: 56), "--epochs", "\(epochs)", "--batch-size", "16",
            "--validation", "8", "--log-every", "2", "--checkpoint-every", "1", "--set", "schedule.kind=cosine", "--quiet",
            "--out",
            folder.path + "/" + out, "--resume",
        ] + device
    }

    private func temporaries(_ folder: String) -> [String] {
        ((try? FileManager.default.contentsOfDirectory(atPath: folder + "/checkpoints")) ?? []).filter { $0.hasSuffix(".tmp") }
    }

    /// metrics.jsonl without what a clock decides.
    private func metrics(_ path: String) throws -> [[String: String]] {
        try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8).split(separator: "\n").map { line in
            let object = try JSONSerialization.jsonObject(with: Data(line.utf8)) as? [String: Any] ?? [:]
            return (object.filter { !["seconds", "seconds_left", "images_per_second"].contains($0.key) }).mapValues { value in
                // With sorted keys: a dictionary's own text has another order in each process.
                let data =
                    (try? JSONSerialization.data(withJSONObject: value, options: [.fragmentsAllowed, .sortedKeys])) ?? Data()
                return String(decoding: data, as: UTF8.self)
            }
        }
    }

    @Test(
        "killed at 20 moments, among them during a write, a run ends with the same weights to the last bit",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func kills() throws {
        let folder = TemporaryFolder()
        let epochs = 12
        let started = ContinuousClock.now
        let whole = try Program.run(try arguments(folder, out: "whole", epochs: epochs))
        #expect(whole.code == 0, "\(whole.error)")
        // Waits scale with the machine: much longer ones would find the run at its end.
        let longest = max(30_000, UInt32(started.duration(to: .now) / .microseconds(4)))
        let expected = try Data(contentsOf: URL(fileURLWithPath: folder.path + "/whole/last.safetensors"))

        var kills = 0
        var duringWrite = 0
        var attempt = 0
        var random = SystemRandomNumberGenerator()
        while kills < 20 || duringWrite == 0, attempt < 150 {
            attempt += 1
            // A new run when the last one got through.
            let out = "killed\(kills / 7)"
            let path = folder.path + "/" + out
            let waitsForWrite = attempt % 2 == 0
            let delay = UInt32.random(in: 0..<(attempt % 3 == 0 ? longest : longest / 5), using: &random)
            let result = try Program.run(try arguments(folder, out: out, epochs: epochs)) { process in
                if waitsForWrite {
                    for _ in 0..<30_000 where process.isRunning && temporaries(path).isEmpty { usleep(100) }
                } else {
                    let before = (try? metrics(path).count) ?? 0
                    for _ in 0..<300 where process.isRunning && ((try? metrics(path).count) ?? 0) <= before { usleep(5_000) }
                    usleep(delay)
                }
                if process.isRunning { kill(process.processIdentifier, SIGKILL) }
            }
            guard result.code != 0 else {
                #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/last.safetensors")) == expected)
                try FileManager.default.removeItem(atPath: path)
                continue
            }
            #expect(result.code == 9, "\(result.error)")
            kills += 1
            if !temporaries(path).isEmpty { duringWrite += 1 }
        }
        #expect(kills >= 20 && duringWrite > 0, "\(kills) kills, \(duringWrite) during a write, \(attempt) attempts")
        for out in Set((0..<20).map { "killed\($0 / 7)" }) where FileManager.default.fileExists(atPath: folder.path + "/" + out) {
            let last = try Program.run(try arguments(folder, out: out, epochs: epochs))
            #expect(last.code == 0, "\(last.error)")
            let path = folder.path + "/" + out
            #expect(try Data(contentsOf: URL(fileURLWithPath: path + "/last.safetensors")) == expected)
            let (found, lines) = (try metrics(path), try metrics(folder.path + "/whole"))
            #expect(found == lines, "\(found.count) lines, expected \(lines.count)")
            #expect(temporaries(path).isEmpty)
        }
    }

    @Test("a terminal that is closed saves as SIGTERM does; a reader of the progress that leaves ends nothing")
    func closedTerminal() throws {
        let folder = TemporaryFolder()
        let command = try arguments(folder, out: "closed", device: ["--device", "reference"], epochs: 4).filter {
            $0 != "--quiet"
        }
        // Who runs the tests may ignore the signal, which is handed down; who blocks it shall not keep it from the program.
        let handed = ["--default-signal=HUP", "--block-signal=HUP"]
        let closed = try Program.run(handed + [Program.path] + command, program: "/usr/bin/env") { process in
            for _ in 0..<4000
            where process.isRunning && !FileManager.default.fileExists(atPath: folder.path + "/closed/last.safetensors") {
                usleep(5_000)
            }
            kill(process.processIdentifier, SIGHUP)
        }
        #expect(closed.code == 130 && closed.error.contains("--resume goes on from here"), "\(closed.error)")
        let rest = try Program.run(command + ["--dry-run", "--json"])
        let whole = try Program.run(
            try arguments(folder, out: "none", device: ["--device", "reference"], epochs: 4).filter { $0 != "--resume" }
                + ["--dry-run", "--json"])
        func steps(_ result: Program.Result) throws -> Int {
            #expect(result.code == 0, "\(result.error)")
            let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
            return object?["steps"] as? Int ?? -1
        }
        #expect(try steps(whole) == 12 && (1..<12).contains(steps(rest)), "what is left of a run is what it plans")

        let shell =
            "trap '' HUP; '\(Program.path)' \(command.map { "'\($0)'" }.joined(separator: " ")) 2>&1 | head -n 1; exit ${PIPESTATUS[0]}"
        let piped = try Program.run(["-c", shell], program: "/bin/bash")
        #expect(piped.code == 0 && FileManager.default.fileExists(atPath: folder.path + "/closed/result.json"), "\(piped.error)")
        let full = try Program.run(["-c", "'\(Program.path)' models --json > /dev/full"], program: "/bin/bash")
        #expect(full.code == 1 && full.error.contains("standard output cannot be written"), "\(full.error)")
    }

    @Test("SIGTERM saves a full checkpoint and exits 130; a finished run says its result again")
    func stop() throws {
        let folder = TemporaryFolder()
        let device = ["--device", "reference"]
        let whole = try Program.run(try arguments(folder, out: "whole", device: device, epochs: 4))
        #expect(whole.code == 0, "\(whole.error)")
        let command = try arguments(folder, out: "stopped", device: device, epochs: 4)
        let stopped = try Program.run(command) { process in
            for _ in 0..<4000
            where process.isRunning && !FileManager.default.fileExists(atPath: folder.path + "/stopped/last.safetensors") {
                usleep(5_000)
            }
            process.terminate()
        }
        #expect(stopped.code == 130, "\(stopped.error)")
        #expect(stopped.error.contains("--resume goes on from here"))
        let resumed = try Program.run(command)
        #expect(resumed.code == 0, "\(resumed.error)")
        func weights(_ out: String) throws -> Data {
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(out)/last.safetensors"))
        }
        #expect(try weights("stopped") == weights("whole"))
        let again = try Program.run(command)
        #expect(again.code == 0 && again.output == resumed.output, "\(again.output) \(resumed.output)")

        let changed = try Program.run(command + ["--learning-rate", "0.3"])
        #expect(changed.code == 2 && changed.error.contains("--allow-change optimizer.learning_rate"), "\(changed.error)")
    }

    @Test(
        "a run that is stopped and resumed after the device was tuned goes on with the tuning it began with, to the last bit",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func tunedBetween() throws {
        let folder = TemporaryFolder()
        func entry(_ rows: Int) throws -> [String: String] {
            let tiles = ["forward_narrow": rows, "forward_wide": rows, "weights_narrow": 4, "weights_wide": 4]
            let object: [String: Any] = [
                "version": 1, "device": "", "platform": "", "driver": "", "clblast": "", "created": "2026-11-25T00:00:00Z",
                "purpose": "a test", "tuning": ["clblast": [String: Any](), "tiles": tiles],
            ]
            let text = String(decoding: try JSONSerialization.data(withJSONObject: object), as: UTF8.self)
            return ["RLD_TUNING": try folder.write(text, "tuning\(rows).json")]
        }
        let (first, second) = (try entry(4), try entry(8))
        let whole = try Program.run(try arguments(folder, out: "whole", epochs: 8), environment: first)
        #expect(whole.code == 0, "\(whole.error)")
        let command = try arguments(folder, out: "stopped", epochs: 8)
        let stopped = try Program.run(command, environment: first) { process in
            for _ in 0..<4000
            where process.isRunning && !FileManager.default.fileExists(atPath: folder.path + "/stopped/last.safetensors") {
                usleep(1_000)
            }
            process.terminate()
        }
        #expect(stopped.code == 130, "\(stopped.error)")
        let resumed = try Program.run(command, environment: second)
        #expect(resumed.code == 0, "\(resumed.error)")
        func weights(_ out: String) throws -> Data {
            try Data(contentsOf: URL(fileURLWithPath: "\(folder.path)/\(out)/last.safetensors"))
        }
        #expect(try weights("stopped") == weights("whole"))
        // Tiles do not change what is summed: that the first tuning was used, before and after, only the log says.
        func tunings(_ out: String) throws -> [String] {
            try String(contentsOfFile: "\(folder.path)/\(out)/log.txt", encoding: .utf8).split(separator: "\n")
                .filter { $0.hasPrefix("device ") }.map { String($0.suffix(8)) }
        }
        let other = try Program.run(try arguments(folder, out: "other", epochs: 1), environment: second)
        #expect(other.code == 0, "\(other.error)")
        let (before, elsewhere) = (try tunings("whole"), try tunings("other"))
        #expect(try tunings("stopped") == before + before && before.count == 1 && before != elsewhere, "\(before) \(elsewhere)")
    }

    @Test("a disk that is full ends the run with a clear line; the checkpoint before is intact")
    func fullDisk() throws {
        let folder = TemporaryFolder()
        let device = ["--device", "reference"]
        #expect(try Program.run(try arguments(folder, out: "run", device: device, epochs: 1)).code == 0)
        let checkpoints = folder.path + "/run/checkpoints"
        let before = try FileManager.default.contentsOfDirectory(atPath: checkpoints).sorted()
        let more = try arguments(folder, out: "run", device: device, epochs: 2) + ["--allow-change", "epochs"]
        // No file may grow beyond 128 KiB: the metrics fit, the weights do not.
        let shell = ["-c", "ulimit -f 128; exec \"$@\"", "sh", Program.path] + more
        let full = try Program.run(shell, program: "/bin/bash")
        #expect(full.code == 2 && full.errorLines.count == 1, "\(full.error)")
        #expect(full.error.contains("cannot be written: File too large"), "\(full.error)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: checkpoints).sorted() == before)
        let resumed = try Program.run(more)
        #expect(resumed.code == 0, "\(resumed.error)")
        let whole = try arguments(folder, out: "whole", device: device, epochs: 2)
        #expect(try Program.run(whole).code == 0)
        // The schedule stretches over the epochs, so only the epoch that both runs share may differ: compare what is comparable.
        #expect(try metrics(folder.path + "/run").count == metrics(folder.path + "/whole").count)
    }
}
