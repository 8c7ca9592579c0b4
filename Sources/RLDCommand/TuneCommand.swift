import ArgumentParser
import Foundation
import RLD
import RLDBenchmarks

struct TuneCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "tune", abstract: "Searches the fastest parameters for a training's shapes on a device, and stores them.",
        discussion: """
            Searched are the tiles of the convolutions (cpu kernels: the rows of their register tiles; gpu kernels: their channels,
            from how many work-groups per compute unit on they are large, and from how many channels on 3x3 convolutions take
            Winograd's algorithm) and CLBlast's parameters (\(ProductCandidates.kernels.joined(separator: ", ")); GemmRoutine is the size that divides the products
            of Xgemm and XgemmDirect).
            Every candidate is checked against the reference before it is timed. The winners lie in the user's cache folder, one
            file per device and driver ('rld devices' shows them), and all later runs use them. Another
            choice sums in another order: results repeat to the last bit only under the same one.

            Example: rld tune --teacher resnet32x4 --student resnet8x4 --batch 64 --budget 300
            """)

    @Option(help: "Teacher of the training, by id.")
    var teacher = "resnet32x4"

    @Option(help: "Student of the training, by id.")
    var student = "resnet8x4"

    @Option(help: "Images of a step.")
    var batch = 64

    @Option(help: "Seconds after which no further candidate is tried.")
    var budget = 300.0

    @Option(help: "OpenCL device by index, platform:device or part of its name.")
    var device: String?

    @Option(help: "Kernels to tune for: cpu or gpu; by default those for the device.")
    var profile: String?

    @Option(
        help: "Precision of the training: float32, tf32; each has tiles of its own.",
        completion: .list(Precision.allCases.map(\.rawValue)))
    var precision = Precision.float32.rawValue

    @Flag(help: "Print what was found and store nothing.")
    var dryRun = false

    @Flag(help: "Print nothing but the result and errors.")
    var quiet = false

    func run() throws {
        try Bounds.require(batch, "batch")
        guard budget > 0, budget <= Bounds.seconds else {
            throw InputError(
                "--budget", "\(budget) is no number of seconds up to \(NumberText.fixed(Bounds.seconds, decimals: 0))")
        }
        // Before the search, not after it.
        let folder = TuningStore.folder
        guard folder != nil || dryRun else {
            throw InputError("cache folder", "is not known, so nothing could be stored", advice: "set HOME or XDG_CACHE_HOME")
        }
        let profile = try profile.map(KernelProfile.named)
        let precision = try Precision.named(precision)
        let step = try StepBenchmark(.whole, teacher: teacher, student: student, batch: batch)
        let device = try Device.select(device)
        let line = ProgressLine.standardError(quiet: quiet)
        let tuner = try Tuner(
            step, device: device, profile: profile, precision: precision, budget: budget,
            progress: { progress in
                let share = NumberText.fixed(100 * progress.best, decimals: 0)
                line.show(
                    "\(progress.kernel): candidate \(progress.done + 1) of \(progress.total), best \(share) % of the time, "
                        + "\(NumberText.duration(progress.secondsLeft)) left",
                    share: Double(progress.done) / Double(max(progress.total, 1)))
            })
        line.note(
            "device: \(device.listing), driver \(device.driverVersion); before: \(try TuningStore.tuning(for: device).description)"
        )
        do {
            defer { line.clear() }
            try tuner.run()
        }
        Output.line(
            TextTable.text(
                [
                    .init("kernel"), .init("before ms", alignment: .right), .init("after ms", alignment: .right),
                    .init("speedup", alignment: .right), .init("tried", alignment: .right), .init("wrong", alignment: .right),
                    .init("refused", alignment: .right), .init("choice"),
                ],
                rows: tuner.findings.map {
                    [
                        $0.kernel, NumberText.fixed($0.before, decimals: 3), NumberText.fixed($0.after, decimals: 3),
                        NumberText.fixed($0.before / $0.after, decimals: 2), "\($0.tried)", "\($0.wrong)", "\($0.refused)",
                        $0.choice,
                    ]
                }))
        Output.line(
            "times are those of the shapes that a kernel concerns, as often as a step of \(tuner.work.purpose) takes them")
        guard !dryRun, let folder else { return }
        let entry = TuningStore.Entry(
            device, clblast: BuildVersion.clblast, created: Date().formatted(.iso8601), purpose: tuner.work.purpose,
            tuning: tuner.tuning)
        Output.line("stored in \(try TuningStore.store(entry, for: device, in: folder).path) (\(tuner.tuning.hash))")
    }
}
