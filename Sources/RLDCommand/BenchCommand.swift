import ArgumentParser
import Foundation
import RLD
import RLDBenchmarks

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Times kernels on a device, as a share of what it can do.",
        discussion: """
            Groups: losses (every method at sizes from 64x100 to 1024x151936; kd-unfused and rld-unfused are the same losses
            composed of softmax, KL divergence, mask and confidence kernels, up to 2^24 logits, as mlkd);
            step (an RLD training step and its parts: teacher forward, student forward, loss, backward, update, step).
            Each case is checked against the reference before it is timed. Times are medians by device events, wall is from \
            the first enqueue to the end on the host; the copy bandwidth is measured in the same run.

            Examples: rld bench losses --only rld --shapes 512x1000,8192x1000
            rld bench step --teacher resnet32x4 --student resnet8x4 --batch 64 --kernels --trace step.json
            """)

    private static let groups = ["losses", "step"]

    @Argument(help: "Group of cases: losses, step.", completion: .list(groups))
    var group: String

    @Option(help: "Cases by name, separated by commas; all by default.")
    var only: String?

    @Option(help: "Shapes ROWSxCLASSES, separated by commas; the group's own by default.")
    var shapes: String?

    @Option(help: "Teacher of a step, by id.")
    var teacher = "resnet32x4"

    @Option(help: "Student of a step, by id.")
    var student = "resnet8x4"

    @Option(help: "Images of a step.")
    var batch = 64

    @Option(
        help: "Write when every launch of the last timed runs was queued and ran, for Perfetto or chrome://tracing.",
        completion: .file(extensions: ["json"]))
    var trace: String?

    @Flag(help: "Print the time of every kernel in the last timed run of each case.")
    var kernels = false

    @Option(help: "OpenCL device by index, platform:device or part of its name.")
    var device: String?

    @Option(help: "Kernels to time: cpu or gpu; by default those for the device.")
    var profile: String?

    @Flag(help: "A few short runs for a look; the figures scatter.")
    var quick = false

    @Flag(help: "Leave out the comparison with the reference, whose time and memory are its own. Not with --record.")
    var unchecked = false

    @Flag(help: "Append the results to benchmarks/results/GROUP.csv.")
    var record = false

    @Option(help: "Append the results to this file.", completion: .file(extensions: ["csv"]))
    var csv: String?

    private static let table = TextTable([
        .init("case", width: 15), .init("shape", width: 24), .init("device us", width: 11, alignment: .right),
        .init("p20 .. p80", width: 21, alignment: .right), .init("wall us", width: 11, alignment: .right),
        .init("GB/s", width: 7, alignment: .right), .init("of copy", width: 8, alignment: .right),
        .init("GFLOP/s", width: 8, alignment: .right), .init("MiB", width: 6, alignment: .right),
        .init("runs", width: 5, alignment: .right), .init("error/bound", width: 11, alignment: .right),
        .init("setup s", width: 7, alignment: .right),
    ])

    func run() throws {
        guard !unchecked || !record else { throw InputError("--unchecked", "results are not recorded") }
        let cases = try cases()
        let session = try BenchmarkSession(
            Device.select(device), profile: try profile.map(knownProfile), effort: quick ? .quick : .full)
        Output.error(
            "device: \(session.device.listing), driver \(session.device.driverVersion), \(session.profile.rawValue) kernels")
        let copy = try cases.contains { $0.bytes > 0 } ? session.copyBandwidth() : nil
        if let copy { Output.line("copy bandwidth: \(NumberText.fixed(copy, decimals: 1)) GB/s (256 MB buffers)") }
        Output.line(Self.table.header)
        var results: [BenchmarkResult] = []
        do {
            for benchmark in cases {
                let result = try session.run(benchmark, checked: !unchecked)
                results.append(result)
                Output.line(Self.table.row(row(result, copy: copy)))
                if kernels { printKernels(result) }
            }
        } catch let error as BenchmarkError {
            throw CommandEnd(code: 1, message: "error: \(error)")
        }
        for result in results {
            if let gap = result.gap { Output.line("missed: \(result.name) \(result.shape): \(gap)") }
        }
        if let trace {
            try LaunchTrace.chromeTrace(results.map { ($0.name, $0.records) }).write(to: URL(fileURLWithPath: trace))
            Output.error("trace in \(trace)")
        }
        if let path = csv ?? (record ? "benchmarks/results/\(group).csv" : nil) {
            let record = BenchmarkRecord(session: session, parameters: "not used")
            try BenchmarkRecord.append(
                (copy.map { [record.copyRow($0)] } ?? []) + results.flatMap { record.rows($0, copy: copy) }, to: path)
            Output.error("recorded in \(path)")
        }
    }

    private func row(_ result: BenchmarkResult, copy: Double?) -> [String] {
        func microseconds(_ value: Double) -> String { NumberText.fixed(value * 1e6, decimals: value < 1e-3 ? 1 : 0) }
        let bandwidth = result.bandwidth?.p50
        return [
            result.provider == "rld" ? result.name : "\(result.name), \(result.provider.dropFirst(4))", result.shape,
            microseconds(result.device.p50),
            "\(microseconds(result.device.p20)) .. \(microseconds(result.device.p80))", microseconds(result.wall.p50),
            bandwidth.map { NumberText.fixed($0, decimals: 2) } ?? "",
            bandwidth.flatMap { b in copy.map { NumberText.fixed(100 * b / $0, decimals: 1) + " %" } } ?? "",
            result.rate.map { NumberText.fixed($0.p50, decimals: 1) } ?? "", "\(result.memory >> 20)",
            "\(result.runs)", result.worstError.map { NumberText.fixed($0, decimals: 3) } ?? "unchecked",
            NumberText.fixed(result.setup, decimals: 1),
        ]
    }

    private func printKernels(_ result: BenchmarkResult) {
        let times = LaunchTrace.byKernel(result.records)
        let total = times.reduce(0) { $0 + $1.seconds }
        for time in times {
            let share = NumberText.fixed(100 * time.seconds / total, decimals: 1)
            Output.line(
                "    \(NumberText.fixed(time.seconds * 1e6, decimals: 0)) us, \(share) %, \(time.launches) launches: \(time.kernel)"
            )
        }
    }

    private func cases() throws -> [any BenchmarkCase] {
        switch group {
        case "losses": return try lossCases()
        case "step": return try stepCases()
        default: throw InputError.unknown("group", group, known: Self.groups)
        }
    }

    private func stepCases() throws -> [any BenchmarkCase] {
        guard batch > 0 else { throw InputError("batch \(batch)", "is not positive") }
        let all = StepBenchmark.Part.allCases
        let parts = try names(only).map { names in
            try names.map { name in
                guard let part = StepBenchmark.Part(rawValue: name) else {
                    throw InputError.unknown("case", name, known: all.map(\.rawValue))
                }
                return part
            }
        }
        return try (parts ?? all).map { try StepBenchmark($0, teacher: teacher, student: student, batch: batch) }
    }

    private func lossCases() throws -> [any BenchmarkCase] {
        let sizes = try names(shapes).map { try $0.map(size) } ?? LossBenchmark.shapes
        let unfused = UnfusedLoss.methodIDs.map { "\($0)-unfused" }
        let known = Method.ids + unfused
        let chosen = names(only)
        for name in chosen ?? [] where !known.contains(name) { throw InputError.unknown("case", name, known: known) }
        return try sizes.flatMap { rows, classes in
            try (chosen ?? known).compactMap { name -> (any BenchmarkCase)? in
                let isUnfused = unfused.contains(name)
                let id = isUnfused ? String(name.dropLast("-unfused".count)) : name
                let benchmark = LossBenchmark(try Method.make(id: id).method, rows: rows, classes: classes)
                // By default no larger than what fits and can be checked.
                let limit = isUnfused ? UnfusedLossBenchmark.largest : id == "mlkd" ? LossBenchmark.largestAlignment : Int.max
                guard chosen != nil || rows * classes <= limit else { return nil }
                return isUnfused ? UnfusedLossBenchmark(benchmark) : benchmark
            }
        }
    }

    private func names(_ list: String?) -> [String]? { list?.split(separator: ",").map(String.init) }

    private func size(_ text: String) throws(InputError) -> (Int, Int) {
        let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let rows = parts[0], let classes = parts[1], rows > 0, classes > 0, rows < 1 << 31,
            classes < 1 << 24
        else { throw InputError("shape '\(text)'", "is not ROWSxCLASSES", advice: "for example 512x1000") }
        return (rows, classes)
    }

    private func knownProfile(_ name: String) throws(InputError) -> KernelProfile {
        guard let known = KernelProfile(rawValue: name) else {
            throw .unknown("profile", name, known: KernelProfile.allCases.map(\.rawValue))
        }
        return known
    }
}
