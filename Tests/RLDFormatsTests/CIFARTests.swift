import Foundation
import RLDDatasets
import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// CIFAR's files, as NumPy and Python's pickle wrote them (Tests/Goldens/datasets) and damaged.
struct CIFARTests {
    private func file(_ name: String) -> String { Goldens.path("datasets/\(name)") }

    @Test("CIFAR-100 from the archives of the binary and of the Python version, of Python 2's and 3's pickles, and from a folder")
    func cifar() throws {
        let binary = try DatasetCatalog.load("cifar100:" + file("cifar-100-binary.tar.gz"))
        #expect(binary.train.labels == [3, 99, 0, 42, 7] && binary.test.labels == [1, 2, 98])
        #expect(binary.classNames.count == 100 && binary.classNames[42] == "fine 42")
        // Row i holds (7 i + 50 c) in channel c.
        #expect(binary.train.pixels[2 * 3072 + 1024] == 64 && binary.train.pixels[2 * 3072] == 14)
        for name in ["cifar-100-python2.tar.gz", "cifar-100-python4.tar.gz"] {
            let python = try DatasetCatalog.load("cifar100:" + file(name))
            #expect(python.train == binary.train && python.test == binary.test, "\(name)")
        }
        let folder = TemporaryFolder()
        try FileManager.default.createDirectory(atPath: folder.file("cifar-100-binary"), withIntermediateDirectories: true)
        let row = [UInt8](repeating: 9, count: 3072)
        try folder.write([0, 5] + row, "cifar-100-binary/train.bin")
        try folder.write([0, 6] + row, "cifar-100-binary/test.bin")
        #expect(try DatasetCatalog.load("cifar100:\(folder.path)").test.labels == [6])
        try folder.write([0, 100] + row, "cifar-100-binary/train.bin")
        for (bytes, problem) in [([0, 100] + row, "label 100 at index 0"), ([0, 5] + row.dropLast(), "no multiple of 3074")] {
            try folder.write(Array(bytes), "cifar-100-binary/train.bin")
            do {
                _ = try DatasetCatalog.load("cifar100:\(folder.path)")
                Issue.record("nothing was said")
            } catch { #expect("\(error)".contains(problem), "\(error)") }
        }
    }

    @Test("with --skip-broken a damaged file of CIFAR and rows with a label that is none are left out and named")
    func damagedShard() throws {
        let folder = TemporaryFolder()
        let row = [UInt8](repeating: 9, count: 3072)
        for number in 1...4 { try folder.write([UInt8(number)] + row + [3] + row, "data_batch_\(number).bin") }
        try folder.write([2] + row + [10] + row, "data_batch_2.bin")
        try folder.write([3] + row + row, "data_batch_3.bin")
        try folder.write([7] + row, "test_batch.bin")
        func load(_ skipBroken: Bool) throws -> Dataset {
            try DatasetCatalog.load("cifar10:\(folder.path)", options: DatasetOptions(skipBroken: skipBroken))
        }
        expectRefusal("data_batch_2.bin: label 10 at index 1, cifar10 has classes 0...9; repair it or give --skip-broken") {
            _ = try load(false)
        }
        let set = try load(true)
        #expect(set.train.labels == [1, 3, 2, 4, 3] && set.train.pixels.count == 5 * 3072 && set.test.labels == [7])
        let problems = set.skipped.map(\.description)
        #expect(problems.count == 3, "\(problems)")
        for (problem, wanted) in zip(
            problems, ["data_batch_2.bin: label 10", "data_batch_3.bin: has 6145", "lacks data_batch_5.bin"])
        { #expect(problem.contains(wanted), "\(problem)") }
        try folder.write([70] + row, "test_batch.bin")
        expectRefusal("test_batch.bin: label 70") { _ = try load(true) }
    }

    @Test("a label that is an object of NumPy is said to be one")
    func numpyLabels() throws {
        let folder = TemporaryFolder()
        try folder.write([0, 6] + [UInt8](repeating: 9, count: 3072), "unused.bin")
        let data = Pickle().op("}").string("data").global("numpy.core.multiarray", "_reconstruct").op(")R(").int(1).op("(").int(1)
            .int(3072).op("t").global("numpy", "dtype").op("(").string("u1").op("tR").adding([0x89]).op("B")
            .adding(little(3072, 4) + [UInt8](repeating: 9, count: 3072)).op("tbs")
        let labels = data.string("fine_labels").op("]").global("numpy.core.multiarray", "scalar").op(")Ras.").bytes
        for name in ["train", "test"] { try folder.write(labels, name) }
        expectRefusal("train: the label at index 0 is no plain whole number; write plain numbers into 'fine_labels'") {
            _ = try DatasetCatalog.load("cifar100:\(folder.path)")
        }
    }

    @Test("a pickle that calls anything else, or is cut short, is refused")
    func pickles() throws {
        let evil: [UInt8] =
            [0x80, 2] + Array("cos\nsystem\n".utf8) + Array("U\u{4}true".utf8) + [0x85, UInt8(ascii: "R"), UInt8(ascii: ".")]
        do {
            _ = try PickledDictionary(evil, named: "evil")
            Issue.record("it was called")
        } catch { #expect("\(error)".contains("refers to 'os.system', which CIFAR's images and labels do not need")) }
        #expect(throws: InputError.self) { try PickledDictionary([0x80, 2, UInt8(ascii: "}")], named: "short") }
        var state: UInt64 = 9
        for _ in 0..<2000 {
            var bytes = evil
            for _ in 0..<3 {
                state = CounterRandom.splitMix64(state)
                bytes[Int(state % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: state >> 32)
            }
            _ = try? PickledDictionary(bytes, named: "noise")
        }
    }

    @Test("a pickle whose values lie in one another without end is refused as any other that holds no images")
    func nestedPickles() throws {
        let folder = TemporaryFolder()
        let row = [UInt8](repeating: 9, count: 3072)
        try folder.write([0, 6] + row, "unused.bin")
        func refused(_ codes: [UInt8], _ fragment: String) throws {
            try folder.write(codes, "train")
            try folder.write(codes, "test")
            expectRefusal(fragment) { _ = try DatasetCatalog.load("cifar100:\(folder.path)") }
        }
        let deep = 2_000_000
        // Tuples in tuples, lists in lists, a list in itself.
        try refused(
            Pickle().op("}").string("data").op(")").adding(Array(repeating: 0x85, count: deep)).op("s.").bytes,
            "holds no array 'data'")
        try refused(
            Pickle().op("}").string("data").adding(Array(repeating: UInt8(ascii: "]"), count: deep))
                .adding(Array(repeating: UInt8(ascii: "a"), count: deep - 1)).op("s.").bytes, "holds no array 'data'")
        try refused(
            Pickle().op("}").string("data").op("]q").adding([1]).op("h").adding([1]).op("as.").bytes, "holds no array 'data'")
        try refused(Pickle().op("].").bytes, "is a pickle, but of no dictionary")
    }

    @Test("a size in a tar archive that is none is refused, and what no CIFAR file needs")
    func archives() throws {
        let folder = TemporaryFolder()
        func archive(_ name: String, size: String, _ body: [UInt8] = []) -> [UInt8] {
            var header = Array(name.utf8) + [UInt8](repeating: 0, count: 512 - name.utf8.count)
            header.replaceSubrange(124..<124 + size.utf8.count, with: size.utf8)
            header.replaceSubrange(148..<156, with: Array(repeating: 0x20, count: 8))
            let sum = String(header.reduce(0) { $0 + Int($1) }, radix: 8)
            header.replaceSubrange(148..<148 + sum.utf8.count, with: sum.utf8)
            return header + body
        }
        for size in ["-0000000010", "-0000010000", "+0000000010", "0000000009"] {
            for name in ["cifar-100-binary/test.bin", "other"] {
                try folder.write(archive(name, size: size, Array(repeating: 0, count: 512)), "x.tar")
                expectRefusal("x.tar: is no tar archive") { _ = try DatasetCatalog.load("cifar100:\(folder.file("x.tar"))") }
            }
        }
        try folder.write(gzip(archive("test.bin", size: "20000000000", Array(repeating: 0, count: 3 << 20))), "x.tar.gz")
        expectRefusal("promises 2147483648 bytes for 'test.bin'") {
            _ = try DatasetCatalog.load("cifar100:\(folder.file("x.tar.gz"))")
        }
        // As GNU tar pads it, with blanks.
        let row = [5, 6] + [UInt8](repeating: 9, count: 3072)
        let good = { (name: String) in archive(name, size: "       6002 ", row + [UInt8](repeating: 0, count: 3584 - 3074)) }
        try folder.write(good("a/train.bin") + good("a/test.bin"), "y.tar")
        #expect(try DatasetCatalog.load("cifar100:\(folder.file("y.tar"))").test.labels == [6])
    }
}
