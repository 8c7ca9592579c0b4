import RLDGraph

extension TensorFile {
    /// The endings of files that can be written.
    public static let writableEndings = ["safetensors", "npz", "npy", "pth", "pt"]

    /// Throws unless a path ends in a way that says which format to write.
    public static func checkWritable(_ path: String) throws(InputError) {
        guard writableEndings.contains(ending(of: path)) else {
            throw InputError(
                path, "does not say by its ending which format to write",
                advice: "known are \(writableEndings.map { "." + $0 }.joined(separator: ", "))")
        }
    }

    /// Writes tensors in the format that the path's ending names, whole or not at all.
    /// - Parameter metadata: kept by safetensors; the other formats have no place for it.
    /// - Throws: for an unknown ending, several tensors in a .npy, a name given twice, or a path that cannot be written.
    public static func write(_ tensors: [StoredTensor], metadata: [String: String] = [:], to path: String) throws(InputError) {
        let entries = tensors.map { (name: $0.name, type: $0.type, shape: $0.shape) }
        try write(entries, metadata: metadata, to: path) { index throws(InputError) in tensors[index] }
    }

    /// The same for tensors that are read one by one while the file is written.
    static func write(
        _ entries: [(name: String, type: ElementType, shape: [Int])], metadata: [String: String], to path: String,
        tensor: (Int) throws(InputError) -> StoredTensor
    ) throws(InputError) {
        try checkWritable(path)
        for entry in entries { try StoredTensor.check(entry.name, shape: entry.shape, as: entry.type, source: path) }
        switch ending(of: path) {
        case "npy":
            guard entries.count == 1 else {
                throw InputError(path, "holds one array, found \(entries.count) tensors", advice: "write a .npz file")
            }
            let bytes = try NumPyArray.bytes(tensor(0), path: path)
            try AtomicFile.write(bytes, to: path)
        case "npz":
            try AtomicFile.write(to: path) { file throws(InputError) in
                var zip = ZipWriter(path: path)
                for (index, entry) in entries.enumerated() {
                    try zip.add(entry.name + ".npy", NumPyArray.bytes(tensor(index), path: path), to: file)
                }
                try zip.finish(to: file)
            }
        case "pth", "pt": try TorchWriter.write(entries, metadata: metadata, to: path, tensor: tensor)
        default:
            let metadata = metadata.merging(["format": "pt"]) { own, _ in own }
            try SafetensorsFile.write(entries, metadata: metadata, to: path, tensor: tensor)
        }
    }
}
