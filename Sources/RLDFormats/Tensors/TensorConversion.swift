import RLDGraph

/// Copies tensors from one file to another, of the same format or not.
public struct TensorConversion {
    private let source: TensorFile
    private let dict: TensorFile.StateDict
    /// Of the floating-point tensors; nil leaves every tensor's type as it is.
    private let type: ElementType?
    private var metadata: [String: String]
    /// What was left out, one line each.
    public private(set) var notes: [String] = []

    /// Everything in a file, or the tensors under a key. A PyTorch checkpoint gives its state dict, without the optimiser's tensors.
    /// - Parameter key: as `TensorFile.stateDict` takes it.
    public init(_ source: TensorFile, key: String? = nil, type: ElementType? = nil) throws(InputError) {
        try source.requireReadable()
        self.source = source
        self.type = type
        metadata = source.metadata
        dict =
            key == nil && source.format != .torch
            ? TensorFile.StateDict(names: source.entries.map(\.name), indices: Array(source.entries.indices))
            : try source.stateDict(key: key)
    }

    /// The tensors that a network wants, checked to be there and to fit.
    /// - Throws: naming every missing, unexpected and mis-shaped tensor at once; with `strict` off they are left out and noted.
    public init(
        _ source: TensorFile, for network: Network, options: WeightOptions, type: ElementType? = nil
    ) throws(InputError) {
        self.source = source
        self.type = type
        metadata = source.metadata.merging(["model": network.id, "classes": "\(network.classes)"]) { $1 }
        let all = try source.stateDict(key: options.key)
        var places: [String: Int] = [:]
        for (name, index) in zip(all.names, all.indices) { places[name] = index }
        let fit = WeightFit(
            network: network, shapes: places.mapValues { source.entries[$0].shape }, order: all.names, options: options)
        if let error = fit.error(path: source.path) { throw error }
        notes = fit.notes
        let kept = network.stateTensors.map(\.name).filter { places[$0] != nil && !fit.restarted.contains($0) }
        dict = TensorFile.StateDict(names: kept, indices: kept.compactMap { places[$0] })
    }

    /// Tensors that are copied.
    public var count: Int { dict.names.count }

    /// Writes the copy, whole or not at all.
    /// - Throws: for a value that the type cannot hold, and what reading and writing throw.
    public func write(to path: String) throws(InputError) {
        let widened = ["npy", "npz"].contains(TensorFile.ending(of: path))
        func target(_ index: Int) -> ElementType {
            let stored = source.entries[dict.indices[index]].type
            if stored.isFloatingPoint, let type { return type }
            return stored == .bfloat16 && widened ? .float32 : stored
        }
        let entries = dict.names.indices.map {
            (name: dict.names[$0], type: target($0), shape: source.entries[dict.indices[$0]].shape)
        }
        try TensorFile.write(entries, metadata: metadata, to: path) { index throws(InputError) in
            var tensor = try source.stored(at: dict.indices[index])
            tensor.name = dict.names[index]
            return try tensor.converted(to: target(index), source: path)
        }
    }
}
