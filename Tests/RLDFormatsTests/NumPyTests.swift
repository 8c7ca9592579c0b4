import Foundation
import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// Arrays as NumPy writes them, and as it reads them.
struct NumPyTests {
    let folder = TemporaryFolder()

    static func npy(_ header: String, _ body: [UInt8], version: UInt8 = 1) -> [UInt8] {
        [0x93] + Array("NUMPY".utf8) + [version, 0] + little(header.utf8.count, version == 1 ? 2 : 4) + Array(header.utf8) + body
    }

    private func header(_ descr: String, _ shape: String, fortran: Bool = false) -> String {
        "{'descr': '\(descr)', 'fortran_order': \(fortran ? "True" : "False"), 'shape': (\(shape)), }   \n"
    }

    private func read(_ bytes: [UInt8]) throws -> Tensor { try TensorFile(bytes: bytes, named: "x.npy").tensor("any") }

    @Test("every element type, in both byte orders")
    func types() throws {
        let cases: [(String, [UInt8], [Double])] = [
            ("f8", bytes([(0.1).bitPattern, Double.infinity.bitPattern]), [0.1, .infinity]),
            ("f4", floats([1.5, -2]), [1.5, -2]),
            ("f2", bytes([0x3C00, 0x0001] as [UInt16]), [1, 1.0 / 16_777_216]),
            ("i8", bytes([Int64(-3), 1 << 50]), [-3, 1_125_899_906_842_624]),
            ("i4", bytes([Int32.min, 5]), [-2_147_483_648, 5]), ("i2", bytes([Int16(-2), 7]), [-2, 7]),
            ("i1", [0xFF, 3], [-1, 3]),
            ("u8", bytes([UInt64(1) << 52, 2]), [4_503_599_627_370_496, 2]), ("u4", bytes([UInt32.max, 5]), [4_294_967_295, 5]),
            ("u2", bytes([UInt16.max, 7]), [65535, 7]), ("u1", [255, 0], [255, 0]), ("b1", [1, 0], [1, 0]),
        ]
        for (kind, data, values) in cases {
            let size = data.count / 2
            let swapped = [data[..<size], data[size...]].flatMap { $0.reversed() }
            for (mark, body) in [("<", data), (">", swapped), (size == 1 ? "|" : "=", data)] {
                #expect(try read(Self.npy(header(mark + kind, "2,"), body)).values == values, "\(mark)\(kind)")
            }
        }
    }

    @Test func ordersShapesAndVersions() throws {
        let data = floats([0, 1, 2, 3, 4, 5])
        let c = Tensor(shape: [2, 3], values: [0, 1, 2, 3, 4, 5])
        for version in [1, 2, 3] as [UInt8] { #expect(try read(Self.npy(header("<f4", "2, 3"), data, version: version)) == c) }
        #expect(
            try read(Self.npy(header("<f4", "2, 3", fortran: true), data)) == Tensor(shape: [2, 3], values: [0, 2, 4, 1, 3, 5]))
        #expect(try read(Self.npy(header("<f4", "1, 6, 1", fortran: true), data)).values == c.values)
        #expect(try read(Self.npy(header("<f4", ""), floats([7]))) == Tensor(shape: [], values: [7]))
        #expect(try read(Self.npy(header("<f4", "0, 3"), [])).shape == [0, 3])
        // As Python 2 and as other writers put it.
        #expect(try read(Self.npy("{\"shape\":(2L,3L),\"fortran_order\":False,\"descr\":\"<f4\"}", data)) == c)
    }

    @Test func whatIsNoArrayIsRefused() throws {
        func refused(_ fragment: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
            expectRefusal(fragment, sourceLocation: sourceLocation) { _ = try read(bytes) }
        }
        let good = Self.npy(header("<f4", "2,"), floats([1, 2]))
        for count in 6..<good.count { refused("x.npy: ", Array(good.prefix(count))) }
        refused("is too long: float32 [2] takes 8 bytes, found 9", good + [0])
        refused("which no memory holds", Self.npy(header("<f4", "1152921504606846976, 16"), []))
        refused("is truncated: float32 [1152921504606846976] takes", Self.npy(header("<f4", "1152921504606846976,"), []))
        refused("elements of type '<c8'", Self.npy(header("<c8", "1,"), floats([1, 2])))
        refused("elements of type '|O'", Self.npy(header("|O", "1,"), []))
        refused("elements of type '<U3'", Self.npy(header("<U3", "1,"), []))
        refused("array of records", Self.npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", []))
        refused("no dictionary of descr", Self.npy("{'descr': '<f4', 'fortran_order': 0, 'shape': (1,)}", []))
        refused("no dictionary of descr", Self.npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,)}", []))
        refused(
            "no dictionary of descr", Self.npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,)}", []))
        refused("no dictionary of descr", Self.npy("[1]", []))
        refused("has NumPy format 4.0", Self.npy(header("<f4", "1,"), [], version: 4))
        refused("a NumPy header of 4294967295 bytes", [0x93] + Array("NUMPY".utf8) + [2, 0, 255, 255, 255, 255])
        refused("does not begin with", Array("something".utf8) + [0])
    }

    @Test func archivesStoredAndDeflated() throws {
        let arrays = [
            ("images.npy", Self.npy(header("<f4", "2,"), floats([1, 2]))),
            ("labels.npy", Self.npy(header("<i8", "1,"), bytes([Int64(4)]))),
        ]
        for deflated in [false, true] {
            let file = try TensorFile(bytes: zip(arrays.map { (name: $0.0, bytes: $0.1) }, deflated: deflated), named: "x.npz")
            #expect(file.entries.map(\.name) == ["images", "labels"])
            #expect(try file.tensor("images").values == [1, 2])
            #expect(try file.int64s("labels") == [4])
        }
        expectRefusal("holds 'readme.txt', which is no NumPy array") {
            _ = try TensorFile(
                bytes: zip([(name: "a.npy", bytes: arrays[0].1), (name: "readme.txt", bytes: [])]), named: "x.npz")
        }
    }

    @Test("arrays of words and records beside others are refused when they are asked for")
    func unreadableArrays() throws {
        let words = Self.npy(header("<U3", "1,"), Array(repeating: 0, count: 12))
        let records = Self.npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,)}", [])
        let numbers = Self.npy(header("<f4", "2,"), floats([1, 2]))
        let file = try TensorFile(
            bytes: zip([(name: "names.npy", bytes: words), (name: "a.npy", bytes: numbers), (name: "r.npy", bytes: records)]),
            named: "x.npz")
        #expect(file.entries.map(\.name) == ["a"])
        #expect(try file.tensor("a").values == [1, 2])
        expectRefusal("elements of type '<U3'") { _ = try file.stored("names") }
        expectRefusal("array of records") { _ = try file.stored("r") }
        expectRefusal("elements of type '<U3'") { _ = try file.stateDict() }
        // What is damaged is refused at once.
        expectRefusal("is too long") {
            _ = try TensorFile(bytes: zip([(name: "a.npy", bytes: numbers + [0])]), named: "x.npz")
        }
    }

    @Test("what is written in one format is read from it bit for bit", arguments: ["safetensors", "npz", "pth"])
    func roundTrips(ending: String) throws {
        let path = folder.file("x.\(ending)")
        let types: [ElementType] = [.float64, .float32, .float16, .int64, .int32, .int16, .int8, .uint8, .bool]
        var tensors: [StoredTensor] = []
        for type in types {
            let values: [Double] =
                type == .bool ? [0, 1, 1, 0, 0, 1] : type == .uint8 ? [0, 1, 2, 3, 4, 255] : [0, 1, -2, 3, -4, 127]
            tensors.append(try StoredTensor("t.\(type)", Tensor(shape: [3, 1, 2], values: values), as: type, source: path))
        }
        tensors.append(try StoredTensor("scalar", Tensor(shape: [], values: [3.5]), as: .float32, source: path))
        tensors.append(try StoredTensor("empty", Tensor(shape: [0, 2], values: []), as: .float32, source: path))
        try TensorFile.write(tensors, metadata: ["epoch": "3"], to: path)
        let file = try TensorFile(path: path)
        let dict = try file.stateDict()
        #expect(dict.names == tensors.map(\.name))
        for (index, tensor) in tensors.enumerated() {
            var found = try file.stored(at: index)
            found.name = tensor.name
            #expect(found == tensor)
        }
        #expect(file.metadata["epoch"] == (ending == "npz" ? nil : "3"))
        #expect(folder.contents == ["x.\(ending)"])
    }

    @Test func bfloat16IsRoundedOnceAndWidenedForNumPy() throws {
        // Ties to even; values just beside a tie, which a detour over float32 would round wrongly.
        let values = [1, 1.00390625, 1.01171875, 1.00390625 + 1e-12, 1.01171875 - 1e-12, -0.0, .infinity, 3.3895e38]
        let wanted = [1, 1, 1.015625, 1.0078125, 1.0078125, -0.0, .infinity, Double(Float(bitPattern: 0x7F7F_0000))]
        let tensor = try StoredTensor("w", Tensor(shape: [8], values: values), as: .bfloat16, source: "x")
        #expect(try tensor.doubles(source: "x") == wanted)
        expectRefusal("value 3.4e+38 at 0 does not fit BF16") {
            _ = try StoredTensor("w", Tensor(shape: [1], values: [3.4e38]), as: .bfloat16, source: "x")
        }
        try TensorFile.write([tensor], to: folder.file("x.npy"))
        let file = try TensorFile(path: folder.file("x.npy"))
        #expect(file.entries.first?.type == .float32)
        #expect(try file.tensor("w").values == wanted)
        expectRefusal("holds one array, found 2 tensors") { try TensorFile.write([tensor, tensor], to: folder.file("y.npy")) }
        expectRefusal("cannot hold two") { try TensorFile.write([tensor, tensor], to: folder.file("y.npz")) }
        expectRefusal("does not say by its ending") { try TensorFile.write([tensor], to: folder.file("y.txt")) }
        #expect(folder.contents == ["x.npy"])
    }

    @Test("more dimensions than NumPy has are refused when they are written, however many a file of another format has")
    func dimensions() throws {
        func file(_ dimensions: Int) throws -> TensorFile {
            let shape = Array(repeating: 1, count: dimensions)
            return try TensorFile(bytes: safetensors([("w", "U8", shape, [7])]), named: "x.safetensors")
        }
        try TensorConversion(file(64)).write(to: folder.file("x.npy"))
        #expect(try TensorFile(path: folder.file("x.npy")).entries.first?.shape.count == 64)
        for dimensions in [65, 40_000] {
            for ending in ["npy", "npz"] {
                expectRefusal("tensor 'w' has \(dimensions) dimensions, NumPy has at most 64") {
                    try TensorConversion(file(dimensions)).write(to: folder.file("y.\(ending)"))
                }
            }
        }
        #expect(folder.contents == ["x.npy"])
    }

    @Test("an archive that promises more than the machine's memory is refused before it is unpacked")
    func memory() throws {
        // 1032 to 1 is what deflate can do: the packed bytes of a sparse file would suffice.
        let size = 1 << 43
        let length = Self.npy(header("|u1", "\(size),"), []).count
        let path = try folder.write(
            zip([(name: "a.npy", bytes: Self.npy(header("|u1", "\(size - length),"), []))]), "x.npz")
        var archive = try contents(of: path)
        let directory = try #require(archive.indices.last { archive[$0...].starts(with: little(0x0201_4B50, 4)) })
        archive.removeSubrange(directory...)
        let extra = little(1, 2) + little(16, 2) + little(size, 8) + little(size, 8)
        let entry =
            little(0x0201_4B50, 4) + little(20, 4) + little(0, 12) + little(0xFFFF_FFFF, 4) + little(0xFFFF_FFFF, 4)
            + little(5, 2) + little(extra.count, 2) + little(0, 10) + little(0, 4) + Array("a.npy".utf8) + extra
        let handle = try FileHandle(forWritingTo: URL(fileURLWithPath: path))
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data(archive))
        do { try handle.truncate(atOffset: UInt64(archive.count + size)) } catch { return }  // No sparse files here.
        try handle.seekToEnd()
        let start = archive.count + size
        let record = start + entry.count
        try handle.write(
            contentsOf: Data(
                entry + little(0x0606_4B50, 4) + little(44, 8) + little(45, 4) + little(0, 8) + little(1, 8) + little(1, 8)
                    + little(entry.count, 8) + little(start, 8) + little(0x0706_4B50, 4) + little(0, 4) + little(record, 8)
                    + little(1, 4) + little(0x0605_4B50, 4) + little(0, 4) + little(0xFFFF, 2) + little(0xFFFF, 2)
                    + little(0xFFFF_FFFF, 4) + little(0xFFFF_FFFF, 4) + little(0, 2)))
        try handle.close()
        let file = try TensorFile(path: path)
        #expect(file.entries.map(\.count) == [size - length])
        expectRefusal("GiB of memory") { _ = try file.stored("a") }
    }

    @Test("of an archive's arrays only the headers are read until one is asked for, whatever they unpack to")
    func headersOnly() throws {
        let count = 1 << 24
        let array = Self.npy(header("|u1", "\(count),"), Array(repeating: 0, count: count))
        for deflated in [true, false] {
            var bytes = zip([(name: "a.npy", bytes: array)], deflated: deflated)
            #expect(try TensorFile(bytes: bytes, named: "x.npz").tensor("a").values.count == count)
            // Damage far behind the header is found when the array is read.
            let directory = try #require(bytes.indices.last { bytes[$0...].starts(with: little(0x0201_4B50, 4)) })
            bytes[directory - 40] ^= 0xFF
            let file = try TensorFile(bytes: bytes, named: "x.npz")
            #expect(file.entries.map(\.shape) == [[count]])
            expectRefusal("is corrupt") { _ = try file.stored("a") }
        }
        expectRefusal("is too long") {
            _ = try TensorFile(bytes: zip([(name: "a.npy", bytes: array + [0])], deflated: true), named: "x.npz")
        }
    }

    @Test("entries of an archive that are one piece of it are refused; ways to pack that are not read are named")
    func oddArchives() throws {
        let array = Self.npy(header("<f4", "1,"), floats([3]))
        var bytes = zip([("a.npy", array), ("b.npy", array)])
        let directories = bytes.indices.filter { bytes[$0...].starts(with: little(0x0201_4B50, 4)) }
        let good = bytes
        // Where the second entry lies.
        bytes.replaceSubrange(directories[1] + 42..<directories[1] + 46, with: little(0, 4))
        expectRefusal("its entry 'b.npy' lies inside another one") { _ = try TensorFile(bytes: bytes, named: "x.npz") }
        for (method, words) in [(12, "packed by bzip2"), (14, "packed by LZMA"), (77, "packed by method 77")] {
            bytes = good
            bytes.replaceSubrange(directories[0] + 10..<directories[0] + 12, with: little(method, 2))
            expectRefusal("holds 'a.npy' \(words), which is not read") { _ = try TensorFile(bytes: bytes, named: "x.npz") }
        }
        bytes = good
        bytes[directories[1] + 8] |= 1
        expectRefusal("holds 'b.npy' encrypted") { _ = try TensorFile(bytes: bytes, named: "x.npz") }
    }

    @Test("an empty array that has too many bytes in a wider type is refused, not written")
    func emptyButWide() throws {
        let file = try TensorFile(bytes: safetensors([("w", "BF16", [1 << 61, 0], [])]), named: "x.safetensors")
        for ending in ["npy", "npz", "safetensors"] {
            expectRefusal("tensor 'w': no memory holds F") {
                let type: ElementType? = ending == "safetensors" ? .float64 : nil
                try TensorConversion(file, type: type).write(to: folder.file("y.\(ending)"))
            }
        }
        let stored = try file.stored("w")
        expectRefusal("no memory holds F32 of shape [2305843009213693952, 0]") {
            _ = try stored.converted(to: .float32, source: "x")
        }
        try TensorConversion(file).write(to: folder.file("x.safetensors"))
        #expect(folder.contents == ["x.safetensors"])
    }

    @Test("names that are the same letters in other bytes are refused as such, in every format")
    func twins() throws {
        let (short, long) = ("\u{E9}", "e\u{301}")
        let words = "holds two names that are the same letters in other bytes"
        let array = Self.npy(header("<f4", "1,"), floats([3]))
        expectRefusal(words) {
            _ = try TensorFile(bytes: zip([("\(short).npy", array), ("\(long).npy", array)]), named: "x.npz")
        }
        expectRefusal(words) {
            _ = try TensorFile(
                bytes: safetensors([(short, "U8", [1], [7]), (long, "U8", [1], [8])]), named: "x.safetensors")
        }
        func tensors(_ names: [String]) -> [UInt8] {
            let start = Pickle().op("}(")
            return names.reduce(start) { $0.string($1).tensor(count: 1, shape: [1], strides: [1]) }.op("u.").bytes
        }
        expectRefusal(words) {
            _ = try TensorFile(bytes: checkpoint(tensors([short, long]), ["0": floats([1])]), named: "x.pth")
        }
        // A key that is set twice holds what was set last.
        let file = try TensorFile(bytes: checkpoint(tensors([long, long]), ["0": floats([1])]), named: "x.pth")
        #expect(file.entries.count == 1)
    }

    @Test("a key in a file whose names have no parts is answered with words")
    func keyWithoutParts() throws {
        let file = try TensorFile(bytes: safetensors([("w", "U8", [1], [7])]), named: "x.safetensors")
        expectRefusal("has no tensors under the key 'foo'; its names have no parts: leave --key out") {
            _ = try file.stateDict(key: "foo")
        }
    }

    @Test("an archive without arrays is one that holds no tensors; one of more arrays than zip counts is not written")
    func numbersOfArrays() throws {
        #expect(try TensorFile(bytes: zip([]), named: "x.npz").entries.isEmpty)
        let one = try StoredTensor("w", Tensor(shape: [], values: [1]), as: .uint8, source: "x")
        let many = (0..<65_535).map { index in
            var tensor = one
            tensor.name = "\(index)"
            return tensor
        }
        expectRefusal("would hold more than 65534 entries, which is not written as zip; write a .safetensors file") {
            try TensorFile.write(many, to: folder.file("x.npz"))
        }
        #expect(folder.contents.isEmpty)
    }
}
