import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// Whatever a checkpoint holds beside weights is refused by name, and nothing in it can make the reader trap or allocate without end.
struct TorchRefusalTests {
    private let storage = floats((0..<24).map(Float.init))

    private func refused(_ fragment: String, _ pickle: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
        expectRefusal(fragment, sourceLocation: sourceLocation) {
            let file = try TensorFile(bytes: checkpoint(pickle, ["0": storage]), named: "x.pth")
            for index in file.entries.indices { _ = try file.stored(at: index) }
        }
    }

    @Test("functions and classes that weights do not need are named and never called")
    func globals() {
        refused(
            "refers to 'posix.system', which weights do not need: nothing of it was run",
            Pickle().global("posix", "system").op("(").string("true").op("tR.").bytes)
        refused("'builtins.eval'", Pickle().global("builtins", "eval").op("(").string("1").op("tR.").bytes)
        refused("'torch.storage._load_from_bytes'", Pickle().global("torch.storage", "_load_from_bytes").op(")R.").bytes)
        refused(
            "'torch.ComplexFloatStorage'",
            Pickle.single { $0.tensor("torch.ComplexFloatStorage", count: 2, shape: [2], strides: [1]) })
        // The same by names on the stack.
        refused("'os.system'", Pickle().string("os").string("system").adding([0x93]).op(".").bytes)
        refused(
            "'models.resnet.ResNet', which weights do not need", Pickle().global("models.resnet", "ResNet").op(")\u{81}.").bytes)
        refused("calls a string", Pickle().string("os").op(")R.").bytes)
        refused("calls torch.float32", Pickle().global("torch", "float32").op(")R.").bytes)
        refused("gives attributes to a list", Pickle().op("]}b.").bytes)
        refused("uses the instruction 0x69", Pickle().op("(ios\nsystem\n.").bytes)
        refused("uses the instruction 0x82", Pickle().adding([0x82, 1]).op(".").bytes)
        refused("outside by a line of text", Pickle().op("Pabc\n.").bytes)
    }

    @Test("tensors outside their storage, and promises that no memory holds")
    func sizes() {
        func tensor(
            _ fragment: String, count: Int = 24, offset: Int = 0, _ shape: [Int], _ strides: [Int],
            sourceLocation: SourceLocation = #_sourceLocation
        ) {
            refused(
                fragment, Pickle.single { $0.tensor(count: count, offset: offset, shape: shape, strides: strides) },
                sourceLocation: sourceLocation)
        }
        tensor("reaches element 24 of a storage of 24", [25], [1])
        tensor("reaches element 24 of a storage of 24", offset: 1, [4, 6], [6, 1])
        tensor("reaches element 1152921504606846975 of a storage of 24", [1 << 60], [1])
        tensor("which no memory holds", [1 << 61], [1])
        tensor("which no memory holds", [1 << 31, 1 << 31, 2], [0, 0, 0])
        tensor("repeats a storage of 24 elements too often", [1 << 30, 1 << 20], [0, 0])
        tensor("reaches beyond any storage", [1 << 40, 2], [0, 1].map { $0 + 1 << 61 })
        tensor("negative offset or stride", offset: -1, [2], [1])
        tensor("negative offset or stride", [2], [-1])
        tensor("which no memory holds", [-2], [1])
        tensor("1 sizes and 2 strides", [2], [1, 1])
        tensor("storage '0' should hold 1152921504606846976 elements", count: 1 << 60, [2], [1])
        tensor("lies in a storage of 4611686018427387904 elements", count: 1 << 62, [2], [1])
        refused("a storage without class, key and size", Pickle.single { $0.tensor(count: -3, shape: [0], strides: [1]) })
        refused("lacks the storage '1'", Pickle.single { $0.tensor(key: "1", count: 1, shape: [1], strides: [1]) })
        refused("is truncated: 4294967295 bytes are promised", Pickle().op("X").adding([255, 255, 255, 255]).op(".").bytes)
        refused("promises 18446744073709551615 bytes", Pickle().adding([0x8D] + Array(repeating: 255, count: 8)).op(".").bytes)
    }

    @Test("values that contain themselves, are nested deeply, or share without end")
    func structure() throws {
        // A list in itself, three hundred thousand tuples deep, and a tree of 2^40 leaves made of 40 dictionaries.
        refused("deeper than 32 levels", Pickle().op("]q").adding([0]).op("h").adding([0]).op("a.").bytes)
        refused("deeper than 32 levels", Pickle().op(")").adding(Array(repeating: 0x85, count: 300_000)).op(".").bytes)
        var doubling = Pickle().op("}")
        for _ in 0..<20 {
            doubling = doubling.op("q").adding([0]).op("}(").string("a").op("h").adding([0]).string("b").op("h").adding([0]).op(
                "u")
        }
        refused("nests its values without end", doubling.op(".").bytes)
        refused(
            "is larger than any checkpoint", Pickle().adding(Array(repeating: UInt8(ascii: "N"), count: 5_000_000)).op(".").bytes)
        refused("takes from an empty stack", Pickle().op(".").bytes)
        refused("takes from an empty stack", Pickle().op("(0a.").bytes)
        refused("a mark is missing", Pickle().op("t.").bytes)
        refused("recalls what was never remembered", Pickle().op("h").adding([7]).op(".").bytes)
        refused("a key without a value", Pickle().op("}(Nu.").bytes)
        refused("is truncated", Pickle().op("N").bytes)
        refused("pickle protocol 6", [0x80, 6, 0x4E, 0x2E])
    }

    @Test("a view of a storage that lies beyond it, in the archive's format too; each use of a storage is checked")
    func views() throws {
        func view(_ pickle: Pickle, _ offset: Int, _ count: Int, of whole: Int) -> Pickle {
            pickle.global("torch._utils", "_rebuild_tensor").op("((").string("storage").global("torch", "FloatStorage").string(
                "0"
            )
            .string("cpu").int(whole).op("(").string("9").int(offset).int(count).op("ttQ").int(0).ints([1]).ints([1]).op("tR")
        }
        refused("storage '0' should hold", Pickle.single { view($0, 1 << 61, 1, of: (1 << 61) + 1) })
        refused("storage '0' should hold 25 elements", Pickle.single { view($0, 24, 1, of: 25) })
        let second = view(
            Pickle().op("}(").string("a").tensor(count: 24, shape: [1], strides: [1]).string("b"), 1 << 61, 1, of: .max)
        refused("storage '0' should hold", second.op("u.").bytes)
        let good = Pickle.single { view($0, 23, 1, of: 24) }
        #expect(try TensorFile(bytes: checkpoint(good, ["0": storage]), named: "x.pth").tensor("w").values == [23])
    }

    @Test("few bytes cannot ask for much memory or time", .timeLimit(.minutes(1)))
    func amplification() throws {
        let many = 200_000
        func repeated(_ codes: [UInt8], _ count: Int = many) -> [UInt8] { Array(repeating: codes, count: count).flatMap { $0 } }
        let (h, r) = (UInt8(ascii: "h"), UInt8(ascii: "R"))
        // One list of pairs, made a dictionary again and again.
        let pairs = Pickle().string("k").op("N").adding([0x86]).op("q").adding([1]).op("0](")
            .adding(repeated([h, 1])).op("e").adding([0x85]).op("q").adding([2]).op("0")
            .global("collections", "OrderedDict").op("q").adding([3]).op("0]")
        refused("is larger than any checkpoint", pairs.adding(repeated([h, 3, h, 2, r, UInt8(ascii: "a")])).op(".").bytes)
        // One dictionary without names, looked through again and again.
        let nameless = Pickle().op("}(").adding(repeated([UInt8(ascii: "N"), UInt8(ascii: "N")])).op("uq").adding([1]).op("0](")
            .adding(repeated([h, 1])).op("e.").bytes
        refused("nests its values without end", nameless)
        // One long name of many tensors.
        let named = Pickle().op("}").string(String(repeating: "x", count: 1 << 20)).op("](")
            .tensor(count: 24, shape: [1], strides: [1]).op("q").adding([1]).adding(repeated([h, 1])).op("es.").bytes
        refused("nests its values without end", named)
    }

    @Test("expanded tensors may together not repeat their storages without end")
    func expansion() {
        func tensors(_ count: Int) -> [UInt8] {
            (0..<count).reduce(Pickle().op("}(")) {
                $0.string("w\($1)").tensor("torch.DoubleStorage", count: 1, shape: [1 << 24], strides: [0])
            }.op("u.").bytes
        }
        expectRefusal("holds expanded tensors that repeat their storages in more than 512 MiB") {
            _ = try TensorFile(bytes: checkpoint(tensors(5), ["0": Array(repeating: 0, count: 8)]), named: "x.pth")
        }
        #expect(throws: Never.self) {
            _ = try TensorFile(bytes: checkpoint(tensors(4), ["0": Array(repeating: 0, count: 8)]), named: "x.pth")
        }
    }

    @Test("tensors that stand for the negative or conjugate of their storage are refused by name", arguments: ["neg", "conj"])
    func marks(name: String) throws {
        func marked(_ value: UInt8) -> [UInt8] {
            Pickle.single {
                $0.global("torch._utils", "_rebuild_tensor_v2").op("(").storage("torch.FloatStorage", "0", 24).int(0).ints([2])
                    .ints([1]).adding([0x89]).global("collections", "OrderedDict").op(")R}").string(name).adding([value]).op(
                        "stR")
            }
        }
        refused("holds a tensor with PyTorch's \(name) bit", marked(0x88))
        #expect(try TensorFile(bytes: checkpoint(marked(0x89), ["0": storage]), named: "x.pth").tensor("w").values == [0, 1])
    }

    @Test func archives() throws {
        func refused(_ fragment: String, _ bytes: [UInt8], sourceLocation: SourceLocation = #_sourceLocation) {
            expectRefusal(fragment, sourceLocation: sourceLocation) {
                let file = try TensorFile(bytes: bytes, named: "x.pth")
                for index in file.entries.indices { _ = try file.stored(at: index) }
            }
        }
        let good = checkpoint(Pickle.single { $0.tensor(count: 24, shape: [24], strides: [1]) }, ["0": storage])
        for count in stride(from: 4, to: good.count, by: 7) { refused("x.pth: is truncated", Array(good.prefix(count))) }
        var flipped = good
        let place = try #require(good.indices.first { good[$0...].starts(with: floats([1, 2, 3])) })
        flipped[place] ^= 1
        refused("the checksum of its entry 'archive/data/0' does not match", flipped)
        refused("without data.pkl", zip([("a/version", [1])]))
        refused("is a TorchScript archive", zip([("a/data.pkl", [0x4E, 0x2E]), ("a/code/x.py", [])]))
        refused("names 'a/data.pkl' twice", zip([("a/data.pkl", [0x4E, 0x2E]), ("a/data.pkl", [0x4E, 0x2E])]))
        refused("has byte order 'middle'", checkpoint([0x4E, 0x2E], [:], byteOrder: "middle"))
        refused("tar format", Array(repeating: 0, count: 257) + Array("ustar  ".utf8))
        refused("is no file of tensors that can be read", Array("hello, world".utf8))
        refused("is no file of tensors that can be read", [])
        var large = good
        let end = good.count - 22
        large.replaceSubrange(end + 12..<end + 16, with: [0, 0, 0, 127])
        refused("a zip directory of 2130706432 bytes", large)
        // A stored entry whose deflated size promises 2^60 bytes.
        var lying = zip([("a.npy", Array(repeating: 0, count: 100))], deflated: true)
        let size = try #require(lying.indices.last { lying[$0...].starts(with: little(0x0201_4B50, 4)) }) + 24
        lying.replaceSubrange(size..<size + 4, with: [255, 255, 255, 127])
        expectRefusal("cannot unpack to 2147483647") { _ = try TensorFile(bytes: lying, named: "x.npz") }
    }
}
