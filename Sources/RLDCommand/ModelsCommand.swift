import ArgumentParser
import RLD

struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Lists networks, or the tensors of one.",
        discussion: "Example: rld models resnet8 --classes 10 --input 1x28x28")

    @Argument(help: "Network whose tensors to list.")
    var name: String?

    @Option(parsing: .unconditional, help: "Number of classes.")
    var classes: String = "100"

    @Option(help: "Input as CHANNELSxHEIGHTxWIDTH.")
    var input: String = "3x32x32"

    @Flag(help: "Print as JSON on standard output.")
    var json = false

    struct Row: Encodable {
        var id: String
        var parameters: Int
        /// Multiply-adds for one image.
        var macs: Int
        var tensors: [TensorRow]?
    }

    struct TensorRow: Encodable {
        var name: String
        var shape: [Int]
        var kind: String
    }

    func run() throws {
        guard let count = Int(classes) else { throw InputError("--classes", "must be a whole number, found '\(classes)'") }
        let shape = try InputShape.parse(input)
        if let name { return try show(try ModelCatalog.network(name, classes: count, input: shape)) }
        let networks = try ModelCatalog.ids.map { try ModelCatalog.network($0, classes: count, input: shape) }
        if json { return try Output.json(networks.map { Row(id: $0.id, parameters: $0.parameterCount, macs: $0.multiplyAdds) }) }
        Output.line(
            TextTable.text(
                [.init("network"), .init("parameters", alignment: .right), .init("multiply-adds", alignment: .right)],
                rows: networks.map {
                    [$0.id, NumberText.compact($0.parameterCount), NumberText.compact($0.multiplyAdds, unit: "MAC")]
                }))
        Output.line("for \(count) classes and input \(input)")
    }

    private func show(_ network: Network) throws {
        let tensors = network.stateTensors.map { TensorRow(name: $0.name, shape: $0.shape, kind: "\($0.kind)") }
        if json {
            return try Output.json(
                Row(id: network.id, parameters: network.parameterCount, macs: network.multiplyAdds, tensors: tensors))
        }
        Output.line(
            TextTable.text(
                [.init("tensor"), .init("shape"), .init("kind")],
                rows: tensors.map {
                    [$0.name, $0.shape.isEmpty ? "scalar" : $0.shape.map(String.init).joined(separator: " x "), $0.kind]
                }))
        Output.line(
            "\(network.id): \(NumberText.compact(network.parameterCount)) parameters (\(network.parameterCount)), "
                + "\(NumberText.compact(network.multiplyAdds, unit: "MAC")) for input \(input) and \(network.classes) classes")
    }
}

/// A network's input as people write it: 1x28x28.
enum InputShape {
    static func parse(_ text: String) throws(InputError) -> [Int] {
        let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard parts.count == 3, parts.allSatisfy({ $0 > 0 }) else {
            throw InputError("--input", "must be CHANNELSxHEIGHTxWIDTH, found '\(text)'", advice: "for example 1x28x28")
        }
        return parts
    }
}
