import RLDGraph

/// Writes a zip file of stored entries, one after the other; each begins at a multiple of 64 bytes, so that it can be mapped.
/// Files stay below 4 GiB: no zip64 is written.
struct ZipWriter: ~Copyable {
    private let path: String
    private var offset = 0
    private var directory: [UInt8] = []
    private var count = 0
    private var names: Set<String> = []
    private static let maximumEntries = 0xFFFE

    init(path: String) { self.path = path }

    /// Appends an entry.
    /// - Throws: for a name given twice, a file beyond 4 GiB, and what writing throws.
    mutating func add(_ name: String, _ bytes: [UInt8], to file: borrowing AtomicFile) throws(InputError) {
        guard names.insert(name).inserted else { throw InputError(path, "cannot hold two entries named \(quoted(name))") }
        let nameBytes = Array(name.utf8)
        let start = offset + 30 + nameBytes.count
        // Padding goes into an extra field of its own, at least 4 bytes long.
        let padding = 4 + (64 - (start + 4) % 64) % 64
        let end = start + padding + bytes.count
        func refusal(_ problem: String) -> InputError {
            InputError(path, "would \(problem), which is not written as zip", advice: "write a .safetensors file")
        }
        guard count < Self.maximumEntries else { throw refusal("hold more than \(Self.maximumEntries) entries") }
        guard nameBytes.count < 0xFFFF else { throw refusal("hold a name of \(nameBytes.count) bytes") }
        guard end < 0xFFFF_0000 else { throw refusal("be larger than 4 GiB") }
        // Version 2.0, UTF-8 names, stored, no date (1980-01-01): the same tensors give the same bytes.
        let common: [UInt8] =
            le(20, 2) + le(0x0800, 2) + le(0, 2) + le(0, 2) + le(0x21, 2) + le(Int(checksum(bytes)), 4) + le(bytes.count, 4)
            + le(bytes.count, 4) + le(nameBytes.count, 2)
        let extra = le(0x4246, 2) + le(padding - 4, 2) + Array(repeating: UInt8(ascii: "Z"), count: padding - 4)
        try file.append(le(0x0403_4B50, 4) + common + le(extra.count, 2) + nameBytes + extra)
        try file.append(bytes)
        directory +=
            le(0x0201_4B50, 4) + le(20, 2) + common + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 2) + le(0, 4) + le(offset, 4)
            + nameBytes
        offset = end
        count += 1
    }

    /// Writes the directory; nothing may be added afterwards.
    consuming func finish(to file: borrowing AtomicFile) throws(InputError) {
        try file.append(directory)
        try file.append(
            le(0x0605_4B50, 4) + le(0, 2) + le(0, 2) + le(count, 2) + le(count, 2) + le(directory.count, 4) + le(offset, 4)
                + le(0, 2))
    }
}

/// A number as little-endian bytes.
private func le(_ value: Int, _ size: Int) -> [UInt8] { (0..<size).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
