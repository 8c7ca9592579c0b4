import RLDDatasets
import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// A hundred thousand mutants of small good files for each parser: each is read in full or refused with an `InputError`, and
/// nothing else happens. (The configuration's parser is fuzzed in RLDTrainingTests.)
struct FuzzTests {
    private let count = 100_000

    private func readAll(_ bytes: [UInt8], _ name: String) throws(InputError) {
        let file = try TensorFile(bytes: bytes, named: name)
        for index in file.entries.indices {
            let tensor = try file.stored(at: index)
            if tensor.type != .uint64 { _ = try tensor.floats(source: name) }
        }
    }

    @Test func safetensors() {
        let good = RLDFormatsTests.safetensors([
            ("conv.weight", "F32", [2, 3], Array(1...24)),
            ("n", "I64", [], [7, 0, 0, 0, 0, 0, 0, 0]), ("flags", "BOOL", [3], [0, 1, 1]),
            ("half", "BF16", [2], [1, 2, 3, 4]),
        ])
        let split = 8 + Int(good[0]) + Int(good[1]) << 8
        let (header, body) = (Array(good[8..<split]), Array(good[split...]))
        fuzz(count) { seed in
            if seed % 3 == 0 { return mutated(good, seed: seed) }
            // Mutants whose declared header length is right get further.
            let header = seed % 3 == 1 ? mutated(header, seed: seed) : header
            let body = seed % 3 == 2 ? mutated(body, seed: seed) : body
            return bytes([UInt64(header.count)]) + header + body
        } parse: { bytes throws(InputError) in
            try readAll(bytes, "mutant.safetensors")
        }
    }

    @Test func checkpoints() {
        let storage = floats((0..<24).map(Float.init))
        let object = Pickle().op("}(").string("model").global("collections", "OrderedDict").op(")R(")
            .string("w").tensor(count: 24, offset: 2, shape: [2, 3], strides: [1, 4])
            .string("n").tensor("torch.LongStorage", key: "1", count: 1, shape: [], strides: []).op("u")
            .string("epoch").int(7).string("opt").global("argparse", "Namespace").op(")\u{81}}bu.").bytes
        let storages = ["0": storage, "1": bytes([Int64(782)])]
        let archives = [checkpoint(object, storages), checkpoint(object, storages, deflated: true, zip64: true)]
        let magic = Pickle().adding([0x8A, 10, 0x6C, 0xFC, 0x9C, 0x46, 0xF9, 0x20, 0x6A, 0xA8, 0x50, 0x19]).op(".").bytes
        let keys = Pickle().op("](").string("0").string("1").op("e.").bytes
        let legacy =
            magic + Pickle().int(1001).op(".").bytes + Pickle().op("}.").bytes + object + keys + little(24, 8) + storage
            + little(1, 8) + bytes([Int64(782)])
        let instructions = Array(
            "(012NIJKMGXU]l})tadesuqrhjcQRb.\u{80}\u{81}\u{85}\u{86}\u{87}\u{88}\u{8a}\u{8c}\u{93}\u{94}\u{95}".unicodeScalars.map
            { UInt8($0.value) })
        fuzz(count) { seed in
            switch seed % 4 {
            // A mutated object in a good archive, whose checksums do not stop it.
            case 0, 1: checkpoint(mutated(object, seed: seed, alphabet: instructions), storages)
            case 2: mutated(archives[Int(seed / 4 % 2)], seed: seed)
            default: mutated(legacy, seed: seed, alphabet: instructions)
            }
        } parse: { bytes throws(InputError) in
            try readAll(bytes, "mutant.pth")
        }
    }

    @Test func arrays() {
        let body = floats([0, 1, 2, 3, 4, 5])
        let good = [
            NumPyTests.npy("{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }  \n", body),
            NumPyTests.npy("{'descr': '>f4', 'fortran_order': True, 'shape': (2, 3), }  \n", body, version: 2),
        ]
        let archive = zip([(name: "a.npy", bytes: good[0]), (name: "b.npy", bytes: good[1])], deflated: true)
        let letters = Array("0123456789-.{}(),: '\"<>|fiuTrueFalsL".utf8)
        fuzz(count) { seed in
            seed % 4 == 3 ? mutated(archive, seed: seed) : mutated(good[Int(seed % 2)], seed: seed, alphabet: letters)
        } parse: { bytes throws(InputError) in
            try readAll(bytes, bytes.starts(with: [0x50]) ? "mutant.npz" : "mutant.npy")
        }
    }

    @Test func pickledArrays() {
        // As NumPy writes an array in protocol 2, bytes as text.
        let array = Pickle().op("}(").string("data").global("numpy.core.multiarray", "_reconstruct").op("(")
            .global("numpy", "ndarray").op("K").adding([0]).op("\u{85}").global("_codecs", "encode").op("(").string("b")
            .string("latin1").op("tRtR(K").adding([1]).op("K").adding([2]).op("K").adding([3]).op("\u{86}")
            .global("numpy", "dtype").op("(").string("u1").op("K").adding([0]).op("K").adding([1]).op("tR(K").adding([3])
            .string("|").op("NNNJ").adding([255, 255, 255, 255]).op("J").adding([255, 255, 255, 255]).op("K").adding([0])
            .op("tb").adding([0x89]).global("_codecs", "encode").op("(").string("\u{1}\u{2}\u{FF}\u{80}az").string("latin1")
            .op("tRtb").string("labels").op("](K").adding([7]).op("K").adding([9]).op("eu.").bytes
        let good = try? PickledDictionary(array, named: "good")
        #expect(good?.array("data")?.shape == [2, 3] && good?.array("data")?.bytes == [1, 2, 255, 128, 0x61, 0x7A])
        #expect(good?.integers("labels") == [7, 9])
        let instructions = Array(
            "(012NIJKMGXU]l})tadesuqrhjcRb.\u{80}\u{85}\u{86}\u{87}\u{88}\u{89}\u{8a}".unicodeScalars.map { UInt8($0.value) })
        fuzz(count) { seed in
            mutated(array, seed: seed, alphabet: instructions)
        } parse: { bytes throws(InputError) in
            let values = try PickledDictionary(bytes, named: "mutant")
            if let (shape, bytes) = values.array("data"), shape.reduce(1, *) != bytes.count { throw InputError("", "") }
            _ = (values.integers("labels"), values.texts("labels"))
        }
    }

    @Test func idxFiles() {
        let plain = idx([3, 2, 2], Array(0..<12))
        let compressed = gzip(plain)
        fuzz(count) { seed in
            switch seed % 4 {
            case 0, 1: mutated(plain, seed: seed)
            case 2: mutated(compressed, seed: seed)
            default: gzip(mutated(plain, seed: seed))
            }
        } parse: { bytes throws(InputError) in
            let file = try IDXFile(bytes: bytes, named: "mutant", dimensions: 3)
            if file.bytes.count != file.shape.reduce(1, *) { throw InputError("", "") }
        }
    }
}
