import RLDGraph

/// A safetensors file, open for reading. The header is read and checked at once; a tensor's bytes are read when it is asked for.
public struct SafetensorsFile: Sendable {
    public let path: String
    /// In the order of the header, without those of types that are not read.
    public let entries: [SafetensorsEntry]
    /// Those, by name: why.
    let unreadable: [String: InputError]
    /// The header's `__metadata__`; empty when there is none.
    public let metadata: [String: String]

    private let file: RandomAccessFile
    private let bodyOffset: Int
    private let indices: [String: Int]

    /// Whether a file begins like one: a header length within the limit, then JSON. No pickle does.
    static func matches(_ start: [UInt8]) -> Bool {
        start.count > 8 && start[4..<8].allSatisfy { $0 == 0 } && start[8] == UInt8(ascii: "{")
    }

    /// - Throws: an error that names the file and what is wrong with it, when the header or the layout breaks the format.
    public init(path: String) throws(InputError) {
        try self.init(RandomAccessFile(path: path))
    }

    /// The same for a file that is in memory already; `name` stands for its path in messages.
    public init(bytes: [UInt8], named name: String) throws(InputError) {
        try self.init(RandomAccessFile(bytes: bytes, named: name))
    }

    init(_ file: RandomAccessFile) throws(InputError) {
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
        (entries, unreadable) = (header.entries, header.unreadable)
        metadata = header.metadata
        indices = Dictionary(uniqueKeysWithValues: header.entries.enumerated().map { ($1.name, $0) })
    }

    /// Tensor names, in the order of the header.
    public var names: [String] { entries.map(\.name) }

    /// Type and shape of a tensor; nil when the file has none of that name.
    public func entry(_ name: String) -> SafetensorsEntry? { indices[name].map { entries[$0] } }

    /// A tensor as the file holds it.
    public func stored(_ name: String) throws(InputError) -> StoredTensor {
        guard let entry = entry(name) else {
            if let error = unreadable[name] { throw error }
            throw InputError(
                path, "has no tensor \(quoted(name))", advice: suggestion(for: name, among: entries.lazy.map(\.name)))
        }
        return try stored(entry)
    }

    func stored(_ entry: SafetensorsEntry) throws(InputError) -> StoredTensor {
        let bytes = try file.read(from: bodyOffset + entry.range.lowerBound, count: entry.range.count)
        return StoredTensor(name: entry.name, type: entry.type, shape: entry.shape, bytes: bytes)
    }

    /// A tensor's values, row-major. Every type converts exactly, except whole numbers beyond 2^53, which are an error.
    public func doubles(_ name: String) throws(InputError) -> [Double] { try stored(name).doubles(source: path) }

    /// A tensor's values, row-major; float64 and large integers are rounded to nearest.
    public func floats(_ name: String) throws(InputError) -> [Float] { try stored(name).floats(source: path) }

    /// The values of an integer or boolean tensor, row-major; other types are an error.
    public func int64s(_ name: String) throws(InputError) -> [Int64] { try stored(name).int64s(source: path) }

    /// A tensor with its shape.
    public func tensor(_ name: String) throws(InputError) -> Tensor { try stored(name).tensor(source: path) }
}
