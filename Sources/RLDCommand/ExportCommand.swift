import ArgumentParser
import Foundation
import RLD

struct ExportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "export", abstract: "Writes a network with its weights as an ONNX model.",
        discussion: """
            The model takes 'images' [N, C, H, W] and gives 'logits' [N, classes], float32, opset 17. Network, classes, input \
            shape, normalisation and class names come from the weights' metadata, as training writes them, or from options.

            Example: rld export --weights runs/student/best.safetensors --onnx student.onnx
            """)

    @Option(help: "Model file to write.", completion: .file(extensions: ["onnx"]))
    var onnx: String

    @Option(help: "Weights (.safetensors, PyTorch checkpoint or .npz).", completion: .file())
    var weights: String

    @OptionGroup var reading: WeightArguments

    @Option(help: "Network.")
    var model: String?

    @Option(parsing: .unconditional, help: "Number of classes.")
    var classes: Int?

    @Option(help: "Input as CHANNELSxHEIGHTxWIDTH (default: as the weights say, or as the network was published for).")
    var input: String?

    @Flag(inversion: .prefixedNo, help: "Fold batch norms into the convolutions before them.")
    var fold = true

    @Option(
        help: "metadata: the model takes normalised images; nodes: it takes pixels in 0...1 and normalises them itself.",
        completion: .list(ONNXExport.Normalization.allCases.map(\.rawValue)))
    var normalization = "metadata"

    @Option(help: "Mean per channel of pixels in 0...1, with commas.")
    var mean: String?

    @Option(help: "Deviation per channel of pixels in 0...1, with commas.")
    var deviation: String?

    @Option(help: "File with one class name per line.", completion: .file())
    var classNames: String?

    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    @Flag(help: "Print nothing but the result and errors.")
    var quiet = false

    struct Report: Encodable {
        var output: String
        var model: String
        var classes: Int
        var bytes: Int
        var folded: Bool
        var normalization: String
    }

    func run() throws {
        guard let kind = ONNXExport.Normalization(rawValue: normalization) else {
            throw InputError.unknown("normalization", normalization, known: ONNXExport.Normalization.allCases.map(\.rawValue))
        }
        let file = try TensorFile(weights: weights)
        var metadata = ModelMetadata(file.metadata)
        if let mean { metadata.mean = try NumberList.parse(mean, "--mean") }
        if let deviation { metadata.deviation = try NumberList.parse(deviation, "--deviation") }
        if let classNames { metadata.classNames = try lines(of: classNames) }
        guard metadata.mean.count == metadata.deviation.count, metadata.deviation.allSatisfy({ $0 > 0 }) else {
            throw InputError("--deviation", "must hold a number above 0 for each of the \(metadata.mean.count) means")
        }
        let id = try metadata.network(named: model, of: weights)
        let shape = try input.map { text throws(InputError) in try InputShape.parse(text, "--input") }
        let network = try ModelCatalog.network(
            id, classes: classes, weights: file, key: reading.key,
            input: shape ?? (metadata.input.isEmpty ? nil : metadata.input))
        let loaded = try LoadedWeights(file, for: network, options: reading.options)
        if !quiet { for note in loaded.notes { Output.error("warning: \(weights): \(note)") } }
        let export = ONNXExport(
            foldsBatchNorm: fold, normalization: kind, metadata: loaded.metadata, version: BuildVersion.commit)
        let bytes = try export.bytes(network, state: loaded.state, model: metadata)
        try AtomicFile.write(bytes, to: onnx)
        if json {
            return try Output.json(
                Report(
                    output: onnx, model: network.id, classes: network.classes, bytes: bytes.count, folded: fold,
                    normalization: normalization))
        }
        if !quiet {
            Output.line(
                "\(network.id) with \(network.classes) classes in \(onnx), \(NumberText.compact(bytes.count, unit: "B")), batch norm "
                    + (fold ? "folded" : "kept"))
        }
    }

    private func lines(of path: String) throws(InputError) -> [String] {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw InputError(path, "cannot be read as text", advice: "give a file with one class name per line")
        }
        return text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
    }
}
