import ArgumentParser
import RLD
import RLDBenchmarks

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Times kernels on a device, as a share of what it can do.",
        discussion: """
            Groups: losses (every method at sizes from 64x100 to 1024x151936; kd-unfused and rld-unfused are the same losses
            composed of softmax, KL divergence, mask and confidence kernels, up to 2^24 logits, as mlkd).
            Each case is checked against the reference before it is timed. Times are medians by device events, wall is from \
            the first enqueue to the end on the host; the copy bandwidth is measured in the same run.

            Example: rld bench losses --only rld --shapes 512x1000,8192x1000
            """)

    @Argument(help: "Group of cases: losses.", completion: .list(["losses"]))
    var group: String

    @Option(help: "Cases by name, separated by commas; all by default.")
    var only: String?

    @Option(help: "Shapes ROWSxCLASSES, separated by commas; the group's own by default.")
    var shapes: String?

    @Option(help: "OpenCL device by index, platform:device or part of its name.")
    var device: String?

    @Option(help: "Kernels to time: cpu or gpu; by default those for the device.")
    var profile: String?

    @Flag(help: "A few short runs for a look; the figures scatter.")
    var quick = false

    @Flag(help: "Append the results to benchmarks/results/GROUP.csv.")
    var record = false

    @Option(help: "Append the results to this file.", completion: .file(extensions: ["csv"]))
    var csv: String?

    private static let table = TextTable([
        .init("case", width: 12), .init("shape", width: 12), .init("device us", width: 11, alignment: .right),
        .init("p20 .. p80", width: 21, alignment: .right), .init("wall us", width: 11, alignment: .right),
        .init("GB/s", width: 7, alignment: .right), .init("of copy", width: 8, alignment: .right),
        .init("runs", width: 5, alignment: .right), .init("error/bound", width: 11, alignment: .right),
        .init("setup s", width: 7, alignment: .right),
    ])

    func run() throws {
        guard group == "losses" else { throw InputError.unknown("group", group, known: ["losses"]) }
        let cases = try lossCases()
        let session = try BenchmarkSession(
            Device.select(device), profile: try profile.map(knownProfile), effort: quick ? .quick : .full)
        Output.error(
            "device: \(session.device.listing), driver \(session.device.driverVersion), \(session.profile.rawValue) kernels")
        let copy = try session.copyBandwidth()
        Output.line("copy bandwidth: \(NumberText.fixed(copy, decimals: 1)) GB/s (256 MB buffers)")
        Output.line(Self.table.header)
        var results: [BenchmarkResult] = []
        do {
            for benchmark in cases {
                let result = try session.run(benchmark)
                results.append(result)
                Output.line(Self.table.row(row(result, copy: copy)))
            }
        } catch let error as BenchmarkError {
            throw CommandEnd(code: 1, message: "error: \(error)")
        }
        for result in results {
            if let gap = result.gap { Output.line("missed: \(result.name) \(result.shape): \(gap)") }
        }
        if let path = csv ?? (record ? "benchmarks/results/\(group).csv" : nil) {
            let record = BenchmarkRecord(session: session, parameters: "not used")
            try BenchmarkRecord.append([record.copyRow(copy)] + results.flatMap { record.rows($0, copy: copy) }, to: path)
            Output.error("recorded in \(path)")
        }
    }

    private func row(_ result: BenchmarkResult, copy: Double) -> [String] {
        func microseconds(_ value: Double) -> String { NumberText.fixed(value * 1e6, decimals: value < 1e-3 ? 1 : 0) }
        let bandwidth = result.bandwidth?.p50
        return [
            result.provider == "rld" ? result.name : "\(result.name), \(result.provider.dropFirst(4))", result.shape, microseconds(result.device.p50),
            "\(microseconds(result.device.p20)) .. \(microseconds(result.device.p80))", microseconds(result.wall.p50),
            bandwidth.map { NumberText.fixed($0, decimals: 2) } ?? "",
            bandwidth.map { NumberText.fixed(100 * $0 / copy, decimals: 1) + " %" } ?? "",
            "\(result.runs)", NumberText.fixed(result.worstError, decimals: 3), NumberText.fixed(result.setup, decimals: 1),
        ]
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
