import CZlib
import Foundation
import RLDDatasets
import RLDGraph
import TestSupport
import Testing

/// Sets made of picture files, which Pillow wrote (Tests/Goldens/datasets).
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
        #expect(set.classNames == ["9", "10", "two, or more"])
        // One order whatever the order in which a set gives them: numbers by value, then by their letters, before other names.
        let wanted = ["1", "01", "2", "9", "10", "100", "0x", "1a", "2b", "9c", "a"]
        let rows = wanted.shuffled().map { "cat/wide.jpg,\($0)\n" }.joined() + "cat/wide.jpg,a,test\n"
        try folder.write(Array(rows.utf8), "labels.csv")
        #expect(
            try DatasetCatalog.load("labels:\(folder.path)", options: DatasetOptions(imageSize: 12)).classNames
                == ["01"] + wanted.filter { $0 != "01" })
        try folder.write(Array("cat/wide.jpg\n".utf8), "labels.csv")
        do {
            _ = try DatasetCatalog.load("labels:\(folder.path)")
            Issue.record("nothing was said")
        } catch { #expect("\(error)".contains("labels.csv:1: has 1 columns")) }
        try folder.write(Array("file,species\ncat/wide.jpg,cat\n".utf8), "labels.csv")
        expectRefusal("labels.csv:1: names a column of files, but none of classes; call it label") {
            _ = try DatasetCatalog.load("labels:\(folder.path)")
        }
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

    @Test("a class may be a link to a folder; one without pictures, and a folder that cannot be a class, is told of")
    func linkedAndEmptyClasses() throws {
        let (folder, store) = (try TemporaryFolder(), try TemporaryFolder())
        try pictures(folder, ["train/", "test/"])
        try FileManager.default.moveItem(atPath: folder.file("train/cat"), toPath: store.file("cats"))
        try FileManager.default.createSymbolicLink(atPath: folder.file("train/cat"), withDestinationPath: store.file("cats"))
        func load() throws -> Dataset {
            try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        }
        let set = try load()
        #expect(set.train.labels.count { $0 == 0 } == 3 && set.train.count == 6 && set.notes.isEmpty)
        try FileManager.default.createDirectory(atPath: folder.file("train/emu"), withIntermediateDirectories: true)
        try folder.write([1], "train/emu/1.webp")
        let more = try load()
        #expect(more.classNames == ["cat", "dog", "emu"] && more.train.count == 6)
        #expect(more.notes == ["\(folder.path)/train: no .jpg, .jpeg or .png files in emu"])
    }

    @Test("two folders whose names are the same letters in other bytes do not end the program")
    func equalNames() throws {
        let folder = try TemporaryFolder()
        for name in ["\u{E9}", "e\u{301}", "z"] {
            try FileManager.default.createDirectory(
                atPath: "\(folder.path)/train/\(name)", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: file("wide.jpg"), toPath: "\(folder.path)/train/\(name)/1.jpg")
        }
        try FileManager.default.createDirectory(atPath: folder.file("val/images"), withIntermediateDirectories: true)
        try folder.write(Array("v0.png\tz\n".utf8), "val/val_annotations.txt")
        expectRefusal("are one class by their letters") { _ = try DatasetCatalog.load("tiny-imagenet:\(folder.path)") }
    }

    @Test("what is no class is named by its line, blank lines counted")
    func annotations() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/"])
        try FileManager.default.createDirectory(atPath: folder.file("val/images"), withIntermediateDirectories: true)
        try folder.write(Array("v0.png\tcat\n\nv1.png\tcow\n".utf8), "val/val_annotations.txt")
        expectRefusal("val_annotations.txt:3: names no class of the training images") {
            _ = try DatasetCatalog.load("tiny-imagenet:\(folder.path)")
        }
    }

    @Test("a picture whose header promises more than is decoded is refused by its header")
    func enormous() throws {
        var bytes = try contents(of: file("tall.png"))
        // The header's checksum covers its name and its thirteen bytes.
        func png(_ width: Int, _ height: Int) -> [UInt8] {
            bytes.replaceSubrange(16..<24, with: [width, height].flatMap { little($0, 4).reversed() })
            let sum = Int(crc32(0, Array(bytes[12..<29]), 17))
            bytes.replaceSubrange(29..<33, with: little(sum, 4).reversed())
            return bytes
        }
        expectRefusal("is 32768x32768 pixels") { _ = try ImageDecoder.picture(png(32768, 32768), named: "x.png") }
        expectRefusal("is 40000x1 pixels") { _ = try ImageDecoder.picture(png(40000, 1), named: "x.png") }
    }

    @Test("a sheet that cannot be written leaves what was there and says why")
    func contactSheet() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "test/"])
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        expectRefusal("missing/sheet.png: cannot be written: No such file or directory") {
            try set.writeContactSheet(folder.file("missing/sheet.png"))
        }
        try folder.write([1, 2], "old.png")
        let old = try SheetReader(folder.file("old.png"))
        try set.writeContactSheet(folder.file("old.png"))
        #expect(old.bytes() == [1, 2])
    }

    /// Keeps a file open while another takes its place.
    private final class SheetReader {
        private let handle: FileHandle
        init(_ path: String) throws { handle = try FileHandle(forReadingFrom: URL(fileURLWithPath: path)) }
        func bytes() -> [UInt8] { Array(handle.readDataToEndOfFile()) }
    }

    @Test("the first so many of a stream that has no more is the stream itself")
    func prefixOfAll() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "test/"])
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12, streaming: .on))
        #expect(set.train.prefix(6) == set.train && set.train.prefix(100).contentHash == set.train.contentHash)
        #expect(set.train.prefix(5) != set.train)
    }

    @Test("a part of which nothing can be read is named")
    func nothingLeft() throws {
        let folder = try TemporaryFolder()
        try pictures(folder, ["train/", "test/"])
        for name in ["cat/wide.jpg", "cat/tall.png", "cat/grey.jpg", "dog/alpha.png", "dog/small.png", "dog/palette.png"] {
            try folder.write([1], "test/" + name)
        }
        for streaming in [Streaming.on, .off] {
            expectRefusal("none of the 6 test pictures can be read; the first: ") {
                _ = try DatasetCatalog.load(
                    "folder:\(folder.path)", options: DatasetOptions(imageSize: 12, skipBroken: true, streaming: streaming))
            }
        }
    }
}
