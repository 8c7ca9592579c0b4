import RLDGraph

/// A file that `torch.save` wrote, read without Python: the zip format (since PyTorch 1.6) and the one before it. The structure is
/// read and checked at once; a tensor's bytes are read when it is asked for.
struct TorchCheckpoint: Sendable {
    /// A tensor and where it hangs in the saved object.
    struct Entry: Sendable {
        /// Keys from the outermost dictionary (or index of a list) inwards.
        let path: [String]
        let tensor: TorchTensor
    }

    let path: String
    let entries: [Entry]
    /// Numbers and strings of the outermost dictionary ("epoch", "best_acc"), as text.
    let values: [String: String]
    private let source: Source

    private enum Source: Sendable {
        /// The archive's storages, the folder that they are in, and whether they are big-endian.
        case zip(ArchivedStorages, folder: String, bigEndian: Bool)
        /// Per storage key its first byte in the file and its bytes.
        case legacy(RandomAccessFile, places: [String: (offset: Int, size: Int)])
    }

    static func matches(_ start: [UInt8]) -> Bool { start.first == 0x80 || isTar(start) }
    private static func isTar(_ start: [UInt8]) -> Bool { start.count > 262 && Array(start[257..<262]) == Array("ustar".utf8) }

    init(_ file: RandomAccessFile) throws(InputError) {
        let start = try file.read(from: 0, count: min(file.size, 263))
        if ZipArchive.matches(start) {
            try self.init(zip: ZipArchive(file))
        } else if Self.isTar(start) {
            throw InputError(
                file.path, "is a checkpoint of a PyTorch before 0.1.10 (tar format), which is not read",
                advice: "load it in PyTorch and save it again")
        } else {
            try self.init(legacy: file)
        }
    }

    // MARK: - Formats

    init(zip archive: ZipArchive) throws(InputError) {
        path = archive.path
        guard let pickle = archive.entries.first(where: { $0.name == "data.pkl" || $0.name.hasSuffix("/data.pkl") }) else {
            throw InputError(path, "is a zip archive without data.pkl: torch.save did not write it")
        }
        let folder = String(pickle.name.dropLast("data.pkl".count))
        guard !archive.entries.contains(where: { $0.name.hasPrefix(folder + "code/") }) else {
            throw InputError(
                path, "is a TorchScript archive, not a checkpoint of weights", advice: PickleReader.Purpose.weights.advice)
        }
        let limit = PickleReader.Purpose.weights.maximumBytes
        guard pickle.size <= limit else {
            throw InputError(path, "has a pickle of \(pickle.size) bytes, the limit is \(limit)")
        }
        var bigEndian = false
        if let order = archive[folder + "byteorder"], order.size <= 16 {
            let text = String(decoding: try archive.read(order), as: UTF8.self)
            guard ["little", "big"].contains(text) else {
                throw InputError(path, "has byte order \(quoted(text)), known are little and big")
            }
            bigEndian = text == "big"
        }
        let file = RandomAccessFile(bytes: try archive.read(pickle), named: path)
        var reader = PickleReader(FileCursor(file))
        let root = try reader.read()
        (entries, values) = try TorchTree(reader).flattened(root)
        try Self.checkRepetition(entries, path: path)
        source = .zip(ArchivedStorages(archive), folder: folder, bigEndian: bigEndian)
        var checked: Set<TorchStorage> = []
        for entry in entries {
            let storage = entry.tensor.storage
            guard checked.insert(storage).inserted else { continue }
            guard let stored = archive[folder + "data/" + storage.key] else {
                throw InputError(path, "lacks the storage \(quoted(storage.key)) of \(quoted(entry.path.joined(separator: ".")))")
            }
            try Self.check(storage, size: stored.size, path: path)
        }
    }

    /// Magic number, protocol version, system, object, storage keys: five pickles; then per storage its count and its elements.
    private init(legacy file: RandomAccessFile) throws(InputError) {
        path = file.path
        var cursor = FileCursor(file)
        func next() throws(InputError) -> (PickleValue, PickleReader) {
            var reader = PickleReader(cursor)
            let value = try reader.read()
            cursor = reader.rest
            return (value, reader)
        }
        guard try next().0 == .largeInteger([0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]) else {
            throw InputError(
                path, "is a pickle that torch.save did not write", advice: PickleReader.Purpose.weights.advice)
        }
        guard try next().0 == .integer(1001) else {
            throw InputError(path, "has a version of the old PyTorch format that is not known")
        }
        let system = try next()
        var bigEndian = false
        if case .dictionary(let index) = system.0 {
            let items = system.1.dictionaries[index]
            for at in stride(from: 0, to: items.count - 1, by: 2) where items[at] == .string("little_endian") {
                bigEndian = items[at + 1] == .bool(false)
            }
        }
        let (root, reader) = try next()
        (entries, values) = try TorchTree(reader).flattened(root)
        try Self.checkRepetition(entries, path: path)
        let (keyList, keyReader) = try next()
        guard let keys = keyReader.items(keyList) else { throw InputError(path, "is corrupt: its storage keys are no list") }
        // PyTorch writes elements little-endian on every machine; a mark that says otherwise comes from elsewhere.
        guard !bigEndian else { throw InputError(path, "is marked big-endian, which the old PyTorch format is not read in") }

        var declared: [String: TorchStorage] = [:]
        for storage in reader.storages { declared[storage.key] = storage }
        var places: [String: (offset: Int, size: Int)] = [:]
        for key in keys {
            guard case .string(let key) = key, let storage = declared[key], let width = storage.type?.byteCount else {
                throw InputError(path, "is corrupt: it stores what no tensor declares")
            }
            let count = try cursor.integer(8)
            let (size, overflow) = (Int(exactly: count) ?? .max).multipliedReportingOverflow(by: width)
            guard !overflow, size <= cursor.remaining else {
                throw InputError(
                    path, "is truncated: storage \(quoted(key)) has \(count) elements, \(cursor.remaining) bytes follow")
            }
            places[key] = (cursor.position, size)
            cursor = FileCursor(file, at: cursor.position + size)
        }
        for storage in reader.storages {
            guard let place = places[storage.key] else { throw InputError(path, "lacks the storage \(quoted(storage.key))") }
            try Self.check(storage, size: place.size, path: path)
        }
        source = .legacy(file, places: places)
    }

    /// Bytes that expanded tensors may have together beyond those of their storages.
    private static let maximumRepetition = 1 << 29

    /// An expanded tensor costs a file a hundred bytes, whatever its size.
    private static func checkRepetition(_ entries: [Entry], path: String) throws(InputError) {
        var bytes = 0
        for entry in entries {
            // A number, because the whole tensor's bytes are one.
            let more = entry.tensor.view.repeated * entry.tensor.type.byteCount
            guard more <= maximumRepetition - bytes else {
                throw InputError(
                    path, "holds expanded tensors that repeat their storages in more than \(maximumRepetition >> 20) MiB",
                    advice: "save contiguous tensors: tensor.contiguous()")
            }
            bytes += more
        }
    }

    private static func check(_ storage: TorchStorage, size: Int, path: String) throws(InputError) {
        // The reader of pickles has checked that this sum is a number.
        let count = storage.viewOffset + storage.count
        let (needed, overflow) = count.multipliedReportingOverflow(by: storage.type?.byteCount ?? 1)
        guard !overflow, needed <= size else {
            throw InputError(
                path, "is corrupt: storage \(quoted(storage.key)) should hold \(count) elements and has \(size) bytes")
        }
    }

    // MARK: - Contents

    /// A tensor's elements, row-major and little-endian, whatever its strides.
    func read(_ tensor: TorchTensor) throws(InputError) -> [UInt8] {
        let (view, width) = (tensor.view, tensor.type.byteCount)
        guard view.count > 0 else { return [] }
        let base = tensor.storage.viewOffset * (tensor.storage.type?.byteCount ?? 1)
        let (start, size) = (base + view.offset * width, view.span * width)
        let elements: [UInt8]
        switch source {
        case .legacy(let file, let places):
            guard let place = places[tensor.storage.key], start + size <= place.size else { throw missing(tensor) }
            elements = try file.read(from: place.offset + start, count: size)
        case .zip(let storages, let folder, let bigEndian):
            guard let entry = storages.archive[folder + "data/" + tensor.storage.key], start + size <= entry.size else {
                throw missing(tensor)
            }
            let piece = try storages.read(entry, from: start, count: size)
            elements = bigEndian ? swappingBytes(piece, size: width) : piece
        }
        return view.gathered(elements, width: width)
    }

    private func missing(_ tensor: TorchTensor) -> InputError {
        InputError(path, "is corrupt: storage \(quoted(tensor.storage.key)) is shorter than declared")
    }
}

/// The storages of an archive, of which any number of tensors may be views: each is verified once, and a packed one stays
/// unpacked until another is asked for.
private final class ArchivedStorages: Sendable {
    let archive: ZipArchive
    private let state = Locked(State())

    private struct State {
        /// By name.
        var verified: Set<String> = []
        var unpacked: (name: String, bytes: [UInt8])?

        func part(of name: String, _ range: Range<Int>) -> [UInt8]? {
            unpacked.flatMap { $0.name == name ? Array($0.bytes[range]) : nil }
        }
    }

    init(_ archive: ZipArchive) { self.archive = archive }

    /// A part of a storage.
    /// - Precondition: the part lies in `0...entry.size`.
    func read(_ entry: ZipArchive.Entry, from offset: Int, count: Int) throws(InputError) -> [UInt8] {
        if count == entry.size { return try archive.read(entry) }
        guard entry.isDeflated else {
            if !state.withLock({ $0.verified.contains(entry.name) }) {
                try archive.verify(stored: entry)
                state.withLock { _ = $0.verified.insert(entry.name) }
            }
            return try archive.read(stored: entry, from: offset, count: count)
        }
        if let part = state.withLock({ $0.part(of: entry.name, offset..<offset + count) }) { return part }
        state.withLock { $0.unpacked = nil }
        let bytes = try archive.read(entry)
        state.withLock { $0.unpacked = (entry.name, bytes) }
        return Array(bytes[offset..<offset + count])
    }
}

/// Finds the tensors in what a pickle built.
private struct TorchTree {
    let reader: PickleReader
    private static let maximumDepth = 32
    private static let maximumNodes = 1 << 20
    /// Of all tensors' names together: one long key may stand before any number of them.
    private static let maximumNameBytes = 1 << 26

    init(_ reader: PickleReader) { self.reader = reader }

    func flattened(_ root: PickleValue) throws(InputError) -> ([TorchCheckpoint.Entry], [String: String]) {
        var entries: [TorchCheckpoint.Entry] = []
        var work = (nodes: 0, nameBytes: 0)
        try walk(root, at: [], &entries, &work)
        var values: [String: String] = [:]
        for (key, value) in members(root) ?? [] { if let text = text(value), key != "format" { values[key] = text } }
        // A later entry of one name replaced the earlier one.
        var last: [[String]: Int] = [:]
        for (index, entry) in entries.enumerated() {
            guard let other = last.updateValue(index, forKey: entry.path) else { continue }
            let (name, twinName) = (entry.path.joined(separator: "."), entries[other].path.joined(separator: "."))
            guard name.utf8.elementsEqual(twinName.utf8) else {
                throw twin(name, twinName, path: reader.path, twice: "")
            }
        }
        if last.count < entries.count { entries = entries.indices.filter { last[entries[$0].path] == $0 }.map { entries[$0] } }
        return (entries, values)
    }

    private func walk(
        _ value: PickleValue, at path: [String], _ entries: inout [TorchCheckpoint.Entry],
        _ work: inout (nodes: Int, nameBytes: Int)
    ) throws(InputError) {
        // Whether or not a key gives its value a name, looking at it is work.
        work.nodes += size(value)
        if case .tensor = value { work.nameBytes += path.reduce(0) { $0 + $1.utf8.count + 1 } }
        guard work.nodes <= Self.maximumNodes, work.nameBytes <= Self.maximumNameBytes else {
            throw reader.failure("nests its values without end")
        }
        if case .tensor(let index) = value {
            return entries.append(TorchCheckpoint.Entry(path: path, tensor: reader.tensors[index]))
        }
        guard let members = members(value) else { return }
        guard path.count < Self.maximumDepth else {
            throw reader.failure("nests its values deeper than \(Self.maximumDepth) levels")
        }
        for (key, member) in members { try walk(member, at: path + [key], &entries, &work) }
    }

    /// Values in a container; 0 for anything else.
    private func size(_ value: PickleValue) -> Int {
        switch value {
        case .dictionary(let index): reader.dictionaries[index].count / 2
        case .list(let index): reader.lists[index].count
        case .tuple(let index): reader.tuples[index].count
        default: 0
        }
    }

    private func members(_ value: PickleValue) -> [(String, PickleValue)]? {
        switch value {
        case .dictionary(let index):
            let items = reader.dictionaries[index]
            return stride(from: 0, to: items.count - 1, by: 2).compactMap { at in key(items[at]).map { ($0, items[at + 1]) } }
        case .list(let index): return reader.lists[index].enumerated().map { ("\($0)", $1) }
        case .tuple(let index): return reader.tuples[index].enumerated().map { ("\($0)", $1) }
        default: return nil
        }
    }

    private func key(_ value: PickleValue) -> String? {
        switch value {
        case .string(let text): text
        case .integer(let number): "\(number)"
        default: nil
        }
    }

    private func text(_ value: PickleValue) -> String? {
        switch value {
        case .string(let text): text
        case .integer(let number): "\(number)"
        case .float(let number): "\(number)"
        case .bool(let truth): "\(truth)"
        default: nil
        }
    }
}
