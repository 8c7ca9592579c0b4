import RLDGraph

/// An array of bytes in the IDX format of MNIST: 0, 0, element type (8: uint8), number of dimensions, the big-endian 32-bit
/// dimensions, then the values, row-major. Gzip-compressed files are unpacked on the way.
public struct IDXFile: Sendable, Equatable {
    /// Extents, outermost first.
    public let shape: [Int]
    /// Row-major.
    public let bytes: [UInt8]

    /// Reads a file of bytes with a given number of dimensions (3 for images, 1 for labels).
    /// - Throws: when the file is missing, not IDX, truncated, corrupt or longer than its header promises.
    public init(path: String, dimensions: Int) throws(InputError) {
        try self.init(ByteReader(path: path), dimensions: dimensions)
    }

    /// The same for bytes that are in memory already; `name` stands for the path in messages.
    public init(bytes: [UInt8], named name: String, dimensions: Int) throws(InputError) {
        try self.init(ByteReader(bytes: bytes, named: name), dimensions: dimensions)
    }

    private init(_ reader: ByteReader, dimensions: Int) throws(InputError) {
        let path = reader.path
        let magic = try reader.read(4)
        let expected: [UInt8] = [0, 0, 8, UInt8(dimensions)]
        guard magic.count == 4 else {
            throw InputError(path, "is truncated: \(magic.count) bytes, its header has \(4 + 4 * dimensions)")
        }
        guard magic == expected else {
            throw InputError(
                path, "expected magic \(hexadecimal(expected)), found \(hexadecimal(magic))",
                advice: dimensions == 3 ? "is it an IDX file of images?" : "is it an IDX file of labels?")
        }
        let extents = try reader.read(4 * dimensions)
        guard extents.count == 4 * dimensions else {
            throw InputError(path, "is truncated: \(4 + extents.count) bytes, its header has \(4 + 4 * dimensions)")
        }
        shape = (0..<dimensions).map { axis in extents[(4 * axis)..<(4 * axis + 4)].reduce(0) { $0 << 8 | Int($1) } }
        var count = 1
        for extent in shape {
            let (product, overflow) = count.multipliedReportingOverflow(by: extent)
            // Before anything is allocated: the header may promise what no file of this size can hold.
            guard !overflow, product <= reader.largestSize else {
                throw InputError(
                    path, "its header promises \(shape) values, more than the file can hold", advice: "is it truncated?")
            }
            count = product
        }
        bytes = try reader.read(count)
        guard bytes.count == count else {
            throw InputError(path, "is truncated: its header promises \(shape), \(count) bytes, found \(bytes.count)")
        }
        guard try reader.read(1).isEmpty else {
            throw InputError(path, "is longer than the \(count) bytes that its header promises with \(shape)")
        }
    }
}

private func hexadecimal(_ bytes: [UInt8]) -> String {
    "0x" + bytes.map { byte in (byte < 16 ? "0" : "") + String(byte, radix: 16) }.joined()
}
