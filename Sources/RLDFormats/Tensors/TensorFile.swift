import Foundation
import RLDGraph

/// A file of named tensors in any format that is read: safetensors, PyTorch checkpoints, NumPy arrays (.npy) and archives (.npz).
/// The format is known by what the file holds, and by its ending only where that is damaged; names, types and shapes are read and
/// checked at once, values when asked for.
public struct TensorFile: Sendable {
    public enum Format: String, Sendable, CaseIterable {
        case safetensors
        case torch = "PyTorch checkpoint"
        case npy = "NumPy array"
        case npz = "NumPy archive"
    }

    /// What is known of a tensor without reading its values.
    public struct Entry: Sendable, Equatable {
        /// Keys of nested dictionaries (PyTorch) joined with dots, then the tensor's name.
        public let name: String
        public let type: ElementType
        /// Extents, outermost first; empty for a scalar.
        public let shape: [Int]
        /// The keys of the dictionaries around it, outermost first; only PyTorch checkpoints have any.
        let group: [String]
        /// The name without those keys.
        let ownName: String
        public var count: Int { shape.reduce(1, *) }
    }

    public let path: String
    public let format: Format
    /// In the order of the file, without those of types that are not read.
    public let entries: [Entry]
    /// Those, by name: why.
    private let unreadable: [String: InputError]
    /// What the file says about itself: safetensors metadata, numbers and strings beside PyTorch weights.
    public let metadata: [String: String]
    private let contents: Contents

    private enum Contents: Sendable {
        case safetensors(SafetensorsFile)
        case torch(TorchCheckpoint)
        case npy(NumPyArray)
        case npz(ZipArchive, [ZipArchive.Entry])
    }

    /// Opens a file.
    /// - Throws: an error that names the file and what is wrong with it.
    public init(path: String) throws(InputError) { try self.init(RandomAccessFile(path: path)) }

    /// The same for a file that is in memory already; `name` stands for its path in messages.
    public init(bytes: [UInt8], named name: String) throws(InputError) {
        try self.init(RandomAccessFile(bytes: bytes, named: name))
    }

    private init(_ file: RandomAccessFile) throws(InputError) {
        let start = try file.read(from: 0, count: min(file.size, 263))
        let ending = Self.ending(of: file.path)
        if NumPyArray.matches(start) || ending == "npy" {
            self.init(try NumPyArray(file))
        } else if ZipArchive.matches(start) || ending == "npz" {
            let archive = try ZipArchive(file)
            if archive.entries.isEmpty || archive.entries.contains(where: { $0.name.hasSuffix(".npy") }) {
                try self.init(arrays: archive)
            } else {
                self.init(try TorchCheckpoint(zip: archive))
            }
        } else if SafetensorsFile.matches(start) || ending == "safetensors" {
            self.init(try SafetensorsFile(file))
        } else if TorchCheckpoint.matches(start) {
            self.init(try TorchCheckpoint(file))
        } else {
            throw InputError(
                file.path, "is no file of tensors that can be read",
                advice: "known are safetensors, PyTorch checkpoints, .npy and .npz")
        }
    }

    private init(_ array: NumPyArray) {
        path = array.path
        (format, metadata, contents, unreadable) = (.npy, [:], .npy(array), [:])
        let stem = URL(fileURLWithPath: path).deletingPathExtension().lastPathComponent
        entries = [Entry(name: stem, type: array.type, shape: array.shape, group: [], ownName: stem)]
    }

    private init(arrays archive: ZipArchive) throws(InputError) {
        path = archive.path
        var members: [ZipArchive.Entry] = []
        var found: [Entry] = []
        var unreadable: [String: InputError] = [:]
        for member in archive.entries where !member.name.hasSuffix("/") {
            do throws(InputError) {
                let array = try Self.array(member, in: archive, headerOnly: true)
                let name = String(member.name.dropLast(4))
                found.append(Entry(name: name, type: array.type, shape: array.shape, group: [], ownName: name))
                members.append(member)
            } catch {
                guard error.isUnsupported else { throw error }
                unreadable[String(member.name.dropLast(4))] = error
            }
        }
        (format, metadata, contents, entries) = (.npz, [:], .npz(archive, members), found)
        self.unreadable = unreadable
    }

    private init(_ file: SafetensorsFile) {
        path = file.path
        (format, metadata, contents, unreadable) = (.safetensors, file.metadata, .safetensors(file), file.unreadable)
        entries = file.entries.map { Entry(name: $0.name, type: $0.type, shape: $0.shape, group: [], ownName: $0.name) }
    }

    private init(_ checkpoint: TorchCheckpoint) {
        path = checkpoint.path
        format = .torch
        metadata = checkpoint.values
        (contents, unreadable) = (.torch(checkpoint), [:])
        entries = checkpoint.entries.map {
            Entry(
                name: $0.path.joined(separator: "."), type: $0.tensor.type, shape: $0.tensor.view.shape,
                group: Array($0.path.dropLast()), ownName: $0.path.last ?? "")
        }
    }

    /// An archive's array. It is read whole, because it may be compressed; only one is in memory at a time.
    /// - Parameter headerOnly: its elements are not read, nor its checksum verified: a small archive may hold very large arrays.
    private static func array(
        _ member: ZipArchive.Entry, in archive: ZipArchive, headerOnly: Bool = false
    ) throws(InputError) -> NumPyArray {
        guard member.name.hasSuffix(".npy") else {
            throw InputError(archive.path, "holds \(quoted(member.name)), which is no NumPy array")
        }
        let bytes = try headerOnly ? archive.read(member, first: NumPyArray.headerBytes) : archive.read(member)
        let file = RandomAccessFile(bytes: bytes, named: "\(archive.path): \(quoted(member.name))")
        return try NumPyArray(file, of: member.size)
    }

    static func ending(of path: String) -> String { URL(fileURLWithPath: path).pathExtension.lowercased() }

    /// Type and shape of a tensor; nil when the file has none of that name.
    public func entry(_ name: String) -> Entry? { entries.first { $0.name == name } }

    /// The tensor of an entry, by its index in `entries`.
    public func stored(at index: Int) throws(InputError) -> StoredTensor {
        let entry = entries[index]
        switch contents {
        case .safetensors(let file): return try file.stored(file.entries[index])
        case .npy(let array): return try array.read(named: entry.name)
        case .npz(let archive, let members): return try Self.array(members[index], in: archive).read(named: entry.name)
        case .torch(let checkpoint):
            let bytes = try checkpoint.read(checkpoint.entries[index].tensor)
            return StoredTensor(name: entry.name, type: entry.type, shape: entry.shape, bytes: bytes)
        }
    }

    /// A tensor by its name. A file that holds a single array without a name of its own (.npy) gives that one for any name.
    public func stored(_ name: String) throws(InputError) -> StoredTensor {
        if format == .npy { return try stored(at: 0) }
        guard let index = entries.firstIndex(where: { $0.name == name }) else {
            if let error = unreadable[name] { throw error }
            throw InputError(
                path, "has no tensor \(quoted(name))", advice: suggestion(for: name, among: entries.lazy.map(\.name)))
        }
        return try stored(at: index)
    }

    /// For what takes every tensor of the file.
    /// - Throws: why one of them is not read, the first by name.
    public func requireReadable() throws(InputError) {
        if let first = unreadable.min(by: { $0.key < $1.key }) { throw first.value }
    }

    /// A tensor by its name, or the only one that the file holds, whatever its name.
    public func stored(preferring name: String) throws(InputError) -> StoredTensor {
        try entries.count == 1 ? stored(at: 0) : stored(name)
    }

    /// A tensor's values and shape.
    public func tensor(_ name: String) throws(InputError) -> Tensor { try stored(name).tensor(source: path) }

    /// The values of a tensor of whole numbers.
    public func int64s(_ name: String) throws(InputError) -> [Int64] { try stored(name).int64s(source: path) }
}
