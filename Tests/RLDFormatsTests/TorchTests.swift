import RLDFormats
import RLDGraph
import RLDModels
import TestSupport
import Testing

/// PyTorch checkpoints: the authors' formats, and what tensors in them may look like.
struct TorchTests {
    @Test(arguments: ["resnet8_c10.pth", "resnet8_c10_legacy.pth", "resnet8_c10.safetensors"])
    func theGoldenCheckpointsHoldTheFormulaWeights(name: String) throws {
        let network = try ModelCatalog.network("resnet8", classes: 10)
        let path = Goldens.path("checkpoints/\(name)")
        #expect(try NetworkState(weights: path, for: network) == formulaState(for: network))
        #expect(try TensorFile(path: path).entries.count == 56)
    }

    private func read(_ bytes: [UInt8], _ name: String = "w") throws -> Tensor {
        try TensorFile(bytes: bytes, named: "x.pth").tensor(name)
    }

    private let storage = floats((0..<24).map(Float.init))

    @Test(
        "views with offsets and strides come out row-major",
        arguments: [
            (0, [4, 6], [6, 1]), (0, [6, 4], [1, 6]), (5, [2, 3], [6, 2]), (7, [], []), (23, [1, 1], [1000, 1000]),
            (0, [2, 3, 2], [12, 4, 1]),
            (3, [3, 2], [0, 1]), (2, [0, 5], [5, 1]), (1, [2, 2, 2], [1, 2, 3]), (4, [1, 3, 2], [.max, 1, 2]),
        ])
    func views(offset: Int, shape: [Int], strides: [Int]) throws {
        let pickle = Pickle.single { $0.tensor(count: 24, offset: offset, shape: shape, strides: strides) }
        var indices = [offset]
        for (extent, stride) in zip(shape, strides) where extent != 1 {
            indices = indices.flatMap { base in (0..<extent).map { base + $0 * stride } }
        }
        let expected = Tensor(shape: shape, values: indices.map(Double.init))
        #expect(try read(checkpoint(pickle, ["0": storage])) == expected)
        #expect(try read(checkpoint(pickle, ["0": storage], deflated: true)) == expected)
        #expect(try read(checkpoint(pickle, ["0": storage], byteOrder: nil, zip64: true)) == expected)
        #expect(try read(checkpoint(pickle, ["0": storage], deflated: true, zip64: true)) == expected)
    }

    @Test(
        "a storage of many tensors is verified once, not once for each", .timeLimit(.minutes(1)), arguments: [false, true])
    func sharedStorage(deflated: Bool) throws {
        let (count, width) = (4000, 1 << 9)
        let start = Pickle().op("}(")
        let pickle = (0..<count).reduce(into: start) { pickle, index in
            pickle.bytes += Pickle().string("w\(index)").tensor(
                count: count * width, offset: index * width, shape: [width], strides: [1]
            ).bytes.dropFirst(2)
        }.op("u.").bytes
        let values = (0..<count * width).map { Float($0 / width) }
        var bytes = checkpoint(pickle, ["0": floats(values)], deflated: deflated)
        let file = try TensorFile(bytes: bytes, named: "x.pth")
        for index in 0..<count {
            let tensor = try file.stored(at: index)
            #expect(tensor.bytes == floats(Array(repeating: Float(index), count: width)))
        }
        guard !deflated else { return }
        // Damage elsewhere in the storage is still found.
        let last = try #require(bytes.indices.last { bytes[$0...].starts(with: floats([Float(count - 1)])) })
        bytes[last] ^= 1
        let damaged = try TensorFile(bytes: bytes, named: "x.pth")
        expectRefusal("the checksum of its entry 'archive/data/0' does not match") { _ = try damaged.stored(at: 0) }
    }

    @Test func everyElementType() throws {
        let cases: [(String, [UInt8], [Double])] = [
            ("Double", bytes([(1.0 / 3).bitPattern, (-2.0).bitPattern]), [1.0 / 3, -2]),
            ("Float", floats([0.5, -3]), [0.5, -3]),
            ("Half", bytes([0x3C00, 0xFBFF] as [UInt16]), [1, -65504]),
            ("BFloat16", bytes([0x4049, 0xFF80] as [UInt16]), [3.140625, -.infinity]),
            ("Long", bytes([Int64(1) << 40, -5]), [1_099_511_627_776, -5]), ("Int", bytes([Int32.min, 9]), [-2_147_483_648, 9]),
            ("Short", bytes([Int16(-7), 8]), [-7, 8]), ("Char", [0x80, 1], [-128, 1]), ("Byte", [255, 0], [255, 0]),
            ("Bool", [1, 0], [1, 0]),
        ]
        for (name, data, values) in cases {
            let pickle = Pickle.single { $0.tensor("torch.\(name)Storage", count: 2, shape: [2], strides: [1]) }
            #expect(try read(checkpoint(pickle, ["0": data])).values == values, "\(name)")
            let size = data.count / 2
            let swapped = [data[..<size], data[size...]].flatMap { $0.reversed() }
            #expect(try read(checkpoint(pickle, ["0": swapped], byteOrder: "big")).values == values, "\(name), big-endian")
        }
    }

    @Test func sharedStoragesParametersAndBookkeeping() throws {
        // A script's checkpoint: OrderedDict with attributes, a Parameter, two views of one storage, settings, NumPy's number, a size.
        var p = Pickle().op("}(").string("model").global("collections", "OrderedDict").op(")R(")
        p = p.string("a").tensor(count: 24, shape: [2], strides: [1])
        p = p.string("b").global("torch._utils", "_rebuild_parameter").op("(").tensor(
            count: 24, offset: 2, shape: [2], strides: [1]
        )
        .adding([0x88]).global("collections", "OrderedDict").op(")RtR")
        p = p.string("n").tensor("torch.LongStorage", key: "1", count: 1, shape: [], strides: [])
        p = p.string("c").global("torch._tensor", "_rebuild_from_type_v2").op("(").global("torch._utils", "_rebuild_tensor_v2")
            .global("torch", "Tensor").op("(").storage("torch.FloatStorage", "0", 24).int(4).ints([1]).ints([1]).adding([0x89])
            .global("collections", "OrderedDict").op(")Rt}tR")
        p = p.op("u}").string("_metadata").global("collections", "OrderedDict").op(")Rsb")
        p = p.string("opt").global("argparse", "Namespace").op(")\u{81}}").string("lr").op("G").adding([
            0x3F, 0xA9, 0x99, 0x99, 0x99, 0x99, 0x99, 0x9A,
        ]).op("sb")
        p = p.string("epoch").int(240).string("best_acc").op("F76.5\n").string("size").global("torch", "Size").op("(").ints([
            3, 4,
        ]).op("tR")
        let file = try TensorFile(bytes: checkpoint(p.op("u.").bytes, ["0": storage, "1": bytes([Int64(782)])]), named: "x")
        #expect(file.metadata == ["epoch": "240", "best_acc": "76.5"])
        #expect(file.entries.map(\.name) == ["model.a", "model.b", "model.n", "model.c"])
        #expect(try file.tensor("model.b").values == [2, 3])
        #expect(try file.tensor("model.c").values == [4])
        #expect(try file.stored("model.n").type == .int64)
        #expect(try file.int64s("model.n") == [782])
        #expect(try file.stateDict().names == ["a", "b", "n", "c"])
    }

    @Test func untypedStoragesAndElementTypesAsValues() throws {
        let p = Pickle.single {
            $0.global("torch._utils", "_rebuild_tensor_v3").op("(").storage("torch.storage.UntypedStorage", "0", 96).int(2).ints([
                2
            ]).ints([1])
                .adding([0x89]).global("collections", "OrderedDict").op(")R").global("torch", "float32").op("tR")
        }
        #expect(try read(checkpoint(p, ["0": storage])).values == [2, 3])
    }

    @Test("state dicts are found in the usual places, by key, and without wrappers' prefixes")
    func keys() throws {
        func state(_ prefix: String) -> (Pickle) -> Pickle {
            { $0.op("}").string(prefix + "a").tensor(count: 24, shape: [1], strides: [1]).op("s") }
        }
        func dict(_ members: [(String, (Pickle) -> Pickle)], key: String? = nil) throws -> TensorFile.StateDict {
            let p = members.reduce(Pickle().op("}")) { $1.1($0.string($1.0)).op("s") }.op(".").bytes
            return try TensorFile(bytes: checkpoint(p, ["0": storage]), named: "x").stateDict(key: key)
        }
        func names(_ members: [(String, (Pickle) -> Pickle)], key: String? = nil) throws -> [String] {
            try dict(members, key: key).names
        }
        #expect(try names([("model", state("")), ("optimizer", state("m"))]) == ["a"])
        #expect(try names([("optimizer", state("m")), ("state_dict", state("module."))]) == ["a"])
        #expect(try dict([("optimizer", state("m")), ("state_dict", state(""))]).note == nil)
        #expect(
            try dict([("model_ema", state("module.")), ("model", state(""))]).note
                == "taken from 'model'; the file holds other weights of these names in 'model_ema' (--key)")
        #expect(try names([("weights", state("module._orig_mod."))]) == ["a"])
        #expect(try names([("one", state("")), ("two", state("x."))], key: "two") == ["x.a"])
        #expect(try names([("one", state("")), ("two", state("x."))], key: "two.x") == ["a"])
        // The authors' trainer saves a whole distiller: the student is a part of the names.
        #expect(try names([("model", state("module.student.module."))], key: "model.student") == ["a"])
        let nested = { (p: Pickle) in state("")(p.op("}").string("student")).op("s") }
        #expect(try names([("model", nested)], key: "model.student") == ["a"])
        expectRefusal("holds several groups of tensors: one, two; choose one with --key") {
            _ = try names([("one", state("")), ("two", state(""))])
        }
        expectRefusal("has no tensors under the key 'model.studnet'; did you mean 'model.student'?") {
            _ = try names([("model", state("student."))], key: "model.studnet")
        }
    }

    @Test func theOldFormat() throws {
        func file(_ object: [UInt8], keys: [String], _ storages: [(Int, [UInt8])], littleEndian: Bool = true) -> [UInt8] {
            let magic = Pickle().adding([0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]).op(".").bytes
            let system = Pickle().op("}").string("little_endian").adding([littleEndian ? 0x88 : 0x89]).op("s.").bytes
            let list = keys.reduce(Pickle().op("](")) { $0.string($1) }.op("e.").bytes
            return magic + Pickle().int(1001).op(".").bytes + system + object + list + storages.flatMap { little($0.0, 8) + $0.1 }
        }
        let half = bytes([0x3C00, 0x4000] as [UInt16])
        let two = Pickle().op("}(").string("x").tensor("torch.cuda.HalfStorage", key: "77", count: 2, shape: [2], strides: [1])
            .string("w").tensor(key: "5", count: 24, offset: 1, shape: [2, 2], strides: [1, 2]).op("u.").bytes
        let good = file(two, keys: ["77", "5"], [(2, half), (24, storage)])
        #expect(try read(good) == Tensor(shape: [2, 2], values: [1, 3, 2, 4]))
        #expect(try read(good, "x").values == [1, 2])
        // A view of a larger storage, as PyTorch before 0.4 wrote it.
        let view = Pickle.single {
            $0.global("torch._utils", "_rebuild_tensor").op("((").string("storage").global("torch", "FloatStorage").string("5")
                .string("cpu").int(24)
                .op("(").string("9").int(10).int(4).op("ttQ").int(1).ints([2]).ints([1]).op("tR")
        }
        #expect(try read(file(view, keys: ["5"], [(24, storage)])).values == [11, 12])
        expectRefusal("is truncated") { _ = try read(Array(good.dropLast())) }
        expectRefusal("lacks the storage '5'") { _ = try read(file(two, keys: ["77"], [(2, half)])) }
        expectRefusal("should hold 24 elements and has 80 bytes") {
            _ = try read(file(two, keys: ["77", "5"], [(2, half), (20, storage)]))
        }
        expectRefusal("marked big-endian") {
            _ = try read(file(two, keys: ["77", "5"], [(2, half), (24, storage)], littleEndian: false))
        }
        expectRefusal("is a pickle that torch.save did not write") { _ = try read(two) }
    }
}
