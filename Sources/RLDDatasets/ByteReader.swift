import CZlib
import Foundation
import RLDGraph

/// The bytes of a file from front to back, unpacked on the way when the file is gzip-compressed (by its first two bytes; names
/// do not matter). Memory stays bounded: only what is asked for is unpacked.
final class ByteReader {
    /// The path, for messages.
    let path: String
    /// The most bytes that the file can hold unpacked: deflate never does better than 1032 to 1.
    let largestSize: Int
    let isCompressed: Bool
    /// Bytes handed out so far.
    private(set) var position = 0

    private let source: Source
    private let input: UnsafeMutableBufferPointer<UInt8>
    // On the heap, because zlib keeps the address of its stream.
    private let stream: UnsafeMutablePointer<z_stream>
    /// Valid compressed members have ended; more may follow.
    private var memberEnded = false

    private static let chunk = 1 << 16
    private static let portion = 1 << 24

    convenience init(path: String) throws(InputError) {
        guard let file = fopen(path, "rbe") else {
            let code = errno
            throw code == ENOENT
                ? InputError(path, "no such file") : InputError(path, "cannot be opened: \(String(cString: strerror(code)))")
        }
        try self.init(path: path, source: FileSource(file: file))
    }

    /// The same for bytes that are in memory already; `name` stands for the path in messages.
    convenience init(bytes: [UInt8], named name: String) throws(InputError) {
        try self.init(path: name, source: MemorySource(bytes: bytes))
    }

    private init(path: String, source: Source) throws(InputError) {
        self.path = path
        self.source = source
        guard let size = source.size else { throw InputError(path, "is not a file but a folder or device") }
        isCompressed = source.first(2) == [0x1F, 0x8B]
        largestSize = isCompressed ? size.multipliedReportingOverflow(by: 1032).partialValue : size
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
        var problem: InputError?
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            do throws(InputError) {
                initialized = isCompressed ? try inflate(into: buffer) : try source.read(into: buffer, path: path)
            } catch {
                problem = error
            }
        }
        if let problem { throw problem }
        position += bytes.count
        return bytes
    }

    private func inflate(into buffer: UnsafeMutableBufferPointer<UInt8>) throws(InputError) -> Int {
        var filled = 0
        while filled < buffer.count, let base = buffer.baseAddress {
            if stream.pointee.avail_in == 0 {
                let count = try source.read(into: input, path: path)
                if count == 0 {
                    if memberEnded { break }
                    throw InputError(path, "is truncated: its compressed data ends after \(position + filled) unpacked bytes")
                }
                stream.pointee.next_in = input.baseAddress
                stream.pointee.avail_in = UInt32(count)
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

    /// Where raw bytes come from.
    private protocol Source {
        /// Nil when it is no regular file.
        var size: Int? { get }
        func first(_ count: Int) -> [UInt8]
        /// Fills the buffer, less only at the end.
        func read(into buffer: UnsafeMutableBufferPointer<UInt8>, path: String) throws(InputError) -> Int
    }

    private final class FileSource: Source {
        private let file: UnsafeMutablePointer<FILE>
        init(file: UnsafeMutablePointer<FILE>) { self.file = file }
        deinit { fclose(file) }

        var size: Int? {
            var status = stat()
            guard fstat(fileno(file), &status) == 0, status.st_mode & S_IFMT == S_IFREG else { return nil }
            return Int(status.st_size)
        }

        func first(_ count: Int) -> [UInt8] {
            defer { rewind(file) }
            return [UInt8](unsafeUninitializedCapacity: count) { $1 = fread($0.baseAddress, 1, count, file) }
        }

        func read(into buffer: UnsafeMutableBufferPointer<UInt8>, path: String) throws(InputError) -> Int {
            guard buffer.count > 0 else { return 0 }
            let count = fread(buffer.baseAddress, 1, buffer.count, file)
            if count < buffer.count, ferror(file) != 0 { throw InputError(path, "cannot be read") }
            return count
        }
    }

    private final class MemorySource: Source {
        private let bytes: [UInt8]
        private var position = 0
        init(bytes: [UInt8]) { self.bytes = bytes }

        var size: Int? { bytes.count }
        func first(_ count: Int) -> [UInt8] { Array(bytes.prefix(count)) }

        func read(into buffer: UnsafeMutableBufferPointer<UInt8>, path: String) throws(InputError) -> Int {
            let count = min(buffer.count, bytes.count - position)
            _ = buffer.update(fromContentsOf: bytes[position..<position + count])
            position += count
            return count
        }
    }
}
