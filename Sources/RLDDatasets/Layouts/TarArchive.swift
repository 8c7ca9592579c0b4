import RLDFormats
import RLDGraph

/// The files of a tar archive, plain or gzip-compressed, that are wanted, by the last part of their names.
enum TarArchive {
    /// Of a file that is read; CIFAR's largest has 155 MB. A compressed archive may hold a thousand times what it seems to.
    static let maximumBytes = 1 << 30

    /// - Throws: `InputError` when the archive is damaged.
    static func files(_ path: String, wanted: Set<String>) throws(InputError) -> [String: [UInt8]] {
        let reader = try ByteReader(path: path)
        var files: [String: [UInt8]] = [:]
        while true {
            let header = try reader.read(512)
            // Two blocks of zeros end an archive; some end without.
            if header.isEmpty || header.allSatisfy({ $0 == 0 }) { return files }
            guard header.count == 512 else { throw InputError(path, "is truncated in a header at byte \(reader.position)") }
            var sum = 256
            for (index, byte) in header.enumerated() where !(148..<156).contains(index) { sum += Int(byte) }
            guard octal(header[148..<156]) == sum, let size = octal(header[124..<136]) else {
                throw InputError(path, "is no tar archive: a header's checksum is wrong before byte \(reader.position)")
            }
            let name = String(decoding: header[0..<100].prefix { $0 != 0 }, as: UTF8.self)
            let last = name.split(separator: "/").last.map(String.init) ?? ""
            let padded = (size + 511) / 512 * 512
            guard padded <= reader.largestSize else {
                throw InputError(path, "promises \(size) bytes for \(quoted(name)), more than it can hold")
            }
            let isFile = header[156] == 0 || header[156] == UInt8(ascii: "0")
            if isFile, wanted.contains(last) {
                guard size <= maximumBytes else {
                    throw InputError(path, "promises \(size) bytes for \(quoted(name)), more than \(maximumBytes) are not read")
                }
                let bytes = try reader.read(padded)
                guard bytes.count == padded else { throw InputError(path, "is truncated in \(quoted(name))") }
                files[last] = Array(bytes.prefix(size))
            } else {
                var left = padded
                while left > 0 {
                    let count = try reader.read(min(left, 1 << 20)).count
                    guard count > 0 else { throw InputError(path, "is truncated in \(quoted(name))") }
                    left -= count
                }
            }
        }
    }

    private static func octal(_ field: ArraySlice<UInt8>) -> Int? {
        let digits = field.prefix { $0 != 0 }.filter { $0 != 0x20 }
        // Int alone would also take a sign.
        guard digits.allSatisfy((UInt8(ascii: "0")...UInt8(ascii: "7")).contains) else { return nil }
        return Int(String(decoding: digits, as: UTF8.self), radix: 8)
    }
}
