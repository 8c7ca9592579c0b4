import RLDGraph

/// One tensor to write.
public struct SafetensorsItem: Sendable {
    public var name: String
    public var tensor: Tensor
    public var type: ElementType

    public init(_ name: String, _ tensor: Tensor, as type: ElementType = .float32) {
        self.name = name
        self.tensor = tensor
        self.type = type
    }
}

extension SafetensorsFile {
    /// Writes tensors in one go: readers see the old file or the whole new one.
    ///
    /// The header keeps the given order; the bytes lie sorted by element size, so that every tensor is aligned, and the header is
    /// padded to 8 bytes. The same items and metadata give the same file.
    /// - Throws: for a name given twice, a finite value that the type cannot hold, or a path that cannot be written.
    public static func write(
        _ items: [SafetensorsItem], metadata: [String: String] = [:], to path: String
    ) throws(InputError) {
        let entries = items.map { (name: $0.name, type: $0.type, shape: $0.tensor.shape) }
        try write(entries, metadata: metadata, to: path) { index throws(InputError) in
            try StoredTensor(items[index].name, items[index].tensor, as: items[index].type, source: path)
        }
    }

    /// The same for tensors that are read one by one while the file is written.
    static func write(
        _ entries: [(name: String, type: ElementType, shape: [Int])], metadata: [String: String], to path: String,
        tensor: (Int) throws(InputError) -> StoredTensor
    ) throws(InputError) {
        let order = entries.indices.sorted { (entries[$1].type.byteCount, $0) < (entries[$0].type.byteCount, $1) }
        let header = try header(entries, order: order, metadata: metadata, path: path)
        try AtomicFile.write(to: path) { file throws(InputError) in
            try file.append((0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) })
            try file.append(header)
            for index in order { try file.append(tensor(index).bytes) }
        }
    }

    private static func header(
        _ entries: [(name: String, type: ElementType, shape: [Int])], order: [Int], metadata: [String: String], path: String
    ) throws(InputError) -> [UInt8] {
        func byteCount(_ index: Int) -> Int { entries[index].type.byteCount(shape: entries[index].shape) ?? 0 }
        var starts = Array(repeating: 0, count: entries.count)
        var end = 0
        for index in order {
            starts[index] = end
            end += byteCount(index)
        }
        var members: [String] = []
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }.map { "\(jsonLiteral($0.key)):\(jsonLiteral($0.value))" }
            members.append("\"__metadata__\":{\(texts.joined(separator: ","))}")
        }
        var seen: Set<String> = ["__metadata__"]
        for (index, entry) in entries.enumerated() {
            guard seen.insert(entry.name).inserted else {
                throw InputError(path, "cannot hold two tensors named \(quoted(entry.name))")
            }
            let shape = entry.shape.map(String.init).joined(separator: ",")
            let range = "\(starts[index]),\(starts[index] + byteCount(index))"
            members.append(
                "\(jsonLiteral(entry.name)):{\"dtype\":\"\(entry.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(range)]}"
            )
        }
        var bytes = Array("{\(members.joined(separator: ","))}".utf8)
        bytes += Array(repeating: UInt8(ascii: " "), count: (8 - bytes.count % 8) % 8)
        guard bytes.count <= SafetensorsHeader.maximumBytes else {
            throw InputError(path, "would need a header of \(bytes.count) bytes, the limit is \(SafetensorsHeader.maximumBytes)")
        }
        return bytes
    }
}
