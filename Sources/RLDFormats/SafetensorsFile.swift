import RLDGraph

/// A safetensors file, open for reading. The header is read and checked at once; a tensor's bytes are read when it is asked for.
public struct SafetensorsFile: Sendable {
    public let path: String
    /// In the order of the header.
    public let entries: [SafetensorsEntry]
    /// The header's `__metadata__`; empty when there is none.
    public let metadata: [String: String]

    private let file: RandomAccessFile
    private let bodyOffset: Int
    private let indices: [String: Int]

    /// - Throws: an error that names the file and what is wrong with it, when the header or the layout breaks the format.
    public init(path: String) throws(InputError) {
        try self.init(RandomAccessFile(path: path))
    }

    /// The same for a file that is in memory already; `name` stands for its path in messages.
    public init(bytes: [UInt8], named name: String) throws(InputError) {
        try self.init(RandomAccessFile(bytes: bytes, named: name))
    }

    private init(_ file: RandomAccessFile) throws(InputError) {
        let path = file.path
        guard file.size >= 8 else {
            throw InputError(path, "is truncated: \(file.size) bytes, a safetensors file has at least 8")
        }
        let length = try file.read(from: 0, count: 8).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard length <= SafetensorsHeader.maximumBytes else {
            throw InputError(
                path, "declares a header of \(length) bytes, the limit is \(SafetensorsHeader.maximumBytes)",
                advice: "is it a safetensors file?")
        }
        guard length <= file.size - 8 else {
            throw InputError(path, "is truncated: its header has \(length) bytes, \(file.size - 8) follow")
        }
        bodyOffset = 8 + Int(length)
        let header = try SafetensorsHeader(
            json: file.read(from: 8, count: Int(length)), bodySize: file.size - bodyOffset, path: path)
        self.path = path
        self.file = file
        entries = header.entries
        metadata = header.metadata
        indices = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
    }

    /// Tensor names, in the order of the header.
    public var names: [String] { entries.map(\.name) }

    /// Type and shape of a tensor; nil when the file has none of that name.
    public func entry(_ name: String) -> SafetensorsEntry? { indices[name].map { entries[$0] } }

    /// A tensor's values, row-major. Every type converts exactly, except int64 beyond 2^53, which is an error.
    public func doubles(_ name: String) throws(InputError) -> [Double] {
        let (entry, bytes) = try contents(name)
        switch entry.type {
        case .float64: return decode(bytes) { (word: UInt64) in Double(bitPattern: word) }
        case .float32, .float16, .bfloat16: return decodeFloats(bytes, entry.type).map(Double.init)
        case .int64, .int32, .int16, .int8, .uint8, .bool:
            let values = try decodeIntegers(bytes, entry)
            if let large = values.first(where: { $0.magnitude > 1 << 53 }) {
                throw InputError(path, "tensor \(quoted(name)) holds \(large), which no Double holds exactly")
            }
            return values.map(Double.init)
        }
    }

    /// A tensor's values, row-major; float64 and large integers are rounded to nearest.
    public func floats(_ name: String) throws(InputError) -> [Float] {
        let (entry, bytes) = try contents(name)
        switch entry.type {
        case .float32, .float16, .bfloat16: return decodeFloats(bytes, entry.type)
        case .float64: return decode(bytes) { (word: UInt64) in Float(Double(bitPattern: word)) }
        case .int64, .int32, .int16, .int8, .uint8, .bool: return try decodeIntegers(bytes, entry).map(Float.init)
        }
    }

    /// The values of an integer or boolean tensor, row-major; other types are an error.
    public func int64s(_ name: String) throws(InputError) -> [Int64] {
        let (entry, bytes) = try contents(name)
        return try decodeIntegers(bytes, entry)
    }

    /// A tensor with its shape.
    public func tensor(_ name: String) throws(InputError) -> Tensor {
        let values = try doubles(name)
        return Tensor(shape: entry(name)?.shape ?? [values.count], values: values)
    }

    private func contents(_ name: String) throws(InputError) -> (SafetensorsEntry, [UInt8]) {
        guard let entry = entry(name) else {
            let near = nearestName(to: name, among: names).map { "did you mean '\($0)'?" } ?? ""
            throw InputError(path, "has no tensor \(quoted(name))", advice: near)
        }
        return (entry, try file.read(from: bodyOffset + entry.range.lowerBound, count: entry.range.count))
    }

    private func decodeIntegers(_ bytes: [UInt8], _ entry: SafetensorsEntry) throws(InputError) -> [Int64] {
        switch entry.type {
        case .int64: return decode(bytes) { (word: Int64) in word }
        case .int32: return decode(bytes) { (word: Int32) in Int64(word) }
        case .int16: return decode(bytes) { (word: Int16) in Int64(word) }
        case .int8: return decode(bytes) { (word: Int8) in Int64(word) }
        case .uint8: return bytes.map(Int64.init)
        case .bool:
            if let wrong = bytes.first(where: { $0 > 1 }) {
                throw InputError(path, "tensor \(quoted(entry.name)) is BOOL and holds \(wrong), expected 0 or 1")
            }
            return bytes.map(Int64.init)
        case .float64, .float32, .float16, .bfloat16:
            throw InputError(path, "tensor \(quoted(entry.name)) is \(entry.type.rawValue), expected whole numbers such as I64")
        }
    }
}

private func decodeFloats(_ bytes: [UInt8], _ type: SafetensorsType) -> [Float] {
    switch type {
    case .float16: decode(bytes) { (word: UInt16) in Float(Float16(bitPattern: word)) }
    case .bfloat16: decode(bytes) { (word: UInt16) in Float(bitPattern: UInt32(word) << 16) }
    default: decode(bytes) { (word: UInt32) in Float(bitPattern: word) }
    }
}

private func decode<Word: FixedWidthInteger, Value>(_ bytes: [UInt8], _ convert: (Word) -> Value) -> [Value] {
    let size = MemoryLayout<Word>.size
    return bytes.withUnsafeBytes { raw in
        (0..<raw.count / size).map { index in
            convert(Word(littleEndian: raw.loadUnaligned(fromByteOffset: index * size, as: Word.self)))
        }
    }
}
