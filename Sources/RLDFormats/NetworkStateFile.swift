import RLDGraph

extension NetworkState {
    /// Every tensor of a safetensors file, in the order of its header.
    /// - Throws: when the file breaks the format.
    public init(safetensors path: String) throws(InputError) {
        self.init()
        let file = try SafetensorsFile(path: path)
        for name in file.names { self[name] = try file.tensor(name) }
    }

    /// A network's state from a safetensors file, in the network's state-dict order. Counters (`num_batches_tracked`) that the
    /// file lacks are 0: other tools do not write them.
    /// - Throws: when the file breaks the format, or lacks tensors, holds others or other shapes; all are named at once.
    public init(safetensors path: String, for network: Network) throws(InputError) {
        let stored = try NetworkState(safetensors: path)
        try stored.validate(for: network, source: path)
        self.init()
        for tensor in network.stateTensors {
            self[tensor.name] = stored[tensor.name] ?? Tensor(shape: tensor.shape, repeating: 0)
        }
    }

    /// Writes the state as PyTorch tools expect it: counters as int64 scalars, all else float32.
    /// - Parameters:
    ///   - metadata: goes into the header beside `format: pt`, which some readers insist on.
    ///   - type: of everything but counters; float64 keeps the reference's values to the last bit.
    /// - Throws: when a value does not fit the type, or the path cannot be written; an older file then stays as it was.
    public func save(
        safetensors path: String, metadata: [String: String] = [:], type: SafetensorsType = .float32
    ) throws(InputError) {
        var items: [SafetensorsItem] = []
        for name in names {
            guard let tensor = self[name] else { continue }
            let isCounter = name == "num_batches_tracked" || name.hasSuffix(".num_batches_tracked")
            items.append(SafetensorsItem(name, tensor, as: isCounter ? .int64 : type))
        }
        try SafetensorsFile.write(items, metadata: metadata.merging(["format": "pt"]) { own, _ in own }, to: path)
    }
}
