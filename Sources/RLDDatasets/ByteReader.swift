import CZlib
import RLDFormats
import RLDGraph

/// The bytes of a file from front to back, unpacked on the way when the file is gzip-compressed (by its first two bytes; names
/// do not matter). Memory stays bounded: only what is asked for is unpacked.
final class ByteReader {
    /// The most bytes that the file can hold unpacked: deflate never does better than 1032 to 1.
    let largestSize: Int
    let isCompressed: Bool
    /// Bytes handed out so far.
    private(set) var position = 0

    private let file: RandomAccessFile
    /// Raw bytes taken from the file so far.
    private var rawPosition = 0
    // Both on the heap, because zlib keeps their addresses.
    private let input: UnsafeMutableBufferPointer<UInt8>
    private let stream: UnsafeMutablePointer<z_stream>
    /// Valid compressed members have ended; more may follow.
    private var memberEnded = false

    /// The path, for messages.
    var path: String { file.path }

    private static let chunk = 1 << 16
    private static let portion = 1 << 24

    convenience init(path: String) throws(InputError) { try self.init(RandomAccessFile(path: path)) }

    /// The same for bytes that are in memory already; `name` stands for the path in messages.
    convenience init(bytes: [UInt8], named name: String) throws(InputError) {
        try self.init(RandomAccessFile(bytes: bytes, named: name))
    }

    private init(_ file: RandomAccessFile) throws(InputError) {
        self.file = file
        isCompressed = try file.read(from: 0, count: min(file.size, 2)) == [0x1F, 0x8B]
        largestSize = isCompressed ? 1032 * min(file.size, .max / 1032) : file.size
        input = .allocate(capacity: isCompressed ? Self.chunk : 0)
        stream = .allocate(capacity: 1)
        stream.initialize(to: z_stream())
        // 16: gzip wrapper, checksum included.
        if isCompressed, inflateInit2_(stream, 15 + 16, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size)) != Z_OK {
            throw InputError(path, "cannot be unpacked: zlib gives no memory")
        }
    }

    deinit {
        if isCompressed { inflateEnd(stream) }
        stream.deallocate()
        input.deallocate()
    }

    /// The next `count` bytes; fewer only at the end. Memory grows with what is really there, whatever was asked for.
    /// - Throws: for corrupt or truncated compressed data, and read errors.
    func read(_ count: Int) throws(InputError) -> [UInt8] {
        guard count > Self.portion else { return try portion(count) }
        var bytes: [UInt8] = []
        while bytes.count < count {
            let wanted = min(Self.portion, count - bytes.count)
            let portion = try portion(wanted)
            bytes += portion
            if portion.count < wanted { break }
        }
        return bytes
    }

    private func portion(_ count: Int) throws(InputError) -> [UInt8] {
        let bytes = try isCompressed ? inflated(count) : raw(count)
        position += bytes.count
        return bytes
    }

    private func inflated(_ count: Int) throws(InputError) -> [UInt8] {
        var problem: InputError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(InputError) {
                initialized = try inflate(into: buffer)
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        return bytes
    }

    private func inflate(into buffer: UnsafeMutableBufferPointer<UInt8>) throws(InputError) -> Int {
        var filled = 0
        while filled < buffer.count, let base = buffer.baseAddress {
            if stream.pointee.avail_in == 0 {
                let bytes = try raw(Self.chunk)
                if bytes.isEmpty {
                    if memberEnded { break }
                    throw InputError(path, "is truncated: its compressed data ends after \(position + filled) unpacked bytes")
                }
                _ = input.update(fromContentsOf: bytes)
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(bytes.count)
            }
            if memberEnded {
                inflateReset(stream)
                memberEnded = false
            }
            let room = min(buffer.count - filled, 1 << 30)
            stream.pointee.next_out = base + filled
            stream.pointee.avail_out = UInt32(room)
            let status = CZlib.inflate(stream, Z_NO_FLUSH)
            filled += room - Int(stream.pointee.avail_out)
            switch status {
            case Z_OK, Z_BUF_ERROR: continue
            case Z_STREAM_END: memberEnded = true
            default:
                let reason = stream.pointee.msg.map { String(cString: $0) } ?? "zlib status \(status)"
                throw InputError(path, "is corrupt: \(reason) after \(position + filled) unpacked bytes")
            }
        }
        return filled
    }

    /// The next raw bytes; fewer only at the end.
    private func raw(_ count: Int) throws(InputError) -> [UInt8] {
        let bytes = try file.read(from: rawPosition, count: min(count, file.size - rawPosition))
        rawPosition += bytes.count
        return bytes
    }
}
