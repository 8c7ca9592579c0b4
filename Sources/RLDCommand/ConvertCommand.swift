import ArgumentParser
import RLD

struct ConvertCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "convert", abstract: "Copies tensors between safetensors, PyTorch checkpoints, .npz and .npy.",
        discussion: """
            The input's format is known by its contents, the output's by its ending (.safetensors, .pth, .pt, .npz, .npy). Of a \
            checkpoint the state dict is taken. With --model the tensors are checked against a network and put into its order.

            Example: rld convert ckpt_epoch_240.pth teacher.safetensors --model resnet32x4
            """)

    @Argument(help: "File to read.", completion: .file())
    var input: String

    @Argument(help: "File to write.", completion: .file())
    var output: String?

    @Flag(help: "Show what the input holds, and write nothing.")
    var list = false

    @Option(
        help: "Type of the floating-point tensors: f64, f32, f16 or bf16 (default: as they are).",
        completion: .list(["f64", "f32", "f16", "bf16"]))
    var dtype: String?

    @Option(help: "Network that the tensors must fit.")
    var model: String?

    @Option(parsing: .unconditional, help: "Its number of classes (default: as the weights have).")
    var classes: Int?

    @Option(help: "Its input as CHANNELSxHEIGHTxWIDTH (default: as it was published for).")
    var modelInput: String?

    @Flag(help: "Leave out a last layer for another number of classes.")
    var resetHead = false

    @OptionGroup var weights: WeightArguments

    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    @Flag(help: "Print nothing but the result and errors.")
    var quiet = false

    struct Listing: Encodable {
        var format: String
        var tensors: [Row]
        var metadata: [String: String]
    }

    struct Row: Encodable {
        var name: String
        var type: String
        var shape: [Int]
    }

    struct Report: Encodable {
        var input: String
        var output: String
        var tensors: Int
        var notes: [String]
    }

    func run() throws {
        let file = try TensorFile(path: input)
        if list { return try show(file) }
        guard let output else { throw InputError("OUTPUT", "is missing", advice: "name the file to write, or give --list") }
        try TensorFile.checkWritable(output)
        let type = try dtype.map(elementType)
        let conversion: TensorConversion
        if let model {
            let network = try ModelCatalog.network(
                model, classes: classes, weights: file, key: weights.key,
                input: modelInput.map { text throws(InputError) in try InputShape.parse(text, "--model-input") })
            var options = weights.options
            options.resetHead = resetHead
            conversion = try TensorConversion(file, for: network, options: options, type: type)
        } else {
            conversion = try TensorConversion(file, key: weights.key, type: type)
        }
        try conversion.write(to: output)
        if json {
            return try Output.json(Report(input: input, output: output, tensors: conversion.count, notes: conversion.notes))
        }
        guard !quiet else { return }
        for note in conversion.notes { Output.error("warning: \(input): \(note)") }
        Output.line("\(conversion.count) tensors of \(input) (\(file.format.rawValue)) in \(output)")
    }

    private func elementType(_ name: String) throws(InputError) -> ElementType {
        let known: [String: ElementType] = ["f64": .float64, "f32": .float32, "f16": .float16, "bf16": .bfloat16]
        guard let type = known[name.lowercased()] else {
            throw InputError.unknown("type", name, known: ["f64", "f32", "f16", "bf16"])
        }
        return type
    }

    private func show(_ file: TensorFile) throws {
        try file.requireReadable()
        if json {
            let rows = file.entries.map { Row(name: $0.name, type: $0.type.rawValue, shape: $0.shape) }
            return try Output.json(Listing(format: file.format.rawValue, tensors: rows, metadata: file.metadata))
        }
        Output.line(
            TextTable.text(
                [.init("tensor"), .init("type"), .init("shape")],
                rows: file.entries.map {
                    [$0.name, $0.type.rawValue, $0.shape.isEmpty ? "scalar" : $0.shape.map(String.init).joined(separator: " x ")]
                }))
        for (key, value) in file.metadata.sorted(by: { $0.key < $1.key }) { Output.line("\(key): \(value)") }
        Output.line("\(file.entries.count) tensors, \(file.format.rawValue)")
    }
}
