import CZlib

/// The instructions of a pickle, written without the writer under test.
struct Pickle {
    var bytes: [UInt8] = [0x80, 2]

    /// Raw instructions.
    func op(_ codes: String) -> Pickle { adding(codes.unicodeScalars.map { UInt8($0.value) }) }
    func adding(_ more: [UInt8]) -> Pickle { Pickle(bytes: bytes + more) }
    func string(_ text: String) -> Pickle { op("X").adding(little(text.utf8.count, 4) + Array(text.utf8)) }
    func int(_ value: Int) -> Pickle { adding([0x8A, 8] + little(value, 8)) }
    func global(_ module: String, _ name: String) -> Pickle { op("c\(module)\n\(name)\n") }
    func ints(_ values: [Int]) -> Pickle { values.reduce(op("(")) { $0.int($1) }.op("t") }

    /// A storage by its persistent id.
    func storage(_ type: String, _ key: String, _ count: Int) -> Pickle {
        let parts = type.split(separator: ".")
        return op("(").string("storage").global(parts.dropLast().joined(separator: "."), String(parts.last ?? ""))
            .string(key).string("cpu").int(count).op("tQ")
    }

    /// `_rebuild_tensor_v2` of a storage of `count` elements.
    func tensor(
        _ type: String = "torch.FloatStorage", key: String = "0", count: Int, offset: Int = 0, shape: [Int], strides: [Int]
    ) -> Pickle {
        global("torch._utils", "_rebuild_tensor_v2").op("(").storage(type, key, count).int(offset).ints(shape).ints(strides)
            .adding([0x89]).global("collections", "OrderedDict").op(")RtR")
    }

    /// {"w": value} and the end.
    static func single(_ value: (Pickle) -> Pickle) -> [UInt8] { value(Pickle().op("}").string("w")).op("s.").bytes }
}

/// The bytes of a zip archive.
/// - Parameter zip64: whether sizes and places stand in 64-bit fields.
func zip(_ entries: [(name: String, bytes: [UInt8])], deflated: Bool = false, zip64: Bool = false) -> [UInt8] {
    var (file, directory) = ([] as [UInt8], [] as [UInt8])
    let small = zip64 ? 0xFFFF_FFFF : 0
    for entry in entries {
        let packed = deflated ? deflate(entry.bytes) : entry.bytes
        let name = Array(entry.name.utf8)
        let sum = Int(crc32(0, entry.bytes, UInt32(entry.bytes.count)))
        func common(_ extra: Int) -> [UInt8] {
            little(20, 2) + little(0, 2) + little(deflated ? 8 : 0, 2) + little(0, 4) + little(sum, 4)
                + little(zip64 ? small : packed.count, 4) + little(zip64 ? small : entry.bytes.count, 4) + little(name.count, 2)
                + little(extra, 2)
        }
        let offset = file.count
        let sizes = little(entry.bytes.count, 8) + little(packed.count, 8)
        let localExtra = zip64 ? little(1, 2) + little(16, 2) + sizes : []
        let extra = zip64 ? little(1, 2) + little(24, 2) + sizes + little(offset, 8) : []
        file += little(0x0403_4B50, 4) + common(localExtra.count) + name + localExtra + packed
        directory +=
            little(0x0201_4B50, 4) + little(20, 2) + common(extra.count) + little(0, 10) + little(zip64 ? small : offset, 4)
            + name + extra
    }
    let start = file.count
    file += directory
    if zip64 {
        let record = file.count
        file += little(0x0606_4B50, 4) + little(44, 8) + little(45, 4) + little(0, 8) + little(entries.count, 8)
        file += little(entries.count, 8) + little(directory.count, 8) + little(start, 8)
        file += little(0x0706_4B50, 4) + little(0, 4) + little(record, 8) + little(1, 4)
    }
    let count = zip64 ? 0xFFFF : entries.count
    file += little(0x0605_4B50, 4) + little(0, 4) + little(count, 2) + little(count, 2)
    return file + little(zip64 ? small : directory.count, 4) + little(zip64 ? small : start, 4) + little(0, 2)
}

/// A PyTorch checkpoint in the zip format.
func checkpoint(
    _ pickle: [UInt8], _ storages: [String: [UInt8]], byteOrder: String? = "little", deflated: Bool = false, zip64: Bool = false
) -> [UInt8] {
    let order = byteOrder.map { [(name: "archive/byteorder", bytes: Array($0.utf8))] } ?? []
    let data = storages.sorted { $0.key < $1.key }.map { (name: "archive/data/\($0.key)", bytes: $0.value) }
    return zip(
        [(name: "archive/data.pkl", bytes: pickle)] + order + data + [(name: "archive/version", bytes: [0x33, 0x0A])],
        deflated: deflated, zip64: zip64)
}

/// Raw deflate data.
func deflate(_ bytes: [UInt8]) -> [UInt8] {
    // What gzip puts around it: a header of 10 bytes, and 8 bytes of checksum and length.
    Array(gzip(bytes).dropFirst(10).dropLast(8))
}

func little(_ value: Int, _ size: Int) -> [UInt8] { (0..<size).map { $0 < 8 ? UInt8(truncatingIfNeeded: value >> (8 * $0)) : 0 } }

/// float32 bytes.
func floats(_ values: [Float]) -> [UInt8] { bytes(values.map(\.bitPattern)) }
