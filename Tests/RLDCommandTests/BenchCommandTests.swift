import Foundation
import RLDBenchmarks
import TestSupport
import Testing

@Suite struct BenchCommandTests {
    @Test("bench checks, times and appends rows", .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func bench() throws {
        let folder = TemporaryFolder()
        let csv = folder.path + "/losses.csv"
        for _ in 0..<2 {
            let result = try Program.run(["bench", "losses", "--quick", "--only", "rld,ce", "--shapes", "3x17", "--csv", csv])
            #expect(result.code == 0, "\(result.error)")
            #expect(result.output.contains("copy bandwidth") && result.output.contains("3x17"))
        }
        let lines = try String(contentsOfFile: csv, encoding: .utf8).split(separator: "\n")
        #expect(lines.first == Substring(BenchmarkRecord.columns.joined(separator: ",")))
        #expect(lines.count == 1 + 2 * (1 + 2 * 8))
        #expect(lines.count { $0.hasPrefix("rld,") && $0.contains("3x17") } == 16)
        #expect(lines.dropFirst().allSatisfy { $0.contains(" threads)") }, "one processor is told from another of its name")
    }

    /// What was timed before a run ends is recorded, and what nothing was compared with is marked.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func rowsAreRecordedOneByOne() throws {
        let folder = TemporaryFolder()
        let csv = folder.path + "/losses.csv"
        let arguments = ["bench", "losses", "--quick", "--only", "rld,ce", "--shapes", "3x17", "--unchecked"]
        #expect(try Program.run(arguments + ["--record"]).code == 2)
        #expect(try Program.run(arguments + ["--csv", csv]).code == 0)
        let lines = try String(contentsOfFile: csv, encoding: .utf8).split(separator: "\n").dropFirst()
        #expect(lines.first?.hasPrefix("copy,") == true, "what shares are of stands before them")
        #expect(lines.dropFirst().count == 16 && lines.dropFirst().allSatisfy { $0.contains(", unchecked\"") })
    }

    @Test(
        "bench step times a step and its parts, and writes a trace of them",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func step() throws {
        let folder = TemporaryFolder()
        let trace = folder.path + "/trace.json"
        let result = try Program.run([
            "bench", "step", "--quick", "--teacher", "resnet8", "--student", "resnet8", "--batch", "3", "--only", "loss,step",
            "--kernels",
            "--trace", trace,
        ])
        #expect(result.code == 0, "\(result.error)")
        #expect(result.output.contains("resnet8->resnet8 3") && result.output.contains("launches: sgd_update"))

        struct File: Decodable {
            struct Event: Decodable {
                var name: String
                var ph: String
                var tid: Int
                var ts: Double?
                var dur: Double?
            }
            var traceEvents: [Event]
        }
        let events = try JSONDecoder().decode(File.self, from: Data(contentsOf: URL(fileURLWithPath: trace))).traceEvents
        let rows = Dictionary(grouping: events.filter { $0.ph == "X" }, by: \.tid)
        #expect(
            rows.count == 2 && rows[1]?.map(\.name) == rows[2]?.map(\.name),
            "every launch is on the host's row and on the device's")
        let device = try #require(rows[2])
        #expect(device.contains { $0.name.hasPrefix("convolution") } && device.contains { $0.name == "rld_loss_rows_fused" })
        let ends = device.map { ($0.ts ?? -1) + ($0.dur ?? -1) }
        // An in-order queue: each launch begins when the one before it has ended.
        #expect(zip(ends, device.dropFirst()).allSatisfy { $0 <= ($1.ts ?? -1) + 1e-3 })
    }

    @Test(
        "each group runs its cases and records what it measures",
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"),
        arguments: [
            (["gemm", "--shapes", "16x8x24", "--only", "nt"], ["nt", "16x8x24"], ["rate", "share of peak"]),
            (
                ["convolution", "--student", "resnet8", "--teacher", "resnet8", "--batch", "2", "--only", "weight gradient"],
                ["convolution weight gradient", "2x16x32x32 to 16, 3x3"], ["rate", "share of peak"]
            ),
            (
                ["elementwise", "--student", "resnet8", "--batch", "2", "--only", "optimizer,augmentation"],
                ["optimizer adamw", "augmentation, crop and flip"], ["bandwidth", "share of copy"]
            ),
            (
                ["epoch", "--teacher", "resnet8", "--student", "resnet8", "--batch", "2"], ["epoch", "resnet8->resnet8 2"],
                ["images"]
            ),
        ])
    func groups(arguments: [String], shown: [String], metrics: [String]) throws {
        let folder = TemporaryFolder()
        let csv = folder.path + "/rows.csv"
        let result = try Program.run(["bench"] + arguments + ["--quick", "--csv", csv])
        #expect(result.code == 0, "\(result.error)")
        for word in shown { #expect(result.output.contains(word), "\(result.output)") }
        let text = try String(contentsOfFile: csv, encoding: .utf8)
        for metric in metrics + ["launches", "memory", "setup"] { #expect(text.contains(",\(metric),"), "\(metric)") }
        #expect(text.contains(shown[0]))
    }

    @Test(
        "bench pictures reads the files of a data set, and says which option it lacks",
        .enabled(if: TestDevice.enabled, "no device"))
    func pictures() throws {
        let folder = TemporaryFolder()
        for (label, name) in [("a", "wide.jpg"), ("a", "tall.png"), ("b", "grey.jpg"), ("b", "small.png")] {
            try FileManager.default.createDirectory(atPath: "\(folder.path)/set/\(label)", withIntermediateDirectories: true)
            try FileManager.default.copyItem(
                atPath: Goldens.path("datasets/\(name)"), toPath: "\(folder.path)/set/\(label)/\(name)")
        }
        let arguments = [
            "bench", "pictures", "--batch", "2", "--image-size", "16", "--quick", "--csv", folder.path + "/rows.csv",
        ]
        let result = try Program.run(arguments + ["--data", "folder:\(folder.path)/set"])
        #expect(result.code == 0 && result.output.contains("2x3x16x16"), "\(result.error)")
        #expect(try String(contentsOfFile: folder.path + "/rows.csv", encoding: .utf8).contains("reading,"))
        #expect(try Program.run(arguments).error.contains("--data: is missing"))
        #expect(try Program.run(arguments + ["--data", folder.images()]).error.contains("is not made of picture files"))
    }

    @Test("bench names what it does not know and refuses a file of other columns")
    func badInput() throws {
        for (arguments, word) in [
            (["bench", "looses"], "losses"), (["bench", "losses", "--only", "rdl"], "rld"),
            (["bench", "losses", "--shapes", "3by4"], "3by4"),
            (["bench", "gemm", "--shapes", "3x4"], "MxNxK"), (["bench", "gemm", "--only", "nx"], "nn"),
            (["bench", "convolution", "--networks", "resnet9"], "resnet8"),
            (["bench", "elementwise", "--only", "pool"], "max pool"),
            (["bench", "epoch", "--only", "epochs"], "epoch"), (["bench", "gemm", "--record", "--unchecked"], "--unchecked"),
            (["bench", "step", "--only", "stepp"], "step"), (["bench", "step", "--student", "resnet9"], "resnet8"),
            (["bench", "pictures"], "--data"),
            (["bench", "step", "--batch", "0"], "--batch 0"), (["bench", "elementwise", "--batch", "\(Int.max)"], "1...1048576"),
            (["bench", "epoch", "--steps", "\(1 << 40)"], "1...1048576"),
            (["bench", "epoch", "--steps", "1000000", "--batch", "1000000"], "1000000000000 images"),
        ] {
            let result = try Program.run(arguments)
            #expect(result.code == 2 && result.error.contains(word), "\(result.error)")
        }
        let folder = TemporaryFolder()
        for (option, name) in [("--trace", "missing/t.json"), ("--csv", "missing/rows.csv")] {
            let result = try Program.run(["bench", "gemm", option, "\(folder.path)/\(name)"])
            #expect(result.code == 2 && result.error.contains("\(name): cannot be written") && result.output.isEmpty)
        }
        let file = try folder.write("a,b\n1,2\n", "other.csv")
        let other = try Program.run(["bench", "gemm", "--csv", file])
        #expect(other.code == 2 && other.error.contains("has other columns") && other.output.isEmpty, "\(other.error)")
        #expect(throws: (any Error).self) { try BenchmarkRecord.append([["x"]], to: file) }
        #expect(try String(contentsOfFile: file, encoding: .utf8) == "a,b\n1,2\n")
    }

    @Test(
        "an option that says nothing about the group is refused, with the groups that it goes with",
        arguments: [
            ("--shapes 3x4", ["step", "convolution"], "losses and gemm"),
            ("--networks paper", ["step", "losses"], "convolution"),
            ("--teacher resnet8", ["losses", "elementwise"], "convolution, step and epoch"),
            ("--student resnet8", ["gemm", "pictures"], "convolution, elementwise, step and epoch"),
            ("--data cifar10", ["step", "losses"], "pictures"), ("--image-size 8", ["epoch"], "pictures"),
            ("--batch 3", ["losses", "gemm"], "convolution, elementwise, step, epoch and pictures"),
            ("--steps 3", ["step", "pictures"], "epoch"), ("--teacher-storage half", ["convolution"], "step and epoch"),
            ("--precision tf32", ["losses", "pictures"], "gemm, convolution, step and epoch"),
        ])
    func optionsOfOtherGroups(option: String, groups: [String], takers: String) throws {
        for group in groups {
            let result = try Program.run(["bench", group] + option.split(separator: " ").map(String.init))
            #expect(
                result.code == 2 && result.error.contains("says nothing about \(group); it goes with \(takers)"),
                "\(result.error)")
        }
    }

    @Test func targetsSayWhatIsMissing() {
        let target = BenchmarkTarget(bandwidth: 10, share: 0.6)
        #expect(target.gap(bandwidth: 18, copy: 30) == nil)
        #expect(target.gap(bandwidth: 9, copy: 30)?.contains("18.0 GB/s wanted: 50.0 % short") == true)
        #expect(BenchmarkTarget(bandwidth: 10).gap(bandwidth: 8, copy: 30) == "8.0 GB/s, 10.0 GB/s wanted: 20.0 % short")
    }
}
