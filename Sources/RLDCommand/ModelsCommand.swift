import ArgumentParser
import RLD

struct ModelsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "models", abstract: "Lists networks, or the tensors of one.",
        discussion: "Example: rld models resnet8 --classes 10 --input 1x28x28")

    @Argument(help: "Network whose tensors to list.")
    var name: String?

    @Option(parsing: .unconditional, help: "Number of classes; by default those that a network was published for.")
    var classes: String?

    @Option(help: "Input as CHANNELSxHEIGHTxWIDTH; by default the images that a network was published for.")
    var input: String?

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
        /// "param", which the optimiser trains, or "buffer".
        var kind: String
    }

    func run() throws {
        var count: Int?
        if let classes {
            count = Int(classes)
            guard count != nil else { throw InputError("--classes", "must be a whole number, found '\(classes)'") }
        }
        let shape = try input.map { text throws(InputError) in try InputShape.parse(text, "--input") }
        func network(_ entry: ModelCatalog.Entry) throws -> Network {
            try ModelCatalog.network(entry.id, classes: count ?? entry.classes, input: shape ?? entry.input)
        }
        if let name { return try show(network(ModelCatalog.entry(name))) }
        let networks = try ModelCatalog.entries.map(network)
        if json { return try Output.json(networks.map { Row(id: $0.id, parameters: $0.parameterCount, macs: $0.multiplyAdds) }) }
        Output.line(Self.table(networks))
        Output.line("and any wide residual network as wrn_DEPTH_FACTOR, with a depth of 6n + 4")
    }

    private static func table(_ networks: [Network]) -> String {
        TextTable.text(
            [
                .init("network"), .init("parameters", alignment: .right), .init("multiply-adds", alignment: .right),
                .init("classes", alignment: .right), .init("input", alignment: .right),
            ],
            rows: networks.map {
                [
                    $0.id, "\($0.parameterCount)", "\($0.multiplyAdds)", "\($0.classes)",
                    $0.inputShape.map(String.init).joined(separator: "x"),
                ]
            })
    }

    private func show(_ network: Network) throws {
        let tensors = network.stateTensors.map {
            TensorRow(name: $0.name, shape: $0.shape, kind: $0.kind == .parameter ? "param" : "buffer")
        }
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
                + "\(NumberText.compact(network.multiplyAdds, unit: "MAC")) for input "
                + "\(network.inputShape.map(String.init).joined(separator: "x")) and \(network.classes) classes")
        Output.line("features: \(network.features.keys.sorted().joined(separator: ", "))")
    }
}

/// A network's input as people write it: 1x28x28.
enum InputShape {
    /// - Parameter option: that gave it.
    static func parse(_ text: String, _ option: String) throws(InputError) -> [Int] {
        let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
        guard parts.count == 3, parts.allSatisfy({ $0 > 0 }) else {
            throw InputError(option, "must be CHANNELSxHEIGHTxWIDTH, found '\(text)'", advice: "for example 1x28x28")
        }
        return parts
    }
}
