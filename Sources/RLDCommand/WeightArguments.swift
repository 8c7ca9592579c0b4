import ArgumentParser
import Foundation
import RLD

/// How a file of weights is read.
struct WeightArguments: ParsableArguments {
    @Option(
        help: "Where the weights are in a checkpoint, for example model.student (default: model, state_dict or the only place).")
    var key: String?

    @Option(help: "false loads what fits and lists the rest.")
    var strict = true

    var options: WeightOptions { WeightOptions(key: key, strict: strict) }

    /// Reads a network's weights and says what was let pass.
    func load(_ file: TensorFile, for network: Network, common: CommonOptions) throws -> LoadedWeights {
        let loaded = try LoadedWeights(file, for: network, options: options)
        common.warn(loaded.notes.map { "\(file.path): \($0)" })
        return loaded
    }
}

/// Numbers with commas between them, as an option takes them.
enum NumberList {
    static func parse(_ text: String, _ option: String) throws(InputError) -> [Float] {
        var values: [Float] = []
        for part in text.split(separator: ",") {
            guard let value = Float(part.trimmingCharacters(in: .whitespaces)), value.isFinite else {
                throw InputError(option, "must be numbers with commas between them, found '\(text)'")
            }
            values.append(value)
        }
        return values
    }
}

extension ModelMetadata {
    /// The network that the user named, or else the one that the weights say they are for.
    func network(named given: String?, of weights: String) throws(InputError) -> String {
        guard let id = given ?? model else {
            throw InputError(weights, "does not say which network it is for", advice: "give --model")
        }
        return id
    }
}

extension ModelCatalog {
    /// A network for as many classes as a file's weights have and for its published input, where the user did not say.
    static func network(_ id: String, classes: Int?, weights: TensorFile, key: String?, input: [Int]?) throws(InputError)
        -> Network
    {
        let published = try entry(id).input
        let input = input ?? published
        if let classes { return try network(id, classes: classes, input: input) }
        let dict = try weights.stateDict(key: key)
        let head = try network(id, classes: 2, input: input).head
        let shape = head.flatMap { dict.shape("\($0).weight", in: weights) } ?? []
        guard let classes = shape.first else {
            throw InputError(weights.path, "does not show how many classes it is for", advice: "give --classes")
        }
        return try network(id, classes: classes, input: input)
    }
}
