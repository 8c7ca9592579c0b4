import ArgumentParser
import RLD

struct DoctorCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "doctor", abstract: "Runs every kernel of a device against the Double reference.",
        discussion: """
            Prints for each check the largest error over its bound and the tensor that it was found in; exit code 1 if any
            exceeds it. Kernels come in two profiles, of which a device takes one; `--profile all` checks the other as well, for
            those who write kernels. With the gpu profile convolutions and linear layers are checked in tf32 too, on NVIDIA's matrix
            units or, where there are none, as an emulation. Run it once on a new machine, and paste its output into reports.

            Example: rld doctor --device 0
            """)

    @Option(help: "OpenCL device by index, platform:device or part of its name.")
    var device: String?

    @Option(help: "Kernels to check: cpu, gpu or all; by default those that the device takes.", completion: .list(Self.choices))
    var profile: String?

    @Flag(help: "Small sizes only, for simulators.")
    var tiny = false

    @Flag(help: "Print nothing but failures.")
    var quiet = false

    @Flag(help: .hidden)
    var plantFault = false

    private static let choices = KernelProfile.allCases.map(\.rawValue) + ["all"]

    private static let table = TextTable([
        .init("kernels", width: 7), .init("check", width: 66), .init("error/bound", width: 11, alignment: .right),
        .init("worst in", width: 28), .init("verdict", width: 7),
    ])

    func run() throws {
        let device = try Device.select(device)
        if plantFault { return try DeviceChecks.plantFault(device) }
        let profiles = try profiles(for: device)
        if !quiet {
            Output.error("device: \(device.listing), driver \(device.driverVersion)")
            Output.line(Self.table.header)
        }
        var failures = 0
        var count = 0
        for profile in profiles {
            let results = try DeviceChecks.run(device, profile: profile, tiny: tiny) { result in
                count += 1
                failures += result.passed ? 0 : 1
                guard !quiet || !result.passed else { return }
                let verdict = result.passed ? "ok" : result.damagedGuards > 0 ? "DAMAGE" : "FAILED"
                Output.line(
                    Self.table.row([
                        profile.rawValue, result.name, NumberText.fixed(result.worst, decimals: 3), result.worstTensor, verdict,
                    ]))
                if let failure = result.failure { Output.line(failure) }
            }
            if !quiet, let line = DeviceChecks.matrixUnits(of: device, results) { Output.line(line) }
        }
        guard failures == 0 else {
            throw CommandEnd(code: 1, message: "\(failures) of \(count) checks failed on \(device.name)")
        }
        if !quiet { Output.line("\(count) checks passed") }
    }

    /// Those that are asked for, the device's own first.
    private func profiles(for device: Device) throws -> [KernelProfile] {
        let own = try KernelProfile.automatic(for: device)
        switch profile {
        case nil: return [own]
        case "all": return [own] + KernelProfile.allCases.filter { $0 != own }
        case let name?:
            guard let named = KernelProfile(rawValue: name) else {
                throw InputError.unknown("profile", name, known: Self.choices)
            }
            return [named]
        }
    }
}
