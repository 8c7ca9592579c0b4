import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// Every way in which a file can break the format is refused by name.
struct SafetensorsCorruptionTests {
    let folder = TemporaryFolder()

    private func refused(_ fragment: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) throws {
        let path = try folder.write(bytes, "broken.safetensors")
        expectRefusal(fragment, sourceLocation: sourceLocation) { _ = try SafetensorsFile(path: path) }
        expectRefusal(path, sourceLocation: sourceLocation) { _ = try SafetensorsFile(path: path) }
    }

    /// A header with one or two F32 tensors at given offsets, and a body of 16 bytes.
    private func refused(
        _ fragment: String, a: String, b: String? = nil, body: Int = 16, sourceLocation: SourceLocation = #_sourceLocation
    ) throws {
        let header = "{\"a\":\(a)" + (b.map { ",\"b\":\($0)" } ?? "") + "}"
        try refused(
            fragment, safetensors(header: header, body: Array(repeating: 0, count: body)), sourceLocation: sourceLocation)
    }

    private func entry(_ type: String = "F32", _ shape: String = "[2]", _ start: Int = 0, _ end: Int = 8) -> String {
        "{\"dtype\":\"\(type)\",\"shape\":\(shape),\"data_offsets\":[\(start),\(end)]}"
    }

    @Test func aFileThatIsNotThere() throws {
        let path = folder.file("missing.safetensors")
        expectRefusal("\(path): no such file") { _ = try SafetensorsFile(path: path) }
        expectRefusal("is not a file but a folder") { _ = try SafetensorsFile(path: folder.path) }
    }

    @Test func everyTruncationOfAGoodFile() throws {
        let good = safetensors([("a", "F32", [2], [1, 2, 3, 4, 5, 6, 7, 8]), ("b", "U8", [1], [1])])
        #expect(try SafetensorsFile(path: folder.write(good, "good")).names == ["a", "b"])
        for count in 0..<good.count {
            expectRefusal("is truncated") { _ = try SafetensorsFile(bytes: Array(good.prefix(count)), named: "cut") }
        }
    }

    @Test func headerLengths() throws {
        try refused("a header of 100000001 bytes, the limit is 100000000", bytes([UInt64(100_000_001)]) + [UInt8(ascii: "{")])
        try refused("a header of 18446744073709551615 bytes", bytes([UInt64.max]))
        try refused("is truncated: its header has 3 bytes, 2 follow", bytes([UInt64(3)]) + [0x7B, 0x7D])
        try refused("does not begin with '{'", bytes([UInt64(0)]))
    }

    @Test(arguments: [
        "{", "{\"a\"}", "{\"a\":}", "{\"a\":1,}", "{} x", "{\"a\":01}", "{\"a\":\"\\x\"}", "{\"a\":\"\\ud800\"}", "{\"a\":tru}",
        "{\"a\":\"\u{1}\"}", "{'a':1}", "{\"a\":-}", "{\"a\":1.}", "{\"a\":1e}", "{\"a\":\"\\u12G4\"}", "[]", " {}",
        "{\"a\":" + String(repeating: "[", count: 100_000),
    ])
    func headersThatAreNotJSON(header: String) throws {
        try refused("the header is not JSON", safetensors(header: header))
    }

    @Test func headersThatAreNotUTF8() throws {
        try refused("the header is not UTF-8", bytes([UInt64(4)]) + [0x7B, 0xFF, 0xFE, 0x7D])
    }

    @Test func layouts() throws {
        try refused("'b' begins at 4, inside the tensor before it, which ends at 8", a: entry(), b: entry("F32", "[3]", 4, 16))
        try refused("'b' begins at 12, after a hole from 8 on", a: entry(), b: entry("F32", "[1]", 12, 16))
        try refused("'a' begins at 8, after a hole from 0 on", a: entry("F32", "[2]", 8, 16))
        try refused("ends at 24, the file has 16 bytes", a: entry(), b: entry("F32", "[4]", 8, 24))
        try refused("the tensors end at 8, the file has 16 bytes", a: entry())
        try refused("data_offsets [8, 0] end before they begin", a: entry("F32", "[2]", 8, 0))
        try refused("the tensors end at 0, the file has 1 bytes", safetensors(header: "{}", body: [0]))
    }

    @Test func entries() throws {
        try refused("tensor 'a': F32 [3] takes 12 bytes, data_offsets give 8", a: entry("F32", "[3]"))
        try refused("tensor 'a': F64 [2] takes 16 bytes, data_offsets give 8", a: entry("F64"))
        try refused("shape [1152921504606846976, 1152921504606846976] overflows", a: entry("F32", "[\(1 << 60),\(1 << 60)]"))
        try refused("overflows", a: entry("F32", "[\(Int.max)]"))
        try refused("shape is not a list of sizes", a: entry("F32", "[18446744073709551615]"))
        try refused("shape is not a list of sizes", a: entry("F32", "[99999999999999999999999]"))
        try refused("shape is not a list of sizes", a: entry("F32", "[-2]"))
        try refused("shape is not a list of sizes", a: entry("F32", "[2.0]"))
        try refused("shape is not a list of sizes", a: entry("F32", "[\"2\"]"))
        try refused("shape is not a list of sizes", a: entry("F32", "2"))
        try refused("tensor 'a' is not a JSON object", a: "7")
        try refused("tensor 'a' has no dtype", a: "{}")
        try refused("tensor 'a': dtype is not a string", a: "{\"dtype\":1}")
        try refused("tensor 'a' has no shape", a: "{\"dtype\":\"F32\"}")
        try refused("tensor 'a' has no data_offsets", a: "{\"dtype\":\"F32\",\"shape\":[2]}")
        try refused("data_offsets are not two positions", a: "{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0]}")
        try refused("tensor 'a' has shape twice", a: "{\"dtype\":\"F32\",\"shape\":[2],\"shape\":[2],\"data_offsets\":[0,8]}")
    }

    @Test("a tensor of a type that is not read is refused when it is asked for, and its place is checked")
    func unreadableTensors() throws {
        let others = [
            ("a", "F8_E4M3", [8], [UInt8](repeating: 1, count: 8)), ("b", "F32", [2], bytes([Float(1), 2].map(\.bitPattern))),
        ]
        let path = try folder.write(safetensors(others), "other.safetensors")
        let file = try SafetensorsFile(path: path)
        #expect(file.names == ["b"])
        #expect(try file.floats("b") == [1, 2])
        let message = "tensor 'a' has dtype 'F8_E4M3'; readable are F64, F32"
        expectRefusal(message) { _ = try file.stored("a") }
        let tensors = try TensorFile(path: path)
        #expect(try tensors.tensor("b").values == [1, 2])
        for taken: () throws -> Void in [
            { _ = try tensors.stored("a") }, { _ = try tensors.stateDict() }, { _ = try TensorConversion(tensors) },
            { _ = try NetworkState(safetensors: path) },
        ] { expectRefusal(message, taken) }
        try refused("'b' begins at 4, inside", a: entry("F8_E4M3"), b: entry("F32", "[3]", 4, 16))
    }

    @Test func names() throws {
        try refused("the header names 'a' twice", a: entry(), b: entry("F32", "[2]", 8, 16) + ",\"a\":" + entry())
        // The same name, spelt otherwise.
        try refused("the header names 'a' twice", a: entry(), b: entry("F32", "[2]", 8, 16) + ",\"\\u0061\":" + entry())
        let odd = "{\"\\n\\u0007" + String(repeating: "x", count: 10_000) + "\":1}"
        try refused("tensor '\\u000a\\u0007xxx", safetensors(header: odd))
    }

    @Test func metadata() throws {
        try refused("__metadata__ is not an object of strings", safetensors(header: "{\"__metadata__\":[]}"))
        try refused("__metadata__ 'a' is not a string", safetensors(header: "{\"__metadata__\":{\"a\":1}}"))
        try refused("__metadata__ names 'a' twice", safetensors(header: "{\"__metadata__\":{\"a\":\"\",\"a\":\"\"}}"))
        try refused("the header names '__metadata__' twice", safetensors(header: "{\"__metadata__\":{},\"__metadata__\":{}}"))
    }

    @Test func whatTheFormatAllowsIsRead() throws {
        let empty = try SafetensorsFile(path: folder.write(safetensors(header: "{}"), "empty"))
        #expect(empty.names.isEmpty)
        // Blanks, escapes, unknown keys, padding, any order of the header, empty tensors between others.
        let header = """
            { "__metadata__" : {"k\\"\\\\":"\\u00e9\\ud83d\\ude00"},
              "b":{"data_offsets":[1,2],"dtype":"U8","shape":[],"x":[1.5e-3,null,true,false,-1,{}]},
              "e":{"dtype":"F32","shape":[0],"data_offsets":[1,1]},
              "\\u0061/é":{"dtype":"U8","shape":[1,1],"data_offsets":[0,1]} }    \n
            """
        let file = try SafetensorsFile(path: folder.write(safetensors(header: header, body: [5, 6]), "odd"))
        #expect(file.names == ["b", "e", "a/é"])
        #expect(file.metadata == ["k\"\\": "é😀"])
        #expect(try file.tensor("b") == Tensor(shape: [], values: [6]))
        #expect(try file.tensor("a/é") == Tensor(shape: [1, 1], values: [5]))
    }
}
