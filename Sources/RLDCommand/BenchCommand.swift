import ArgumentParser
import Foundation
import RLD
import RLDBenchmarks

struct BenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bench", abstract: "Times kernels on a device, as a share of what it can do.",
        discussion: """
            Groups: \(BenchGroup.allCases.map { "\($0.rawValue) (\($0.meaning))" }.joined(separator: ";\n")).
            Each case is checked against the reference before it is timed. Times are medians by device events, wall is from \
            the first enqueue to the end on the host; copy bandwidth and arithmetic peak are measured in the same run.

            Examples: rld bench losses --only rld --shapes 512x1000,8192x1000
            rld bench step --teacher resnet32x4 --student resnet8x4 --batch 64 --kernels --trace step.json
            """)

    @Argument(
        help: "Group of cases: \(BenchGroup.names.joined(separator: ", ")).", completion: .list(BenchGroup.names))
    var group: String

    @Option(help: "Cases by name, separated by commas; all by default.")
    var only: String?

    @Option(help: "Shapes ROWSxCLASSES of losses or MxNxK of gemm, separated by commas; the group's own by default.")
    var shapes: String?

    @Option(help: "Teacher of a step, by id; resnet32x4 by default.")
    var teacher: String?

    @Option(help: "Student of a step, by id; resnet8x4 by default.")
    var student: String?

    @Option(help: "Networks whose convolutions are timed instead, frozen and trained, by id, or 'paper'.")
    var networks: String?

    @Option(help: "Data set of picture files to read, as NAME:PATH.")
    var data: String?

    @Option(help: "Side of the square that a network would get to see of them.")
    var imageSize: Int?

    @Option(help: "Images of a step; 64 by default.")
    var batch: Int?

    @Option(help: "Steps of an epoch; 12 by default. An epoch of CIFAR-100 has 781 of batch 64.")
    var steps: Int?

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

    @Option(
        help: "Products of convolutions and linear layers: float32, tf32 (gemm, convolution, step and epoch).",
        completion: .list(Precision.allCases.map(\.rawValue)))
    var precision = Precision.float32.rawValue

    @Option(
        help: "How the teacher's activations are stored: float32, half (step and epoch).",
        completion: .list(TeacherStorage.allCases.map(\.rawValue)))
    var teacherStorage = TeacherStorage.float32.rawValue

    @Flag(help: "A few short runs for a look; the figures scatter.")
    var quick = false

    @Flag(help: "Leave out the comparison with the reference, whose time and memory are its own. Not with --record.")
    var unchecked = false

    @Flag(help: "Append the results to benchmarks/results/GROUP.csv.")
    var record = false

    @Option(help: "Append the results to this file.", completion: .file(extensions: ["csv"]))
    var csv: String?

    var teacherOfStep: String { teacher ?? "resnet32x4" }
    var studentOfStep: String { student ?? "resnet8x4" }
    var imagesOfStep: Int { batch ?? 64 }
    private var stepsOfEpoch: Int { steps ?? (quick ? 2 : 12) }

    func run() throws {
        guard let group = BenchGroup(rawValue: group) else {
            throw InputError.unknown("group", group, known: BenchGroup.names)
        }
        let precision = try Precision.named(precision)
        try checkOptions(of: group, precision)
        guard !unchecked || !record else {
            throw InputError(
                "--unchecked", "results are not recorded there", advice: "--csv FILE takes them, marked as unchecked")
        }
        // What is asked for can be wrong without a device too, and where results go before they have taken their time.
        if let trace { try AtomicFile.check(trace) }
        if let path = results(of: group) { try BenchmarkRecord.check(path) }
        let profile = try profile.map(KernelProfile.named)
        let reading = try group == .pictures ? pictures() : nil
        let cases = try cases(of: group, profile: profile ?? .automatic(for: .select(device)), precision: precision)
        let chosen = try Device.select(device)
        do {
            try time(group, cases, reading, on: chosen, profile, precision)
        } catch let error as BenchmarkError {
            throw CommandEnd(code: 1, message: "error: \(error)")
        }
    }

    /// The file that results are appended to.
    private func results(of group: BenchGroup) -> String? {
        csv ?? (record ? "benchmarks/results/\(group.rawValue).csv" : nil)
    }

    private func checkOptions(of group: BenchGroup, _ precision: Precision) throws(InputError) {
        let given: [(BenchGroup.Option, Bool)] = [
            (.shapes, shapes != nil), (.teacher, teacher != nil), (.student, student != nil), (.networks, networks != nil),
            (.data, data != nil), (.imageSize, imageSize != nil), (.batch, batch != nil), (.steps, steps != nil),
            (.precision, precision != .float32), (.teacherStorage, teacherStorage != TeacherStorage.float32.rawValue),
        ]
        for (option, isGiven) in given where isGiven && !group.options.contains(option) {
            throw InputError(
                "--\(option.rawValue)", "says nothing about \(group.rawValue)",
                advice: "it goes with \(BenchGroup.taking(option))")
        }
        if let batch { try Bounds.require(batch, "batch") }
        if let steps { try Bounds.require(steps, "steps") }
        guard stepsOfEpoch * imagesOfStep <= Bounds.images else {
            throw InputError(
                "--steps \(stepsOfEpoch)", "is an epoch of \(stepsOfEpoch * imagesOfStep) images",
                advice: "it lies in memory: at most \(Bounds.images)")
        }
    }

    private func time(
        _ group: BenchGroup, _ cases: [any BenchmarkCase], _ reading: ReadingBenchmark?, on device: Device,
        _ profile: KernelProfile?, _ precision: Precision
    ) throws {
        // Before anything else warms this process up.
        let firstSteps = group == .step && !unchecked ? try firstSteps(device, profile, precision) : []
        let session = try BenchmarkSession(
            device, profile: profile, effort: quick ? .quick : group.isBrief ? .brief : .full, precision: precision)
        Output.error(
            "device: \(session.device.listing), driver \(session.device.driverVersion), \(session.profile.rawValue) kernels, "
                + precision.rawValue)
        Output.error("tuning: \(session.tuning.description)")
        let table = BenchTable(
            group: group, copy: try cases.contains { $0.bytes > 0 } ? session.copyBandwidth() : nil,
            peak: try cases.contains { $0.flops > 0 } && !unchecked ? session.arithmeticPeak() : nil)
        for line in table.yardsticks { Output.line(line) }
        for (index, first) in firstSteps.enumerated() {
            Output.line("first step \(index == 0 ? "after start" : "in a new context"): \(first.text)")
        }
        Output.line(table.header)
        let record = BenchmarkRecord(session: session, checked: !unchecked)
        // Row by row: a run that is ended has recorded what it measured.
        let path = results(of: group)
        func append(_ rows: [[String]]) throws {
            if let path { try BenchmarkRecord.append(rows, to: path) }
        }
        try append(yardsticks(firstSteps, table, record))
        var results: [BenchmarkResult] = []
        func add(_ result: BenchmarkResult) throws {
            results.append(result)
            Output.line(table.row(result))
            if kernels { for line in table.kernels(result) { Output.line(line) } }
            try append(record.rows(result, copy: table.copy, peak: table.peak))
        }
        for benchmark in cases { try add(session.run(benchmark, checked: !unchecked)) }
        if group == .epoch {
            let step = try stepBenchmark(.whole)
            try add(
                EpochBenchmark(step, steps: stepsOfEpoch, epochs: quick ? 1 : 3).run(in: session, checked: !unchecked))
        }
        if let reading { try add(reading.run(seconds: quick ? 2 : 10)) }
        for result in results {
            if let gap = result.gap { Output.line("missed: \(result.name) \(result.shape): \(gap)") }
        }
        if let trace {
            try AtomicFile.write(Array(LaunchTrace.chromeTrace(results.map { ($0.name, $0.records) })), to: trace)
            Output.error("trace in \(trace)")
        }
        if let path { Output.error("recorded in \(path)") }
    }

    /// What stands before the cases in a results file: what shares are of, and first steps.
    private func yardsticks(_ firstSteps: [FirstStep], _ table: BenchTable, _ record: BenchmarkRecord) -> [[String]] {
        var rows: [[String]] = []
        if let copy = table.copy { rows.append(record.row("copy", "256 MB buffers", "bandwidth", "GB/s", "256 MB", copy)) }
        if let peak = table.peak { rows.append(record.row("peak", "multiply-adds", "rate", "GFLOP/s", "registers", peak)) }
        for (index, first) in firstSteps.enumerated() {
            let mode = index == 0 ? "after start" : "new context"
            rows.append(
                record.row(
                    "first step", mode, "wall time", "s", "\(teacherOfStep)->\(studentOfStep) \(imagesOfStep)", first.seconds))
        }
        return rows
    }

    private func pictures() throws(InputError) -> ReadingBenchmark {
        guard let data else { throw InputError("--data", "is missing", advice: "for example --data imagenet:PATH") }
        return ReadingBenchmark(data, imageSize: imageSize, batch: imagesOfStep)
    }

    /// The first step of this process, and of another context whose programs the driver has certainly seen.
    private func firstSteps(_ device: Device, _ profile: KernelProfile?, _ precision: Precision) throws -> [FirstStep] {
        let step = try stepBenchmark(.whole)
        return try (0..<2).map { _ in try FirstStep.measure(step, device: device, profile: profile, precision: precision) }
    }
}
