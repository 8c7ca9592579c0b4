import ArgumentParser
import RLD

struct DiffCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "diff", abstract: "What differs between two runs: settings, environment, results.",
        discussion: "Example: rld diff runs/kd runs/rld")

    @Argument(help: "Folder of a run.", completion: .directory)
    var first: String

    @Argument(help: "Folder of another run.", completion: .directory)
    var second: String

    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    func run() throws {
        let comparison = try RunComparison(first, second)
        if json { return try Output.json(comparison) }
        for (title, lines) in [
            ("settings", comparison.configuration), ("environment", comparison.environment), ("results", comparison.results),
        ] {
            guard !lines.isEmpty else {
                Output.line("\(title): no difference")
                continue
            }
            Output.line(
                TextTable.text(
                    [.init(title), .init(first), .init(second)], rows: lines.map { [$0.key, $0.first ?? "-", $0.second ?? "-"] }))
            Output.line("")
        }
    }
}
