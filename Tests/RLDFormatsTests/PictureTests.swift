import Foundation
import RLDDatasets
import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// Picture files and CIFAR archives that Pillow, NumPy and Python's pickle wrote (Tests/Goldens/datasets).
struct PictureTests {
    private struct Expected: Decodable {
        var size: [Int]
        var square12: [Int]
    }

    private func file(_ name: String) -> String { Goldens.path("datasets/\(name)") }

    private func expected() throws -> [String: Expected] {
        try JSONDecoder().decode([String: Expected].self, from: Data(contentsOf: URL(fileURLWithPath: file("pictures.json"))))
    }

    @Test("JPEG and PNG decode and scale as Pillow does: grey, palette, alpha and four-colour ones too")
    func decoding() throws {
        for (name, wanted) in try expected() {
            let picture = try ImageDecoder.picture(path: file(name))
            #expect([picture.width, picture.height] == wanted.size, "\(name)")
            let square = picture.centreSquare(12)
            let errors = zip(square, wanted.square12).map { abs(Int($0) - $1) }
            // Rounding in two places; four-colour JPEGs are converted by another formula.
            #expect(
                errors.max() ?? 255 <= (name == "ink.jpg" ? 3 : name.hasSuffix(".jpg") ? 2 : 1), "\(name) \(errors.max() ?? -1)")
        }
    }

    @Test("damaged pictures are named, whatever is cut off or changed")
    func damaged() throws {
        for name in ["wide.jpg", "tall.png"] {
            let bytes = try contents(of: file(name))
            for length in stride(from: 0, to: bytes.count - 12, by: max(bytes.count / 23, 1)) {
                #expect(throws: InputError.self, "\(name) \(length)") {
                    try ImageDecoder.picture(Array(bytes.prefix(length)), named: name)
                }
            }
            for index in stride(from: 0, to: bytes.count, by: 7) {
                var changed = bytes
                changed[index] ^= 0x5A
                // May still decode, must not crash.
                _ = try? ImageDecoder.picture(changed, named: name)
            }
        }
        do {
            _ = try ImageDecoder.picture(Array("GIF89a".utf8), named: "x.gif")
            Issue.record("a GIF was taken")
        } catch { #expect("\(error)".contains("neither a JPEG nor a PNG")) }
    }

    /// A folder of pictures in two classes.
    private func pictures(_ folder: TemporaryFolder, _ parts: [String], broken: Bool = false) throws {
        for part in parts {
            for (label, names) in [
                ("cat", ["wide.jpg", "tall.png", "grey.jpg"]), ("dog", ["alpha.png", "small.png", "palette.png"]),
            ] {
                let target = folder.path + "/" + part + label
                try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
                for name in names { try FileManager.default.copyItem(atPath: file(name), toPath: "\(target)/\(name)") }
            }
        }
        if broken { try folder.write(Array("not a picture".utf8), parts[0] + "dog/zz broken.jpg") }
    }

    @Test("train/CLASS and test/CLASS; CLASS alone is split; images keep their classes and one order")
    func folders() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "test/"])
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(set.classNames == ["cat", "dog"])
        #expect(set.train.count == 6 && set.test.count == 6)
        #expect(set.inputShape == [3, 12, 12])
        let wanted = try expected()
        // Every stored image is one of the files, with its class.
        var found: [String: Int32] = [:]
        for index in 0..<6 {
            let pixels = set.train.pixels[index * set.train.imageSize..<(index + 1) * set.train.imageSize]
            let name =
                wanted.min { a, b in
                    distance(pixels, a.value.square12) < distance(pixels, b.value.square12)
                }?.key ?? ""
            found[name] = set.train.labels[index]
        }
        #expect(found == ["wide.jpg": 0, "tall.png": 0, "grey.jpg": 0, "alpha.png": 1, "small.png": 1, "palette.png": 1])
        #expect(
            try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12)).contentHash
                == set.contentHash)

        let single = try TemporaryFolder()
        try pictures(single, [""])
        let split = try DatasetCatalog.load("folder:\(single.path)", options: DatasetOptions(imageSize: 12, testShare: 0.34))
        #expect(split.train.count == 4 && split.test.count == 2)
        #expect(try DatasetCatalog.load("folder:\(single.path)").inputShape == [3, 64, 64])
    }

    private func distance(_ a: ArraySlice<UInt8>, _ b: [Int]) -> Int { zip(a, b).reduce(0) { $0 + abs(Int($1.0) - $1.1) } }

    @Test("a damaged picture stops with its name, or is left out and counted")
    func broken() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "val/"], broken: true)
        do {
            _ = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
            Issue.record("nothing was said")
        } catch {
            #expect("\(error)".contains("zz broken.jpg: is neither a JPEG nor a PNG"), "\(error)")
            #expect("\(error)".contains("--skip-broken"))
        }
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12, skipBroken: true))
        #expect(set.train.count == 6 && set.skipped.count == 1)

        let (inspection, dataset) = try DatasetInspection.inspect("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(
            inspection.classes.map(\.train) == [3, 3]
                && inspection.broken.map(\.file).allSatisfy { $0.hasSuffix("zz broken.jpg") })
        #expect(inspection.sizes.contains { $0.width == 37 && $0.height == 24 && $0.images == 2 })
        try dataset.writeContactSheet(folder.file("sheet.png"))
        let sheet = try ImageDecoder.picture(path: folder.file("sheet.png"))
        #expect(sheet.width == 10 * 26 + 2 && sheet.height == 2 * 26 + 2)
        var sum = 0.0
        for image in 0..<6 { for i in 0..<144 { sum += Double(dataset.train.pixels[image * 432 + i]) } }
        #expect(abs(Double(inspection.mean[0]) - sum / 255 / 864) < 1e-6)
    }

    @Test("a streamed set is the set in memory: order, pixels, mean, hash, what is left out")
    func streamed() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "test/"], broken: true)
        func load(_ streaming: Streaming, bytes: Int? = nil) throws -> Dataset {
            try DatasetCatalog.load(
                "folder:\(folder.path)",
                options: DatasetOptions(imageSize: 12, skipBroken: true, streaming: streaming, residentBytes: bytes))
        }
        let (held, streamed) = (try load(.off, bytes: 1), try load(.on))
        #expect(held.train.stream == nil && streamed.train.stream != nil && streamed.train.pixels.isEmpty)
        #expect(streamed.train.labels == held.train.labels && streamed.transform == held.transform)
        #expect(streamed.skipped == held.skipped && streamed.skipped.count == 1)
        #expect(streamed.contentHash == held.contentHash && streamed.train.contentHash == held.train.contentHash)
        for (a, b) in [(streamed.train, held.train), (streamed.test, held.test)] {
            for index in 0..<6 { #expect(try a.image(index) == b.image(index)) }
            let chosen = a.selecting([4, 1])
            #expect(try chosen.image(1) == b.image(1) && chosen.labels == [b.labels[4], b.labels[1]])
        }
        // Seven files, images of 432 bytes: held where they fit.
        #expect(try load(.auto, bytes: 3024).train.stream == nil && load(.auto, bytes: 3023).train.stream != nil)
        try streamed.writeContactSheet(folder.file("a.png"))
        try held.writeContactSheet(folder.file("b.png"))
        #expect(try contents(of: folder.file("a.png")) == contents(of: folder.file("b.png")))
    }

    @Test("what a pass over streamed files found is taken from the store while no file has changed, and never after one has")
    func surveys() throws {
        let (folder, store) = (try TemporaryFolder(), try TemporaryFolder())
        try pictures(folder, ["train/", "test/"], broken: true)
        func load(skipBroken: Bool = true, settling: Double = 0) throws -> Dataset {
            var options = DatasetOptions(
                imageSize: 12, skipBroken: skipBroken, streaming: .on, surveyFolder: store.file("surveys"))
            options.surveySettling = settling
            return try DatasetCatalog.load("folder:\(folder.path)", options: options)
        }
        func files() -> [String] {
            ((try? FileManager.default.contentsOfDirectory(atPath: store.file("surveys"))) ?? []).map { "surveys/" + $0 }
        }
        func reused(_ set: Dataset) -> Bool { set.notes.contains { $0.contains("were not all read again") } }
        // Files that were written just now could change again without a sign.
        let first = try load(settling: 3600)
        #expect(!reused(first) && files().isEmpty)
        usleep(20_000)
        #expect(try !reused(load()) && files().count == 2)
        let again = try load()
        #expect(reused(again) && again.contentHash == first.contentHash && again.transform == first.transform)
        #expect(again.skipped == first.skipped && again.skipped.count == 1)
        for index in 0..<6 { #expect(try again.train.image(index) == first.train.image(index)) }
        expectRefusal("zz broken.jpg: is neither a JPEG nor a PNG; remove it or give --skip-broken") {
            _ = try load(skipBroken: false)
        }
        // It is really believed; but not when a few pictures read otherwise than they did, and not when it is damaged.
        let stored = try files().map { ($0, try contents(of: store.file($0))) }
        func write(_ change: (String) -> String) throws {
            for (name, bytes) in stored { try store.write(Array(change(String(decoding: bytes, as: UTF8.self)).utf8), name) }
        }
        try write { $0.replacingOccurrences(of: first.train.contentHash, with: "0123456789abcdef") }
        #expect(try load().train.contentHash == "0123456789abcdef")
        try write { $0.replacing(/"sample":"[0-9a-f]+"/, with: "\"sample\":\"0\"") }
        let repeated = try load()
        #expect(repeated.train == again.train && repeated.skipped == again.skipped && !reused(repeated))
        try write { String($0.dropLast(9)) }
        #expect(try !reused(load()) && load() == again)
        // Other contents of the same length at the same time.
        let path = folder.file("train/cat/tall.png")
        let attributes = try FileManager.default.attributesOfItem(atPath: path)
        let other = try contents(of: folder.file("train/dog/small.png"))
        try Data((other + [UInt8](repeating: 0, count: 1 << 12)).prefix(contents(of: path).count))
            .write(to: URL(fileURLWithPath: path))
        try FileManager.default.setAttributes(
            [.modificationDate: try #require(attributes[.modificationDate])], ofItemAtPath: path)
        usleep(20_000)
        let changed = try load()
        #expect(changed.train.contentHash != first.train.contentHash && changed.test.contentHash == first.test.contentHash)
        try FileManager.default.removeItem(atPath: folder.file("train/dog/zz broken.jpg"))
        #expect(try load(skipBroken: false).skipped.isEmpty)
    }

    @Test("a path alone is a folder of pictures, a labels.csv or a file of arrays; a name that is none gets a suggestion")
    func pathsAlone() throws {
        for (text, wanted) in [
            ("./own", "folder:./own"), ("/a/b:c", "folder:/a/b:c"), ("~/x", "folder:~/x"),
            ("a/labels.csv", "labels:a/labels.csv"),
            ("./x.npz", "arrays:./x.npz"), ("mnist:/x/y", "mnist:/x/y"),
        ] { #expect(try DatasetCatalog.Reference(parsing: text).description == wanted) }
        expectRefusal("did you mean 'fashion-mnist'?") { _ = try DatasetCatalog.load("fashon-mnist:/x/y") }
    }

    @Test("val/ beside test/ is the validation part; alone it is the test set, and the notes say which is which")
    func validationParts() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "val/", "test/"])
        func load() throws -> Dataset {
            try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        }
        try FileManager.default.removeItem(atPath: folder.file("val/cat/wide.jpg"))
        let set = try load()
        #expect(set.train.count == 6 && set.validation?.count == 5 && set.test.count == 6)
        #expect(set.notes.contains { $0.contains("/test is the test set") && $0.contains("/val the validation part") })
        let (inspection, _) = try DatasetInspection.inspect("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(inspection.validationImages == 5 && inspection.classes.map(\.validation) == [2, 3])
        #expect(inspection.sizes.reduce(0) { $0 + $1.images } == 17)
        try folder.write([1], "val/cat/other.jpg")
        expectRefusal("val/cat/other.jpg") { _ = try load() }
        try FileManager.default.removeItem(atPath: folder.file("val/cat/other.jpg"))
        // Pictures without classes are no test set.
        try FileManager.default.removeItem(atPath: folder.file("test/cat"))
        try FileManager.default.removeItem(atPath: folder.file("test/dog"))
        try folder.write([1], "test/1.jpg")
        let alone = try load()
        #expect(alone.validation == nil && alone.test == set.validation && alone.contentHash != set.contentHash)
        #expect(
            alone.notes == ["\(folder.path)/val is the test set", "\(folder.path): test/ holds no classes and is not used"])

        try folder.write(
            Array("train/cat/wide.jpg,a\ntrain/dog/small.png,b\nval/dog/small.png,b,val\nval/cat/tall.png,a,test\n".utf8),
            "labels.csv")
        let labels = try DatasetCatalog.load("labels:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(labels.train.count == 2 && labels.validation?.labels == [1] && labels.test.labels == [0])
    }

    @Test("labels.csv names files and classes, with quotes, a header and parts")
    func labels() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, [""])
        try folder.write(
            Array(
                """
                split,file,label
                train,cat/wide.jpg,10
                train,"cat/tall.png",9
                test,dog/small.png,9
                train,dog/alpha.png,"two, or more"

                """.utf8), "labels.csv")
        let set = try DatasetCatalog.load("labels:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(set.classNames.sorted() == ["10", "9", "two, or more"])
        #expect(set.train.count == 3 && set.test.count == 1)
        #expect(set.classNames[Int(set.test.labels[0])] == "9")
        try folder.write(Array("cat/wide.jpg\n".utf8), "labels.csv")
        do {
            _ = try DatasetCatalog.load("labels:\(folder.path)")
            Issue.record("nothing was said")
        } catch { #expect("\(error)".contains("labels.csv:1: has 1 columns")) }
        let lines = "cat/wide.jpg,a\ncat/tall.png\ncat/grey.jpg,b,nowhere\ndog/small.png,b,test\ndog/alpha.png,b\n"
        try folder.write(Array(lines.utf8), "labels.csv")
        let some = try DatasetCatalog.load("labels:\(folder.path)", options: DatasetOptions(imageSize: 12, skipBroken: true))
        #expect(some.train.count == 2 && some.test.count == 1)
        #expect(some.skipped.map { $0.subject.suffix(12) } == ["labels.csv:2", "labels.csv:3"])
    }

    @Test("Tiny-ImageNet's layout: annotations of the validation pictures, readable names")
    func tinyImageNet() throws {
        let folder = try TemporaryFolder()
        for (id, name) in [("n01", "wide.jpg"), ("n02", "tall.png")] {
            try FileManager.default.createDirectory(
                atPath: "\(folder.path)/train/\(id)/images", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: file(name), toPath: "\(folder.path)/train/\(id)/images/\(name)")
        }
        try FileManager.default.createDirectory(atPath: folder.file("val/images"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: file("small.png"), toPath: folder.file("val/images/v0.png"))
        try folder.write(Array("v0.png\tn02\t0\t0\t5\t5\n".utf8), "val/val_annotations.txt")
        try folder.write(Array("n01\tgoldfish, Carassius auratus\nn02\ttoad\n".utf8), "words.txt")
        let set = try DatasetCatalog.load("tiny-imagenet:\(folder.path)")
        #expect(set.classNames == ["goldfish", "toad"] && set.test.labels == [1] && set.inputShape == [3, 64, 64])
    }

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
        let folder = try TemporaryFolder()
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
        let folder = try TemporaryFolder()
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

    @Test("a pickle that calls anything else, or is cut short, is refused")
    func pickles() throws {
        let evil: [UInt8] =
            [0x80, 2] + Array("cos\nsystem\n".utf8) + Array("U\u{4}true".utf8) + [0x85, UInt8(ascii: "R"), UInt8(ascii: ".")]
        do {
            _ = try ArrayPickle.dictionary(evil, named: "evil")
            Issue.record("it was called")
        } catch { #expect("\(error)".contains("calls os.system")) }
        #expect(throws: InputError.self) { try ArrayPickle.dictionary([0x80, 2, UInt8(ascii: "}")], named: "short") }
        var state: UInt64 = 9
        for _ in 0..<2000 {
            var bytes = evil
            for _ in 0..<3 {
                state = CounterRandom.splitMix64(state)
                bytes[Int(state % UInt64(bytes.count))] = UInt8(truncatingIfNeeded: state >> 32)
            }
            _ = try? ArrayPickle.dictionary(bytes, named: "noise")
        }
    }

    @Test("arrays in safetensors: names, layouts and ranges")
    func arrays() throws {
        let folder = try TemporaryFolder()
        let path = folder.file("set.safetensors")
        try SafetensorsFile.write(
            [
                SafetensorsItem("x_train", Tensor(shape: [4, 2, 2, 3], values: (0..<48).map { Double($0) / 100 })),
                SafetensorsItem("y_train", Tensor(shape: [4], values: [0, 1, 2, 1]), as: .int64),
                SafetensorsItem("x_test", Tensor(shape: [1, 2, 2, 3], repeating: 0.5)),
                SafetensorsItem("y_test", Tensor(shape: [1], values: [2]), as: .int64),
            ], to: path)
        let set = try DatasetCatalog.load("arrays:\(path)")
        #expect(set.inputShape == [3, 2, 2] && set.train.labels == [0, 1, 2, 1] && set.classNames == ["0", "1", "2"])
        // Channels last, fractions: pixel (0, 1) of channel 2 is value 5.
        #expect(set.train.pixels[2 * 4 + 1] == UInt8((0.05 * 255).rounded()))
        try SafetensorsFile.write([SafetensorsItem("pictures", Tensor(shape: [1], values: [1]))], to: path)
        do {
            _ = try DatasetCatalog.load("arrays:\(path)")
            Issue.record("nothing was said")
        } catch { #expect("\(error)".contains("holds pictures") && "\(error)".contains("train_images")) }
    }

    @Test("arrays in an .npz: bytes as they are, channels last, a test set drawn from the rest; other files are refused")
    func npz() throws {
        let folder = try TemporaryFolder()
        func npy(_ type: String, _ shape: String, _ body: [UInt8]) -> [UInt8] {
            NumPyTests.npy("{'descr': '\(type)', 'fortran_order': False, 'shape': (\(shape)), }\n", body)
        }
        // Five pictures of 2 x 1 pixels; channel c of pixel p of picture n is 40 n + 10 p + c.
        var pixels: [UInt8] = []
        for n in 0..<5 { for p in 0..<2 { for c in 0..<3 { pixels.append(UInt8(40 * n + 10 * p + c)) } } }
        let arrays = [
            (name: "images.npy", bytes: npy("|u1", "5, 2, 1, 3", pixels)),
            (name: "labels.npy", bytes: npy(">i8", "5,", bytes((0..<5).map { Int64($0).bigEndian }))),
            (name: "notes.npy", bytes: npy("<f4", "1,", floats([.nan]))),
        ]
        for deflated in [false, true] {
            try folder.write(zip(arrays, deflated: deflated), "set.npz")
            let set = try DatasetCatalog.load("arrays:\(folder.file("set.npz"))")
            #expect(set.inputShape == [3, 2, 1] && set.train.count == 4 && set.test.count == 1 && set.train.classes == 5)
            for table in [set.train, set.test] {
                for (row, label) in table.labels.enumerated() {
                    let wanted: [UInt8] = [0, 10, 1, 11, 2, 12]
                    #expect(Array(table.pixels[6 * row..<6 * row + 6]) == wanted.map { $0 + 40 * UInt8(label) })
                }
            }
            #expect(Set(set.train.labels + set.test.labels) == [0, 1, 2, 3, 4])
        }
        try folder.write(npy("|u1", "5, 2, 1, 3", pixels), "set.npy")
        expectRefusal("is a NumPy array; give an .npz or .safetensors file") {
            _ = try DatasetCatalog.load("arrays:\(folder.file("set.npy"))")
        }
        try folder.write(zip([arrays[0], (name: "labels.npy", bytes: npy("|u1", "4,", [0, 1, 0, 1]))]), "short.npz")
        expectRefusal("labels: has 4 labels for 5 images") {
            _ = try DatasetCatalog.load("arrays:\(folder.file("short.npz"))")
        }
    }
}

struct AugmentationTests {
    @Test("draws: crops stay inside and in their range of areas and aspects, factors in theirs, Beta has its mean and spread")
    func draws() {
        var transform = ImageTransform(mean: [0], deviation: [1], horizontalFlip: true, size: 8, resizedCrop: 0.25)
        transform.brightness = 0.4
        var areas: [Double] = []
        for index in 0..<2000 {
            let p = transform.placement(seed: 1, epoch: 3, index: index, height: 40, width: 60)
            #expect(p.top >= 0 && p.left >= 0 && p.top + p.height <= 40 && p.left + p.width <= 60)
            #expect(p.brightness >= 0.6 && p.brightness <= 1.4 && p.contrast == 1)
            areas.append(Double(p.height * p.width) / 2400)
            let aspect = p.width / p.height
            #expect(aspect > 0.7 && aspect < 1.43)
        }
        #expect(areas.min() ?? 0 > 0.22 && areas.max() ?? 2 <= 1)
        // Large crops of a wide image that would be too wide are drawn again: the mean lies below 0.625.
        #expect((0.45...0.6).contains(areas.reduce(0, +) / 2000))
        for alpha in [0.2, 1, 4] {
            let shares = (0..<4000).map { CounterRandom.beta(alpha, seed: 5, stream: UInt64($0), counter: 0) }
            let mean = shares.reduce(0, +) / 4000
            let variance = shares.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4000
            #expect(abs(mean - 0.5) < 0.02, "\(alpha)")
            #expect(abs(variance - 1 / (4 * (2 * alpha + 1))) < 0.01, "\(alpha) \(variance)")
        }
    }

    @Test("mixing: one draw per batch, a box's share is the area outside it")
    func mixing() {
        var transform = ImageTransform(mean: [0], deviation: [1])
        #expect(transform.mixing(seed: 1, step: 0, height: 8, width: 8) == nil)
        transform.cutmix = 1
        for step in 0..<200 {
            guard let mixing = transform.mixing(seed: 1, step: step, height: 8, width: 10), let box = mixing.box else {
                Issue.record("no box")
                return
            }
            #expect(box[0] >= 0 && box[1] >= 0 && box[0] + box[2] <= 8 && box[1] + box[3] <= 10)
            #expect(abs(mixing.share - (1 - Double(box[2] * box[3]) / 80)) < 1e-12)
        }
        transform.mixup = 0.4
        let kinds = (0..<200).map { transform.mixing(seed: 1, step: $0, height: 8, width: 8)?.box == nil }
        #expect((60...140).contains(kinds.count { $0 }))
    }

    @Test("evaluation takes the centre, without any draw")
    func evaluation() {
        var transform = ImageTransform(mean: [0], deviation: [1], horizontalFlip: true, size: 7, resizedCrop: 0.1)
        transform.centreCrop = 0.875
        let p = transform.evaluation.placement(seed: 1, epoch: 1, index: 4, height: 8, width: 16)
        #expect(p.values == [0.5, 4.5, 7, 7, 0, 1, 1, 1])
        #expect(transform.evaluation.evaluation == transform.evaluation)
    }
}
