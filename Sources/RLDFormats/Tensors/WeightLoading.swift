import Foundation
import RLDGraph

/// How a file's weights are fitted to a network.
public struct WeightOptions: Sendable, Equatable {
    /// Where they hang in the file ("model.student"); nil for the usual places.
    public var key: String?
    /// Whether every tensor must be there and fit.
    public var strict: Bool
    /// Whether a last layer for another number of classes is left out, to start anew.
    public var resetHead: Bool

    public init(key: String? = nil, strict: Bool = true, resetHead: Bool = false) {
        self.key = key
        self.strict = strict
        self.resetHead = resetHead
    }
}

/// A network's weights out of a file.
public struct LoadedWeights: Sendable {
    /// Complete, in the network's state-dict order.
    public var state: NetworkState
    /// What the options let pass: tensors that were left out or start anew, one line each.
    public var notes: [String]
    /// What the file says about itself.
    public var metadata: [String: String]
}

extension NetworkState {
    /// A network's state from a file in any format that is read. Counters (`num_batches_tracked`) that the file lacks are 0.
    /// - Throws: when the file breaks its format, or does not fit the network; every missing, unexpected and mis-shaped tensor is
    ///   named at once.
    public init(weights path: String, for network: Network, options: WeightOptions = WeightOptions()) throws(InputError) {
        self = try LoadedWeights(path, for: network, options: options).state
    }
}

extension TensorFile {
    /// Opens a file of weights.
    public init(weights path: String) throws(InputError) {
        guard FileManager.default.fileExists(atPath: path) else {
            throw InputError(path, "does not exist", advice: "give a file of weights (.safetensors, .pth or .npz)")
        }
        try self.init(path: path)
    }
}

extension LoadedWeights {
    /// - Parameter seed: of the tensors that start anew (`Network.initialState`).
    public init(
        _ path: String, for network: Network, options: WeightOptions = WeightOptions(), seed: UInt64 = 0
    ) throws(InputError) {
        try self.init(TensorFile(weights: path), for: network, options: options, seed: seed)
    }

    public init(
        _ file: TensorFile, for network: Network, options: WeightOptions = WeightOptions(), seed: UInt64 = 0
    ) throws(InputError) {
        let dict = try file.stateDict(key: options.key)
        var places: [String: Int] = [:]
        for (name, index) in zip(dict.names, dict.indices) { places[name] = index }
        let fit = WeightFit(
            network: network, shapes: places.mapValues { file.entries[$0].shape }, order: dict.names, options: options)
        if let error = fit.error(path: file.path) { throw error }

        let fresh = fit.restarted.isEmpty ? NetworkState() : network.initialState(seed: seed)
        state = NetworkState()
        for tensor in network.stateTensors {
            if let index = places[tensor.name], !fit.restarted.contains(tensor.name) {
                let stored = try file.stored(at: index).tensor(source: file.path)
                guard stored.values.allSatisfy(\.isFinite) else {
                    throw InputError(
                        file.path, "tensor \(quoted(tensor.name)) holds values that are not finite",
                        advice: "its training diverged; give the weights of an epoch before")
                }
                state[tensor.name] = stored
            } else {
                state[tensor.name] = fresh[tensor.name] ?? Tensor(shape: tensor.shape, repeating: 0)
            }
        }
        notes = (dict.note.map { [$0] } ?? []) + fit.notes
        metadata = file.metadata
    }
}

/// Compares the tensors that a file has with those that a network wants.
struct WeightFit {
    private let network: Network
    private let options: WeightOptions
    /// What is wrong, one phrase per tensor.
    private var problems: [String] = []
    /// Names that take fresh values.
    private(set) var restarted: Set<String> = []
    private(set) var notes: [String] = []
    private let loaded: Int
    private let hint: String?

    init(network: Network, shapes: [String: [Int]], order: [String], options: WeightOptions) {
        self.network = network
        self.options = options
        let wanted = network.stateTensors
        let wantedNames = Set(wanted.map(\.name))
        let head = options.resetHead ? network.head.map { Set(["\($0).weight", "\($0).bias"]) } ?? [] : []
        let unexpected = order.filter { !wantedNames.contains($0) }
        for tensor in wanted {
            guard let shape = shapes[tensor.name] else {
                // PyTorch writes the counter, other tools do not, and nothing here depends on it.
                if tensor.kind != .counter { problems.append("missing \(tensor.name) \(tensor.shape)") }
                if tensor.kind != .counter, !options.strict { restarted.insert(tensor.name) }
                continue
            }
            guard shape != tensor.shape else { continue }
            if head.contains(tensor.name) {
                restarted.insert(tensor.name)
                notes.append("\(tensor.name) starts anew: the file has \(shapeText(shape)), the network \(tensor.shape)")
            } else {
                problems.append("\(tensor.name): expected shape \(tensor.shape), found \(shapeText(shape))")
                if !options.strict { restarted.insert(tensor.name) }
            }
        }
        // A head of which one part fits and the other does not starts anew as a whole.
        if !restarted.isDisjoint(with: head) { restarted.formUnion(head.intersection(wantedNames)) }
        problems += unexpected.map { "unexpected \(printable($0))" }
        if !options.strict { notes += problems }
        let fresh = restarted
        loaded = wanted.count { shapes[$0.name] != nil && !fresh.contains($0.name) && $0.kind != .counter }
        hint = Self.hint(wantedNames: wanted.filter { $0.kind != .counter }.map(\.name), found: order)
    }

    /// The key under which all names would be found, when the file nests them in longer names.
    private static func hint(wantedNames: [String], found: [String]) -> String? {
        guard let first = wantedNames.first else { return nil }
        let names = Set(found)
        let prefixes = found.compactMap { $0.hasSuffix("." + first) ? String($0.dropLast(first.count + 1)) : nil }
        return prefixes.first { prefix in wantedNames.allSatisfy { names.contains("\(prefix).\($0)") } }
    }

    /// Nil when the file may be loaded.
    func error(path: String) -> InputError? {
        if problems.isEmpty { return nil }
        if !options.strict, loaded > 0 { return nil }
        let advice: String
        if !options.strict {
            advice = "nothing of it fits"
        } else if let hint {
            advice = "its names begin with \(quoted(hint + ".")): give the key that ends in it (--key)"
        } else if let head = network.head, problems.allSatisfy({ $0.hasPrefix(head + ".") }) {
            advice =
                "it is for another number of classes: a teacher has to know the data's, a training with --weights and --reset-head "
                + "starts the last layer anew"
        } else {
            advice = "check the model id ('rld models'; torchvision's networks are imagenet_...) and the number of classes"
        }
        return InputError(path, "does not fit network \(network.id): \(problems.joined(separator: "; "))", advice: advice)
    }
}

extension Network {
    /// The name of the last layer with weights, the one that makes the classes.
    public var head: String? {
        nodes.last { if case .linear = $0.operation { true } else { false } }?.name
    }
}
