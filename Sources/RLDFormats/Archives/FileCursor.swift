import RLDGraph

/// Reads a file's bytes in order, in portions.
struct FileCursor {
    let file: RandomAccessFile
    private var buffer: [UInt8] = []
    private var index = 0
    private var bufferEnd: Int

    private static let portion = 1 << 16

    init(_ file: RandomAccessFile, at offset: Int = 0) {
        self.file = file
        bufferEnd = min(offset, file.size)
    }

    /// Of the next byte, from the beginning of the file.
    var position: Int { bufferEnd - (buffer.count - index) }
    var remaining: Int { file.size - position }

    mutating func byte() throws(InputError) -> UInt8 {
        if index == buffer.count {
            let count = min(Self.portion, file.size - bufferEnd)
            guard count > 0 else { throw InputError(file.path, "is truncated: it ends at byte \(file.size)") }
            buffer = try file.read(from: bufferEnd, count: count)
            bufferEnd += count
            index = 0
        }
        defer { index += 1 }
        return buffer[index]
    }

    /// The next `count` bytes; more than the file has left are refused before anything is allocated.
    mutating func bytes(_ count: Int) throws(InputError) -> [UInt8] {
        guard count >= 0, count <= remaining else {
            throw InputError(file.path, "is truncated: \(count) bytes are promised at byte \(position), \(remaining) follow")
        }
        let buffered = min(count, buffer.count - index)
        var result = Array(buffer[index..<index + buffered])
        index += buffered
        if result.count < count {
            let rest = count - result.count
            result += try file.read(from: bufferEnd, count: rest)
            bufferEnd += rest
            buffer = []
            index = 0
        }
        return result
    }

    /// An unsigned little-endian number of 1 to 8 bytes.
    mutating func integer(_ size: Int) throws(InputError) -> UInt64 {
        var value: UInt64 = 0
        for shift in 0..<size { value |= UInt64(try byte()) << UInt64(8 * shift) }
        return value
    }

    /// The bytes up to a line feed, without it.
    mutating func line() throws(InputError) -> [UInt8] {
        var result: [UInt8] = []
        while true {
            let next = try byte()
            if next == 0x0A { return result }
            guard result.count < Self.portion else {
                throw InputError(file.path, "has a line of more than \(Self.portion) bytes")
            }
            result.append(next)
        }
    }
}
