import ArgumentParser
import Foundation
import RLD

/// The program `rld`: one subcommand per file.
struct RLDCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "rld",
        abstract: "Trains small students from large teachers with Refined Logit Distillation on any OpenCL device.",
        discussion: """
            Exit codes: 0 done; 1 a check failed; 2 bad usage or input; 3 no usable device or device error; 130 interrupted
            after saving.

            Example: rld distill --teacher runs/teacher/best.safetensors --teacher-model resnet14 --student resnet8 \
            --data fashion-mnist --epochs 5 --out runs/student
            """,
        subcommands: [
            DevicesCommand.self, DoctorCommand.self, ModelsCommand.self, TrainCommand.self, DistillCommand.self,
            EvaluateCommand.self, DataCommand.self, DiffCommand.self, PlotCommand.self, PredictCommand.self, LossCommand.self,
            BenchCommand.self, TuneCommand.self, ConvertCommand.self, ExportCommand.self, DemoCommand.self,
        ])
}

@main
enum Main {
    static func main() {
        exit(run(Array(CommandLine.arguments.dropFirst())))
    }

    /// - Returns: the exit code.
    static func run(_ arguments: [String]) -> Int32 {
        do {
            if arguments.first == "--version" {
                print(VersionText.lines)
                return 0
            }
            try checkSubcommand(arguments.first)
            try checkOptions(arguments)
            var command = try RLDCommand.parseAsRoot(arguments)
            try command.run()
            try Output.finish()
            return 0
        } catch {
            return Failure.report(error, arguments: arguments)
        }
    }

    /// An unknown subcommand gets the nearest name, which the argument parser does not offer.
    private static func checkSubcommand(_ name: String?) throws(InputError) {
        guard let name, !name.hasPrefix("-") else { return }
        let known = RLDCommand.configuration.subcommands.map { $0.configuration.commandName ?? "" } + ["help"]
        if !known.contains(name) { throw InputError.unknown("subcommand", name, known: known) }
    }

    /// An unknown option is named before a missing one: the first is usually why the second is missing. What exists is read
    /// off the help, so that there is no second list.
    private static func checkOptions(_ arguments: [String]) throws(InputError) {
        let commands = RLDCommand.configuration.subcommands
        guard let command = commands.first(where: { $0.configuration.commandName == arguments.first }) else { return }
        let help = RLDCommand.helpMessage(for: command, includeHidden: true)
        let known = Set(help.matches(of: /--[a-z][a-z0-9-]*/).map { String($0.output) })
        for argument in arguments.dropFirst().prefix(while: { $0 != "--" }) where argument.hasPrefix("--") {
            let name = String(argument.prefix { $0 != "=" })
            if !known.contains(name) { throw InputError.unknown("option", name, known: known.sorted()) }
        }
    }
}

/// What `rld --version` prints. Reads what it can and never fails.
enum VersionText {
    static var lines: String {
        let devices = (try? Device.all()) ?? []
        let versions = Set(devices.map { "\($0.platformName): \($0.version)" }).sorted()
        return """
            rld, commit \(BuildVersion.commit)
            Swift \(BuildVersion.swift)
            CLBlast \(BuildVersion.clblast)
            OpenCL loader \(BuildVersion.openCLLoader); \(versions.isEmpty ? "no platform" : versions.joined(separator: "; "))
            """
    }
}
