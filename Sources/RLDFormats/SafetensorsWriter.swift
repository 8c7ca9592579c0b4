import RLDGraph

/// One tensor to write.
public struct SafetensorsItem: Sendable {
    public var name: String
    public var tensor: Tensor
    /// F32, F64, F16 or I64.
    public var type: SafetensorsType

    public init(_ name: String, _ tensor: Tensor, as type: SafetensorsType = .float32) {
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
    /// - Throws: for a name given twice, a finite value that the type cannot hold, a type that cannot be written, or a path
    ///   that cannot be written.
    public static func write(
        _ items: [SafetensorsItem], metadata: [String: String] = [:], to path: String
    ) throws(InputError) {
        let order = items.indices.sorted { (items[$1].type.byteCount, $0) < (items[$0].type.byteCount, $1) }
        let header = try header(items, order: order, metadata: metadata, path: path)
        try AtomicFile.write(to: path) { file throws(InputError) in
            try file.append((0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) })
            try file.append(header)
            for index in order { try file.append(encode(items[index], path: path)) }
        }
    }

    private static func header(
        _ items: [SafetensorsItem], order: [Int], metadata: [String: String], path: String
    ) throws(InputError) -> [UInt8] {
        var starts = Array(repeating: 0, count: items.count)
        var end = 0
        for index in order {
            starts[index] = end
            end += items[index].tensor.count * items[index].type.byteCount
        }
        var members: [String] = []
        if !metadata.isEmpty {
            let texts = metadata.sorted { $0.key < $1.key }.map { "\(jsonLiteral($0.key)):\(jsonLiteral($0.value))" }
            members.append("\"__metadata__\":{\(texts.joined(separator: ","))}")
        }
        var seen: Set<String> = ["__metadata__"]
        for (item, start) in zip(items, starts) {
            guard seen.insert(item.name).inserted else {
                throw InputError(path, "cannot hold two tensors named \(quoted(item.name))")
            }
            let shape = item.tensor.shape.map(String.init).joined(separator: ",")
            let stop = start + item.tensor.count * item.type.byteCount
            let entry = "{\"dtype\":\"\(item.type.rawValue)\",\"shape\":[\(shape)],\"data_offsets\":[\(start),\(stop)]}"
            members.append("\(jsonLiteral(item.name)):\(entry)")
        }
        var bytes = Array("{\(members.joined(separator: ","))}".utf8)
        bytes += Array(repeating: UInt8(ascii: " "), count: (8 - bytes.count % 8) % 8)
        guard bytes.count <= SafetensorsHeader.maximumBytes else {
            throw InputError(path, "would need a header of \(bytes.count) bytes, the limit is \(SafetensorsHeader.maximumBytes)")
        }
        return bytes
    }

    private static func encode(_ item: SafetensorsItem, path: String) throws(InputError) -> [UInt8] {
        let values = item.tensor.values
        switch item.type {
        case .float64: return bytes(values.map(\.bitPattern))
        case .float32:
            let floats = values.map(Float.init)
            try check(item, path) { $0.isFinite && !floats[$1].isFinite }
            return bytes(floats.map(\.bitPattern))
        case .float16:
            let halves = values.map(Float16.init)
            try check(item, path) { $0.isFinite && !halves[$1].isFinite }
            return bytes(halves.map(\.bitPattern))
        case .int64:
            try check(item, path) { value, _ in Int64(exactly: value) == nil }
            return bytes(values.map { Int64($0) })
        case .bfloat16, .int32, .int16, .int8, .uint8, .bool:
            throw InputError(
                path, "tensor \(quoted(item.name)): \(item.type.rawValue) is not written", advice: "use F32, F64, F16 or I64")
        }
    }

    private static func check(
        _ item: SafetensorsItem, _ path: String, _ isLost: (Double, Int) -> Bool
    ) throws(InputError) {
        for (index, value) in item.tensor.values.enumerated() where isLost(value, index) {
            throw InputError(path, "tensor \(quoted(item.name)): value \(value) at \(index) does not fit \(item.type.rawValue)")
        }
    }

    private static func bytes<Word: FixedWidthInteger>(_ words: [Word]) -> [UInt8] {
        words.map(\.littleEndian).withUnsafeBytes { Array($0) }
    }
}
