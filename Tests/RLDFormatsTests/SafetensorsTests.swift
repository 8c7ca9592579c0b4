import Foundation
import RLDFormats
import RLDGraph
import RLDModels
import TestSupport
import Testing

struct SafetensorsTests {
    let folder = TemporaryFolder()

    @Test func theGoldenCheckpointHoldsTheFormulaWeights() throws {
        let network = try ModelCatalog.network("resnet8", classes: 10)
        let state = try NetworkState(
            weights: Goldens.path("checkpoints/resnet8_c10.safetensors"), for: network)
        let formula = formulaState(for: network)
        #expect(state.names == formula.names)
        for name in formula.names { #expect(state[name] == formula[name], "\(name)") }
    }

    @Test func everyGoldenLossFileIsRead() throws {
        for set in try Goldens.losses().sets {
            let file = try Goldens.lossTensors(set.name)
            for name in file.names {
                let tensor = try file.tensor(name)
                #expect(tensor.shape == file.entry(name)?.shape)
                if tensor.shape == [set.batch], name == "labels" {
                    #expect(try file.int64s(name).allSatisfy { (0..<Int64(set.classes)).contains($0) })
                }
            }
        }
    }

    @Test func aStateSurvivesSavingAndLoading() throws {
        let network = try ModelCatalog.network("resnet14", classes: 5, input: [1, 28, 28])
        var state = network.initialState(seed: 3)
        state["bn1.num_batches_tracked"] = Tensor(shape: [], values: [1234])
        let path = folder.file("weights.safetensors")
        try state.save(safetensors: path, metadata: ["epoch": "7", "note": "a \"quoted\"\nline é"])
        #expect(try NetworkState(safetensors: path) == state)
        #expect(try NetworkState(weights: path, for: network) == state)
        let file = try SafetensorsFile(path: path)
        #expect(file.metadata == ["epoch": "7", "note": "a \"quoted\"\nline é", "format": "pt"])
        #expect(file.entry("bn1.num_batches_tracked")?.type == .int64)
        #expect(file.entry("conv1.weight")?.type == .float32)
        #expect(folder.contents == ["weights.safetensors"])
    }

    @Test func theSameStateGivesTheSameBytes() throws {
        let state = try ModelCatalog.network("resnet8", classes: 5).initialState(seed: 3)
        try state.save(safetensors: folder.file("a"), metadata: ["b": "1", "a": "2", "c": "3"])
        try state.save(safetensors: folder.file("b"), metadata: ["c": "3", "b": "1", "a": "2"])
        #expect(try contents(of: folder.file("a")) == contents(of: folder.file("b")))
    }

    @Test func doublePrecisionKeepsEveryBit() throws {
        var state = NetworkState()
        state["x"] = Tensor(shape: [3], values: [1.0 / 3, .pi, -0.0])
        try state.save(safetensors: folder.file("x"), type: .float64)
        let loaded = try #require(try NetworkState(safetensors: folder.file("x"))["x"])
        #expect(loaded.values.map(\.bitPattern) == state["x"]?.values.map(\.bitPattern))
    }

    @Test func aForeignStateDoesNotFitAndEveryReasonIsNamed() throws {
        let path = folder.file("w.safetensors")
        let big = try ModelCatalog.network("resnet8", classes: 100)
        try formulaState(for: big).save(safetensors: path)
        let small = try ModelCatalog.network("resnet14", classes: 10)
        let error = #expect(throws: InputError.self) { try NetworkState(weights: path, for: small) }
        let text = error?.description ?? ""
        #expect(text.contains("missing layer1.1.conv1.weight"))
        #expect(text.contains("w.safetensors"))
    }

    @Test func missingCountersAreZero() throws {
        let network = try ModelCatalog.network("resnet8", classes: 10)
        var state = formulaState(for: network)
        for name in state.names where name.hasSuffix("num_batches_tracked") { state[name] = nil }
        try state.save(safetensors: folder.file("w"))
        #expect(try NetworkState(weights: folder.file("w"), for: network) == formulaState(for: network))
    }

    @Test func everyTypeIsDecodedExactly() throws {
        let path = try folder.write(
            safetensors([
                ("f64", "F64", [2], bytes([(1.0 / 3).bitPattern, Double.infinity.bitPattern])),
                ("f32", "F32", [1, 2], bytes([Float(0.1).bitPattern, Float(-0.0).bitPattern])),
                ("f16", "F16", [4], bytes([0x3C00, 0x0001, 0xFBFF, 0x7C00] as [UInt16])),
                ("bf16", "BF16", [3], bytes([0x3F80, 0xFF80, 0x4049] as [UInt16])),
                ("i64", "I64", [], bytes([Int64(-9_007_199_254_740_992)])),
                ("i32", "I32", [2], bytes([Int32.min, 7])),
                ("i16", "I16", [2], bytes([Int16.min, 7])),
                ("i8", "I8", [2], [0x80, 7]),
                ("u8", "U8", [2], [255, 0]),
                ("bool", "BOOL", [2], [1, 0]),
                ("empty", "F32", [0, 3], []),
            ]), "types")
        let file = try SafetensorsFile(path: path)
        #expect(file.names == ["f64", "f32", "f16", "bf16", "i64", "i32", "i16", "i8", "u8", "bool", "empty"])
        #expect(try file.doubles("f64") == [1.0 / 3, .infinity])
        #expect(try file.tensor("f32") == Tensor(shape: [1, 2], values: [Double(Float(0.1)), -0.0]))
        #expect(try file.doubles("f16") == [1, 0x1p-24, -65504, .infinity])
        #expect(try file.floats("bf16") == [1, -.infinity, 3.140625])
        #expect(try file.tensor("i64") == Tensor(shape: [], values: [-0x1p53]))
        #expect(try file.int64s("i32") == [-2_147_483_648, 7])
        #expect(try file.doubles("i16") == [-32768, 7])
        #expect(try file.floats("i8") == [-128, 7])
        #expect(try file.int64s("u8") == [255, 0])
        #expect(try file.int64s("bool") == [1, 0])
        #expect(try file.tensor("empty") == Tensor(shape: [0, 3], values: []))
        #expect(try file.floats("f64") == [Float(1.0 / 3), .infinity])
    }

    @Test func valuesThatATypeCannotGiveAreErrors() throws {
        let path = try folder.write(
            safetensors([
                ("large", "I64", [2], bytes([Int64.max, 0])), ("flags", "BOOL", [2], [1, 2]),
                ("float", "F32", [1], [0, 0, 0, 0]),
            ]), "x")
        let file = try SafetensorsFile(path: path)
        expectRefusal("tensor 'large' holds 9223372036854775807") { _ = try file.doubles("large") }
        #expect(try file.int64s("large") == [.max, 0])
        expectRefusal("tensor 'flags' is BOOL and holds 2") { _ = try file.doubles("flags") }
        expectRefusal("tensor 'float' is F32, expected whole numbers") { _ = try file.int64s("float") }
        expectRefusal("has no tensor 'flag'; did you mean 'flags'?") { _ = try file.tensor("flag") }
    }

    @Test func writingKeepsOrderAlignsTensorsAndPadsTheHeader() throws {
        let items = [
            SafetensorsItem("half", Tensor(shape: [3], values: [1, 65504, -.infinity]), as: .float16),
            SafetensorsItem("count", Tensor(shape: [], values: [-3]), as: .int64),
            SafetensorsItem("single", Tensor(shape: [1], values: [0.5])),
            SafetensorsItem("double", Tensor(shape: [2], values: [0.1, .nan]), as: .float64),
        ]
        let path = folder.file("x")
        try SafetensorsFile.write(items, to: path)
        let file = try SafetensorsFile(path: path)
        #expect(file.names == items.map(\.name))
        #expect(file.metadata.isEmpty)
        for item in items {
            expectClose(try file.tensor(item.name), item.tensor, .absolute(0), item.name)
            #expect(file.entry(item.name)?.type == item.type)
        }
        let raw = try contents(of: path)
        #expect(raw[0] % 8 == 0)
        let header = try #require(String(bytes: raw[8..<8 + Int(raw[0])], encoding: .utf8))
        #expect(header.contains("\"count\":{\"dtype\":\"I64\",\"shape\":[],\"data_offsets\":[0,8]}"))
        #expect(header.contains("\"half\":{\"dtype\":\"F16\",\"shape\":[3],\"data_offsets\":[28,34]}"))
    }

    @Test func whatCannotBeWrittenLeavesTheOldFile() throws {
        let path = try folder.write([1, 2, 3], "old")
        let one = Tensor(shape: [1], values: [1])
        func refused(_ fragment: String, _ items: [SafetensorsItem], sourceLocation: SourceLocation = #_sourceLocation) {
            expectRefusal(fragment, sourceLocation: sourceLocation) { try SafetensorsFile.write(items, to: path) }
        }
        refused("two tensors named 'x'", [SafetensorsItem("x", one), SafetensorsItem("x", one)])
        refused("two tensors named '__metadata__'", [SafetensorsItem("__metadata__", one)])
        refused("'x': value 1e+40 at 0 does not fit F32", [SafetensorsItem("x", Tensor(shape: [], values: [1e40]))])
        refused("value 70000.0 at 0 does not fit F16", [SafetensorsItem("x", Tensor(shape: [], values: [70000]), as: .float16)])
        refused("value 0.5 at 0 does not fit I64", [SafetensorsItem("x", Tensor(shape: [], values: [0.5]), as: .int64)])
        refused("value nan at 0 does not fit I64", [SafetensorsItem("x", Tensor(shape: [], values: [.nan]), as: .int64)])
        #expect(try contents(of: path) == [1, 2, 3])
        #expect(folder.contents == ["old"])
        expectRefusal("No such file or directory") {
            try SafetensorsFile.write([SafetensorsItem("x", one)], to: folder.file("missing/x"))
        }
    }

    @Test func aReaderKeepsItsFileWhileItIsReplaced() throws {
        let path = folder.file("x")
        try SafetensorsFile.write([SafetensorsItem("x", Tensor(shape: [1], values: [1]))], to: path)
        let old = try SafetensorsFile(path: path)
        try SafetensorsFile.write([SafetensorsItem("x", Tensor(shape: [2], values: [2, 3]))], to: path)
        #expect(try old.doubles("x") == [1])
        #expect(try SafetensorsFile(path: path).doubles("x") == [2, 3])
    }

    @Test("a file is known by what it holds whatever its name, also where its first byte is that of a pickle")
    func withoutEnding() throws {
        let tensor = "{\"w\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}"
        for length in [0x80, 0x180] {
            let header = tensor + String(repeating: " ", count: length - tensor.count - 1) + "}"
            let file = try TensorFile(bytes: safetensors(header: header, body: [5]), named: "weights")
            #expect(try file.format == .safetensors && file.tensor("w").values == [5])
        }
    }

    @Test("names out of a file do not reach a terminal as they are, nor without end", .timeLimit(.minutes(1)))
    func hostileNames() throws {
        func file(_ names: [String]) throws -> TensorFile {
            let tensors = names.map { (name: $0, type: "U8", shape: [1], bytes: [7 as UInt8]) }
            return try TensorFile(bytes: safetensors(tensors), named: "x.safetensors")
        }
        func refused(_ fragment: String, _ body: () throws -> Void) {
            let error = #expect(throws: InputError.self) { try body() }
            let text = error?.description ?? ""
            #expect(text.contains(fragment), "\(text.prefix(500))")
            #expect(text.unicodeScalars.count < 1000)
            #expect(!text.unicodeScalars.contains { $0.value < 0x20 || (0x7F..<0xA0).contains($0.value) || $0.value == 0x2028 })
        }
        let csi = "weigh\u{9B}31m"
        refused("did you mean 'weigh\\u009b31m'?") { _ = try file([csi, "y"]).stored("weigh_31m") }
        refused("did you mean 'weigh\\u009b31m'?") {
            _ = try SafetensorsFile(bytes: safetensors([(csi, "U8", [1], [7])]), named: "x").stored("weigh_31m")
        }
        refused("did you mean 'weigh\\u009b31m'?") { _ = try file(["\(csi).x"]).stateDict(key: "weigh_31m") }
        refused("it holds a\\u2028b") { _ = try file(["a\u{2028}b.x"]).stateDict(key: "something else") }
        // One letter with accents without end is one character.
        let accents = "e" + String(repeating: "\u{301}", count: 100_000)
        refused("has no tensor '") { _ = try file(["a", "b"]).stored(accents) }
        refused("it holds ") { _ = try file(["\(accents).x"]).stateDict(key: "something else") }
        // Not compared letter by letter with what nobody can have meant.
        refused("has no tensor") {
            _ = try file([String(repeating: "x", count: 30_000_000), "b"]).stored(String(repeating: "y", count: 200))
        }
        // Wrappers around wrappers.
        #expect(try file(["module._orig_mod.module.w"]).stateDict().names == ["w"])
        #expect(try file([String(repeating: "module.", count: 100_000) + "w"]).stateDict().names.count == 1)
    }
}
