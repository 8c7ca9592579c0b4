import Foundation
import RLDDatasets
import RLDGraph
import TestSupport
import Testing

/// Where pictures lie and what says their classes: folders, labels.csv, Tiny-ImageNet's layout.
struct PictureLayoutTests {
    @Test("train/CLASS and test/CLASS; CLASS alone is split; images keep their classes and one order")
    func folders() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "test/"])
        let set = try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        #expect(set.classNames == ["cat", "dog"])
        #expect(set.train.count == 6 && set.test.count == 6)
        #expect(set.inputShape == [3, 12, 12])
        let wanted = try Pictures.expected()
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

        let single = TemporaryFolder()
        try Pictures.write(single, [""])
        let split = try DatasetCatalog.load("folder:\(single.path)", options: DatasetOptions(imageSize: 12, testShare: 0.34))
        #expect(split.train.count == 4 && split.test.count == 2)
        #expect(try DatasetCatalog.load("folder:\(single.path)").inputShape == [3, 64, 64])
    }

    private func distance(_ a: ArraySlice<UInt8>, _ b: [Int]) -> Int { zip(a, b).reduce(0) { $0 + abs(Int($1.0) - $1.1) } }

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
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "val/", "test/"])
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

    @Test("a class may be a link to a folder; one without pictures, and a folder that cannot be a class, is told of")
    func linkedAndEmptyClasses() throws {
        let (folder, store) = (TemporaryFolder(), TemporaryFolder())
        try Pictures.write(folder, ["train/", "test/"])
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
        #expect(
            more.notes == [
                "\(folder.path)/train: what is no .jpg, .jpeg or .png file is left out: 1 .webp",
                "\(folder.path)/train: no .jpg, .jpeg or .png files in emu",
            ])

        // Links within a class are followed, to where they were before as well, once.
        try FileManager.default.moveItem(atPath: folder.file("test/dog"), toPath: store.file("dogs"))
        try FileManager.default.createDirectory(atPath: folder.file("test/dog"), withIntermediateDirectories: true)
        for (name, target) in [("dogs", store.file("dogs")), ("again", folder.file("test/dog"))] {
            try FileManager.default.createSymbolicLink(atPath: folder.file("test/dog/\(name)"), withDestinationPath: target)
        }
        #expect(try load().test.labels == set.test.labels)
    }

    @Test("two folders whose names are the same letters in other bytes do not end the program")
    func equalNames() throws {
        let folder = TemporaryFolder()
        for name in ["\u{E9}", "e\u{301}", "z"] {
            try FileManager.default.createDirectory(
                atPath: "\(folder.path)/train/\(name)", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: Pictures.file("wide.jpg"), toPath: "\(folder.path)/train/\(name)/1.jpg")
        }
        try FileManager.default.createDirectory(atPath: folder.file("val/images"), withIntermediateDirectories: true)
        try folder.write(Array("v0.png\tz\n".utf8), "val/val_annotations.txt")
        expectRefusal("are one class by their letters") { _ = try DatasetCatalog.load("tiny-imagenet:\(folder.path)") }
    }

    @Test("a class whose name is no text is refused, a picture whose name is none is told of, and a folder that cannot be read")
    func unreadableNames() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "test/"])
        func load() throws -> Dataset {
            try DatasetCatalog.load("folder:\(folder.path)", options: DatasetOptions(imageSize: 12))
        }
        func path(_ start: String) -> [CChar] {
            (Array(folder.file(start).utf8) + [0xE9, 0x74, 0xE9, 0]).map { CChar(bitPattern: $0) }
        }
        let descriptor = open(path("train/cat/"), O_WRONLY | O_CREAT, 0o600)
        try #require(descriptor >= 0)
        close(descriptor)
        let set = try load()
        #expect(set.train.count == 6)
        #expect(set.notes == ["\(folder.path)/train: files and folders whose names are not UTF-8 are left out: 1"])
        #expect(mkdir(path("train/"), 0o700) == 0)
        expectRefusal("holds a folder whose name is not UTF-8: '\u{FFFD}t\u{FFFD}'; rename it") { _ = try load() }
        rmdir(path("train/"))
        expectRefusal("cannot be read as a folder: Not a directory") { _ = try FolderContents(Pictures.file("wide.jpg")) }
        guard geteuid() != 0 else { return }  // Who may read everything.
        try FileManager.default.createDirectory(atPath: folder.file("train/dog/more"), withIntermediateDirectories: true)
        chmod(folder.file("train/dog/more"), 0)
        defer { chmod(folder.file("train/dog/more"), 0o700) }
        expectRefusal("train/dog/more: cannot be read as a folder: Permission denied") { _ = try load() }
    }

    @Test("a part of which nothing can be read is named")
    func nothingLeft() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/", "test/"])
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

    @Test("labels.csv names files and classes, with quotes, a header and parts")
    func labels() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, [""])
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
        let folder = TemporaryFolder()
        for (id, name) in [("n01", "wide.jpg"), ("n02", "tall.png")] {
            try FileManager.default.createDirectory(
                atPath: "\(folder.path)/train/\(id)/images", withIntermediateDirectories: true)
            try FileManager.default.copyItem(atPath: Pictures.file(name), toPath: "\(folder.path)/train/\(id)/images/\(name)")
        }
        try FileManager.default.createDirectory(atPath: folder.file("val/images"), withIntermediateDirectories: true)
        try FileManager.default.copyItem(atPath: Pictures.file("small.png"), toPath: folder.file("val/images/v0.png"))
        try folder.write(Array("v0.png\tn02\t0\t0\t5\t5\n".utf8), "val/val_annotations.txt")
        try folder.write(Array("n01\tgoldfish, Carassius auratus\nn02\ttoad\n".utf8), "words.txt")
        let set = try DatasetCatalog.load("tiny-imagenet:\(folder.path)")
        #expect(set.classNames == ["goldfish", "toad"] && set.test.labels == [1] && set.inputShape == [3, 64, 64])
    }

    @Test("what is no class is named by its line, blank lines counted")
    func annotations() throws {
        let folder = TemporaryFolder()
        try Pictures.write(folder, ["train/"])
        try FileManager.default.createDirectory(atPath: folder.file("val/images"), withIntermediateDirectories: true)
        try folder.write(Array("v0.png\tcat\n\nv1.png\tcow\n".utf8), "val/val_annotations.txt")
        expectRefusal("val_annotations.txt:3: names no class of the training images") {
            _ = try DatasetCatalog.load("tiny-imagenet:\(folder.path)")
        }
    }
}
