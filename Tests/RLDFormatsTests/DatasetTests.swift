import Foundation
import RLDDatasets
import RLDGraph
import TestSupport
import Testing

struct DatasetTests {
    @Test(arguments: [false, true], ["mnist", "fashion-mnist"])
    func aFolderIsReadPlainAndCompressed(compressed: Bool, name: String) throws {
        let folder = try mnistFolder(compressed: compressed)
        let data = try DatasetCatalog.load("\(name):\(folder.path)")
        #expect(data.name == name)
        #expect(data.path == folder.path)
        #expect((data.train.channels, data.train.height, data.train.width) == (1, 2, 3))
        #expect(data.train.pixels == Array(0..<36))
        #expect(data.train.labels == [0, 1, 2, 9, 8, 7])
        #expect(data.test.pixels == Array(100..<118))
        #expect(data.test.labels == [5, 5, 0])
        #expect(data.classNames.count == 10)
        #expect(data.mean.count == 1 && data.deviation.count == 1)
    }

    @Test func suggestedTransforms() throws {
        let folder = try mnistFolder(compressed: false)
        let fashion = try DatasetCatalog.load("fashion-mnist", path: folder.path)
        #expect(fashion.transform == ImageTransform(mean: [0.2860], deviation: [0.3530], cropPadding: 2, horizontalFlip: true))
        #expect(fashion.classNames[9] == "Ankle boot")
        let digits = try DatasetCatalog.load("mnist", path: folder.path)
        #expect(digits.transform == digits.transform.evaluation)
        #expect(digits.classNames[3] == "3")
    }

    @Test func thePlainFileWinsOverTheCompressedOne() throws {
        let folder = try mnistFolder(compressed: true)
        try folder.write(idx([6], [1, 1, 1, 1, 1, 1]), "train-labels-idx1-ubyte")
        #expect(try DatasetCatalog.load("mnist", path: folder.path).train.labels == [1, 1, 1, 1, 1, 1])
    }

    @Test func references() throws {
        #expect(try DatasetCatalog.Reference(parsing: "mnist").path == nil)
        let reference = try DatasetCatalog.Reference(parsing: "mnist:/a:b")
        #expect(reference.name == "mnist")
        #expect(reference.path == "/a:b")
        #expect(reference.description == "mnist:/a:b")
        expectRefusal("data set 'fashion-minst': is unknown; did you mean 'fashion-mnist'?") {
            _ = try DatasetCatalog.load("fashion-minst:/x")
        }
        expectRefusal("has a colon without a path; write mnist:FOLDER") { _ = try DatasetCatalog.load("mnist:") }
        expectRefusal("has no default folder") { _ = try DatasetCatalog.load("mnist") }
    }

    @Test func missingFiles() throws {
        expectRefusal("/nowhere/x: no such folder; fashion-mnist needs train-images-idx3-ubyte, train-labels-idx1-ubyte, ") {
            _ = try DatasetCatalog.load("fashion-mnist:/nowhere/x")
        }
        expectRefusal("apt install dataset-fashion-mnist") { _ = try DatasetCatalog.load("fashion-mnist:/nowhere/x") }
        let folder = try mnistFolder(compressed: true, without: "t10k-labels-idx1-ubyte")
        expectRefusal("\(folder.path): lacks files of mnist: t10k-labels-idx1-ubyte (each plain or with .gz)") {
            _ = try DatasetCatalog.load("mnist", path: folder.path)
        }
    }

    @Test(arguments: [false, true])
    func filesThatDoNotFitTogether(compressed: Bool) throws {
        func refused(_ fragment: String, _ files: [String: [UInt8]], sourceLocation: SourceLocation = #_sourceLocation) throws {
            let folder = try mnistFolder(compressed: compressed, replacing: files)
            expectRefusal(fragment, sourceLocation: sourceLocation) { _ = try DatasetCatalog.load("mnist", path: folder.path) }
            expectRefusal(folder.path, sourceLocation: sourceLocation) { _ = try DatasetCatalog.load("mnist", path: folder.path) }
        }
        try refused("holds 5 labels for the 6 images of", ["train-labels-idx1-ubyte": idx([5], [0, 1, 2, 3, 4])])
        try refused("label 10 at index 2, mnist has classes 0...9", ["train-labels-idx1-ubyte": idx([6], [0, 1, 10, 3, 4, 99])])
        try refused("label 255 at index 0", ["t10k-labels-idx1-ubyte": idx([3], [255, 1, 2])])
        try refused("training images are 2x3, test images 3x2", ["t10k-images-idx3-ubyte": idx([3, 3, 2], Array(0..<18))])
        try refused(
            "holds no images: [0, 2, 3]",
            ["t10k-images-idx3-ubyte": idx([0, 2, 3], []), "t10k-labels-idx1-ubyte": idx([0], [])])
        try refused("expected magic 0x00000803, found 0x00000801", ["train-images-idx3-ubyte": idx([6], Array(0..<6))])
        try refused("expected magic 0x00000801, found 0x00000803", ["train-labels-idx1-ubyte": idx([6, 1, 1], Array(0..<6))])
    }

    @Test("with --skip-broken rows with a label that is none are left out and named")
    func brokenLabelsAreLeftOut() throws {
        let folder = try mnistFolder(compressed: false, replacing: ["train-labels-idx1-ubyte": idx([6], [0, 1, 10, 3, 4, 99])])
        let data = try DatasetCatalog.load("mnist:\(folder.path)", options: DatasetOptions(skipBroken: true))
        #expect(data.train.labels == [0, 1, 3, 4])
        #expect(data.train.pixels == Array(0..<12) + Array(18..<30))
        #expect(
            data.skipped.map(\.problem) == [2, 5].map { "label \($0 == 2 ? 10 : 99) at index \($0), mnist has classes 0...9" })
        expectRefusal("--skip-broken") { _ = try DatasetCatalog.load("mnist:\(folder.path)") }
    }

    @Test func prefixSelectionAndHash() throws {
        let folder = try mnistFolder(compressed: false)
        let data = try DatasetCatalog.load("mnist", path: folder.path)
        let table = data.train
        #expect(table.prefix(2).pixels == Array(0..<12))
        #expect(table.prefix(2).labels == [0, 1])
        #expect(table.prefix(100) == table)
        #expect(table.prefix(0).count == 0)
        #expect(table.selecting([5, 0]).labels == [7, 0])
        #expect(table.selecting([5, 0]).pixels == Array(30..<36) + Array(0..<6))

        // FNV-1a over pixels, extents and class count (int64 each), labels (int32 each), little-endian.
        let words = [6, 1, 2, 3, 10] as [Int64]
        let text = table.pixels + bytes(words) + bytes(table.labels)
        let expected = text.reduce(0xCBF2_9CE4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01B3 }
        #expect(table.contentHash == String(expected, radix: 16))
        var other = table
        other.labels[5] = 6
        #expect(other.contentHash != table.contentHash)
        other = ImageTable(
            channels: table.channels, height: table.width, width: table.height, pixels: table.pixels, labels: table.labels,
            classNames: table.classNames)
        #expect(other.contentHash != table.contentHash)
        #expect(data.contentHash.count == 16)
        #expect(data.contentHash != table.contentHash)
    }

    @Test func splitsAreDisjointCompleteAndRepeatable() throws {
        let table = ImageTable(
            channels: 1, height: 1, width: 1, pixels: (0..<200).map { UInt8($0) }, labels: Array(repeating: 0, count: 200),
            classNames: ["a", "b"])
        let (train, validation) = try table.split(validation: 50, seed: 1)
        #expect(train.count == 150)
        #expect(validation.count == 50)
        #expect(Set(train.pixels).union(validation.pixels).count == 200)
        #expect(validation.pixels == validation.pixels.sorted())
        #expect(try table.split(validation: 50, seed: 1).validation == validation)
        #expect(try table.split(validation: 50, seed: 2).validation != validation)
        // Drawn from the whole table.
        #expect(validation.pixels.first.map { $0 < 30 } == true)
        #expect(validation.pixels.last.map { $0 >= 170 } == true)
        for count in [0, -1, 200, 201] {
            expectRefusal("validation split: \(count) of 200 images") { _ = try table.split(validation: count, seed: 1) }
        }
    }

    static let fashionFolder = "/usr/share/datasets/fashion-mnist"

    @Test(.enabled(if: FileManager.default.fileExists(atPath: fashionFolder), "dataset-fashion-mnist is not installed"))
    func theRealFashionMNIST() throws {
        let data = try DatasetCatalog.load("fashion-mnist")
        #expect(data.path == Self.fashionFolder)
        #expect((data.train.count, data.test.count) == (60_000, 10_000))
        #expect((data.train.height, data.train.width) == (28, 28))
        for label in 0..<10 as Range<Int32> {
            #expect(data.train.labels.count { $0 == label } == 6_000)
            #expect(data.test.labels.count { $0 == label } == 1_000)
        }
        #expect(data.train.labels.prefix(8) == [9, 0, 0, 3, 0, 2, 7, 2])
        #expect(data.test.labels.prefix(8) == [9, 2, 1, 1, 6, 1, 4, 6])
        // The constants of the transform are those of the training images.
        var (sum, squares) = (0, 0)
        for pixel in data.train.pixels {
            sum += Int(pixel)
            squares += Int(pixel) * Int(pixel)
        }
        let count = Double(data.train.pixels.count)
        let mean = Double(sum) / count / 255
        let deviation = (Double(squares) / count / 65025 - mean * mean).squareRoot()
        #expect(abs(mean - Double(data.mean[0])) < 5e-5)
        #expect(abs(deviation - Double(data.deviation[0])) < 5e-5)
    }

    @Test("a mean or deviation that is none in single precision is refused, whatever it is in double")
    func normalisation() throws {
        let folder = try mnistFolder(compressed: false)
        func load(_ mean: Double?, _ deviation: Double?) throws {
            var options = DatasetOptions()
            (options.mean, options.deviation) = (mean.map { [$0] }, deviation.map { [$0] })
            _ = try DatasetCatalog.load("mnist:\(folder.path)", options: options)
        }
        try load(0.5, 0.25)
        expectRefusal("normalization.mean: must be a number for each of 1 channels, found [1e+39]") { try load(1e39, nil) }
        for deviation in [1e-50, 1e-40, 0, -1] {
            expectRefusal("normalization.deviation: must be above 0 and large enough to divide by, found") {
                try load(nil, deviation)
            }
        }
        expectRefusal("normalization.deviation: must be above 0 and large enough to divide by, found 1e-10") {
            try load(1e30, 1e-10)
        }
    }
}
