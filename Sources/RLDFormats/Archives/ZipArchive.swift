import CZlib
import RLDGraph

/// The entries of a zip file (PKWARE APPNOTE): stored or deflated, zip64 included. The directory is read and checked at once;
/// an entry's bytes are read when asked for, and nothing is allocated that the file cannot hold.
struct ZipArchive: Sendable {
    struct Entry: Sendable {
        let name: String
        let isDeflated: Bool
        let checksum: UInt32
        let packedSize: Int
        let size: Int
        /// Of the local header.
        fileprivate let offset: Int
    }

    let path: String
    /// In the order of the directory.
    let entries: [Entry]
    private let indices: [String: Int]
    private let file: RandomAccessFile

    private static let maximumEntries = 1 << 20
    private static let maximumDirectory = 1 << 28

    /// Whether bytes begin like a zip file with entries.
    static func matches(_ start: [UInt8]) -> Bool { start.starts(with: [0x50, 0x4B, 3, 4]) }

    init(_ file: RandomAccessFile) throws(InputError) {
        path = file.path
        self.file = file
        let directory = try Self.findDirectory(file)
        guard directory.count <= Self.maximumEntries else {
            throw InputError(
                path, "is a zip archive of \(directory.count) entries, more than \(Self.maximumEntries) are not read")
        }
        guard directory.size <= Self.maximumDirectory else {
            throw InputError(
                path, "has a zip directory of \(directory.size) bytes, more than \(Self.maximumDirectory) are not read")
        }
        guard directory.offset <= file.size - directory.size else {
            throw InputError(path, "is truncated: its zip directory lies outside the file")
        }
        var bytes = ByteParser(try file.read(from: directory.offset, count: directory.size))
        var entries: [Entry] = []
        var indices: [String: Int] = [:]
        for _ in 0..<directory.count {
            let entry = try Self.entry(&bytes, path: path)
            if let other = indices.updateValue(entries.count, forKey: entry.name) {
                throw twin(entry.name, entries[other].name, path: path, twice: "is corrupt: its zip directory names")
            }
            entries.append(entry)
        }
        try Self.checkLayout(entries, fileSize: file.size, path: path)
        self.entries = entries
        self.indices = indices
    }

    subscript(name: String) -> Entry? { indices[name].map { entries[$0] } }

    // MARK: - Directory

    private static func findDirectory(_ file: RandomAccessFile) throws(InputError) -> (count: Int, size: Int, offset: Int) {
        let tailSize = min(file.size, 22 + 0xFFFF)
        let tail = try file.read(from: file.size - tailSize, count: tailSize)
        let broken = InputError(file.path, "is truncated or no zip archive: it has no zip directory")
        guard tailSize >= 22 else { throw broken }
        let end = stride(from: tailSize - 22, through: 0, by: -1).first { start in
            tail[start] == 0x50 && tail[start + 1] == 0x4B && tail[start + 2] == 5 && tail[start + 3] == 6
        }
        guard let end else { throw broken }
        var record = ByteParser(tail, at: end + 10)
        guard let count = record.integer(2), let size = record.integer(4), let offset = record.integer(4) else { throw broken }
        let place = file.size - tailSize + end
        guard count == 0xFFFF || size == 0xFFFF_FFFF || offset == 0xFFFF_FFFF, place >= 20 else { return (count, size, offset) }
        // zip64: a locator before the record points to a larger record.
        var locator = ByteParser(try file.read(from: place - 20, count: 20))
        guard locator.integer(4) == 0x0706_4B50 else { return (count, size, offset) }
        _ = locator.integer(4)
        guard let largeOffset = locator.integer(8), largeOffset >= 0, largeOffset <= file.size - 56 else { throw broken }
        var large = ByteParser(try file.read(from: largeOffset, count: 56))
        guard large.integer(4) == 0x0606_4B50, large.skip(28), let largeCount = large.integer(8),
            let largeSize = large.integer(8),
            let directoryOffset = large.integer(8)
        else { throw broken }
        return (largeCount, largeSize, directoryOffset)
    }

    private static func entry(_ bytes: inout ByteParser, path: String) throws(InputError) -> Entry {
        let broken = InputError(path, "is corrupt: its zip directory breaks off")
        guard bytes.integer(4) == 0x0201_4B50, bytes.skip(4), let flags = bytes.integer(2), let method = bytes.integer(2),
            bytes.skip(4), let checksum = bytes.integer(4), var packedSize = bytes.integer(4), var size = bytes.integer(4),
            let nameLength = bytes.integer(2), let extraLength = bytes.integer(2), let commentLength = bytes.integer(2),
            bytes.skip(8), var offset = bytes.integer(4), let nameBytes = bytes.bytes(nameLength),
            let extraBytes = bytes.bytes(extraLength), bytes.skip(commentLength)
        else { throw broken }
        let name = String(decoding: nameBytes, as: UTF8.self)
        // Refused when the archive is read: nobody writes weights so.
        guard flags & 1 == 0 else {
            throw InputError(path, "holds \(quoted(name)) encrypted, which is not read", advice: "write it without a password")
        }
        guard method == 0 || method == 8 else {
            throw InputError(
                path, "holds \(quoted(name)) packed by \(methods[method] ?? "method \(method)"), which is not read",
                advice: "store it, or pack it by deflate (numpy.savez_compressed)")
        }
        var extra = ByteParser(extraBytes)
        while let kind = extra.integer(2), let length = extra.integer(2), let field = extra.bytes(length) {
            guard kind == 1 else { continue }
            var large = ByteParser(field)
            if size == 0xFFFF_FFFF { size = large.integer(8) ?? -1 }
            if packedSize == 0xFFFF_FFFF { packedSize = large.integer(8) ?? -1 }
            if offset == 0xFFFF_FFFF { offset = large.integer(8) ?? -1 }
        }
        guard size >= 0, packedSize >= 0, offset >= 0 else { throw broken }
        return Entry(
            name: name, isDeflated: method == 8, checksum: UInt32(checksum),
            packedSize: packedSize, size: size, offset: offset)
    }

    /// Ways to pack that messages can name.
    private static let methods = [9: "deflate64", 12: "bzip2", 14: "LZMA", 93: "Zstandard", 95: "XZ", 99: "AES encryption"]

    /// No two entries share bytes: a small file whose entries are all one piece of it would unpack to any size.
    private static func checkLayout(_ entries: [Entry], fileSize: Int, path: String) throws(InputError) {
        var end = 0
        for entry in entries.sorted(by: { $0.offset < $1.offset }) {
            guard entry.offset >= end else {
                throw InputError(path, "is corrupt: its entry \(quoted(entry.name)) lies inside another one")
            }
            // What ends outside the file is refused when it is read.
            guard entry.offset <= fileSize - 30, entry.packedSize <= fileSize - entry.offset else { break }
            end = entry.offset + 30 + entry.packedSize
        }
    }

    // MARK: - Contents

    /// Where an entry's packed bytes begin.
    private func dataOffset(_ entry: Entry) throws(InputError) -> Int {
        guard entry.offset <= file.size - 30 else { throw outside(entry) }
        var local = ByteParser(try file.read(from: entry.offset, count: 30))
        guard local.integer(4) == 0x0403_4B50, local.skip(22), let name = local.integer(2), let extra = local.integer(2) else {
            throw InputError(path, "is corrupt: no zip entry lies where the directory puts \(quoted(entry.name))")
        }
        let start = entry.offset + 30 + name + extra
        guard start <= file.size, entry.packedSize <= file.size - start else { throw outside(entry) }
        guard entry.isDeflated || entry.packedSize == entry.size else {
            throw InputError(path, "is corrupt: \(quoted(entry.name)) is stored, but its two sizes differ")
        }
        // Deflate never does better than 1032 to 1: what promises more is refused before anything is allocated.
        guard !entry.isDeflated || entry.size / 1032 <= entry.packedSize else {
            throw InputError(
                path, "is corrupt: \(entry.packedSize) bytes of \(quoted(entry.name)) cannot unpack to \(entry.size)")
        }
        return start
    }

    private func outside(_ entry: Entry) -> InputError {
        InputError(path, "is truncated: its entry \(quoted(entry.name)) ends outside the file")
    }

    /// The whole of an entry, its checksum verified.
    func read(_ entry: Entry) throws(InputError) -> [UInt8] {
        let start = try dataOffset(entry)
        try checkMemory(entry.size, path: path)
        let packed = try file.read(from: start, count: entry.packedSize)
        let bytes = entry.isDeflated ? try inflated(packed, entry) : packed
        // PyTorch can be told to leave checksums out; the field is 0 then.
        guard entry.checksum == 0 || entry.checksum == checksum(bytes) else { throw damaged(entry) }
        return bytes
    }

    /// The first bytes of an entry, at most `count`. Of a larger one no more is unpacked, and its checksum is not looked at.
    func read(_ entry: Entry, first count: Int) throws(InputError) -> [UInt8] {
        guard entry.size > count else { return try read(entry) }
        let start = try dataOffset(entry)
        guard entry.isDeflated else { return try file.read(from: start, count: count) }
        // Deflate adds at most a few bytes in every 16 KiB to what it cannot pack, and codes of blocks that may be empty.
        let packed = try file.read(from: start, count: min(entry.packedSize, 2 * count + 4096))
        return try inflated(packed, entry, first: count)
    }

    /// A part of a stored entry. Its checksum is that of the whole, for `verify`.
    func read(stored entry: Entry, from offset: Int, count: Int) throws(InputError) -> [UInt8] {
        try file.read(from: dataOffset(entry) + offset, count: count)
    }

    /// Checks the checksum of a stored entry, a piece in memory at a time.
    func verify(stored entry: Entry) throws(InputError) {
        let start = try dataOffset(entry)
        guard entry.checksum != 0 else { return }
        var sum: UInt = 0
        let portion = 1 << 20
        for offset in stride(from: 0, to: entry.packedSize, by: portion) {
            let bytes = try file.read(from: start + offset, count: min(portion, entry.packedSize - offset))
            sum = crc32(sum, bytes, UInt32(bytes.count))
        }
        guard entry.checksum == UInt32(truncatingIfNeeded: sum) else { throw damaged(entry) }
    }

    private func damaged(_ entry: Entry) -> InputError {
        InputError(path, "is corrupt: the checksum of its entry \(quoted(entry.name)) does not match")
    }

    /// - Parameter first: bytes to unpack; nil for all, which must be as many as promised.
    private func inflated(_ packed: [UInt8], _ entry: Entry, first: Int? = nil) throws(InputError) -> [UInt8] {
        // On the heap, because zlib keeps the address of its stream.
        let stream = UnsafeMutablePointer<z_stream>.allocate(capacity: 1)
        stream.initialize(to: z_stream())
        defer { stream.deallocate() }
        // Raw deflate data, without a wrapper.
        guard inflateInit2_(stream, -15, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) == Z_OK else {
            throw InputError(path, "cannot be unpacked: zlib gives no memory")
        }
        defer { inflateEnd(stream) }
        var input = packed
        var status = Z_OK
        let bytes = input.withUnsafeMutableBufferPointer { input in
            // One byte more than promised shows that there is more.
            [UInt8](unsafeUninitializedCapacity: first ?? entry.size + 1) { output, count in
                var (read, written) = (0, 0)
                repeat {
                    let (portion, room) = (min(input.count - read, 1 << 30), min(output.count - written, 1 << 30))
                    stream.pointee.next_in = input.baseAddress.map { $0 + read }
                    stream.pointee.avail_in = UInt32(portion)
                    stream.pointee.next_out = output.baseAddress.map { $0 + written }
                    stream.pointee.avail_out = UInt32(room)
                    status = inflate(stream, Z_NO_FLUSH)
                    read += portion - Int(stream.pointee.avail_in)
                    written += room - Int(stream.pointee.avail_out)
                } while status == Z_OK && written < output.count
                count = written
            }
        }
        let isWhole = status == Z_STREAM_END && bytes.count == entry.size
        guard first.map({ bytes.count == $0 }) ?? isWhole else {
            throw InputError(
                path, "is corrupt: its entry \(quoted(entry.name)) does not unpack to the \(entry.size) bytes promised")
        }
        return bytes
    }
}

/// CRC-32 as zip files use it.
func checksum(_ bytes: [UInt8]) -> UInt32 {
    bytes.withUnsafeBufferPointer { buffer in
        var value: UInt = 0
        var start = 0
        while start < buffer.count {
            let count = min(buffer.count - start, 1 << 30)
            value = crc32(value, buffer.baseAddress.map { $0 + start }, UInt32(count))
            start += count
        }
        return UInt32(truncatingIfNeeded: value)
    }
}

/// Little-endian numbers out of bytes; nil where the bytes end.
struct ByteParser {
    private let source: [UInt8]
    private(set) var position: Int

    init(_ bytes: [UInt8], at position: Int = 0) {
        source = bytes
        self.position = position
    }

    var remaining: Int { source.count - position }

    /// An unsigned number of 1 to 8 bytes; nil also when it has 64 bits.
    mutating func integer(_ size: Int) -> Int? {
        guard remaining >= size else { return nil }
        var value: UInt64 = 0
        for i in (0..<size).reversed() { value = value << 8 | UInt64(source[position + i]) }
        position += size
        return Int(exactly: value)
    }

    mutating func bytes(_ count: Int) -> [UInt8]? {
        guard count >= 0, remaining >= count else { return nil }
        defer { position += count }
        return Array(source[position..<position + count])
    }

    mutating func skip(_ count: Int) -> Bool {
        guard count >= 0, remaining >= count else { return false }
        position += count
        return true
    }
}
