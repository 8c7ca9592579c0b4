import RLDGraph

extension NetworkState {
    /// Every tensor of a safetensors file, in the order of its header.
    /// - Throws: when the file breaks the format.
    public init(safetensors path: String) throws(InputError) {
        self.init()
        let file = try SafetensorsFile(path: path)
        if let first = file.unreadable.min(by: { $0.key < $1.key }) { throw first.value }
        for name in file.names { self[name] = try file.tensor(name) }
    }

    /// Writes the state as PyTorch tools expect it: counters as int64 scalars, all else float32.
    /// - Parameters:
    ///   - metadata: goes into the header beside `format: pt`, which some readers insist on.
    ///   - type: of everything but counters; float64 keeps the reference's values to the last bit.
    /// - Throws: when a value does not fit the type, or the path cannot be written; an older file then stays as it was.
    public func save(
        safetensors path: String, metadata: [String: String] = [:], type: ElementType = .float32
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
