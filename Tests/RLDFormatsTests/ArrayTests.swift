import RLDDatasets
import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// Data sets in files of arrays.
struct ArrayTests {
    @Test("arrays in safetensors: names, layouts and ranges")
    func arrays() throws {
        let folder = TemporaryFolder()
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
        let folder = TemporaryFolder()
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

    @Test("all parts of a file are of one scale, also one whose fractions are all 0 or 1")
    func scales() throws {
        let folder = TemporaryFolder()
        let path = folder.file("set.safetensors")
        func load(_ train: [Double], _ test: [Double]) throws -> Dataset {
            try SafetensorsFile.write(
                [
                    SafetensorsItem("x_train", Tensor(shape: [2, 1, 2], values: train)),
                    SafetensorsItem("y_train", Tensor(shape: [2], values: [0, 1]), as: .int64),
                    SafetensorsItem("x_test", Tensor(shape: [1, 1, 2], values: test)),
                    SafetensorsItem("y_test", Tensor(shape: [1], values: [1]), as: .int64),
                ], to: path)
            return try DatasetCatalog.load("arrays:\(path)")
        }
        let set = try load([0, 0.2, 1, 0.4], [0, 1])
        #expect(set.train.pixels == [0, 51, 255, 102] && set.test.pixels == [0, 255])
        #expect(try load([0, 51, 255, 102], [0, 1]).test.pixels == [0, 1])
        expectRefusal("x_test: holds fractions from 0 to 1, the training images numbers up to 255") {
            _ = try load([0, 51, 255, 102], [0, 0.5])
        }
        expectRefusal("x_test: holds values up to 51.0, the training images are fractions from 0 to 1") {
            _ = try load([0, 0.2, 1, 0.4], [0, 51])
        }
    }

    @Test("image_size is what the network sees unless the images are squares of that size")
    func sizes() throws {
        let folder = TemporaryFolder()
        let path = folder.file("set.safetensors")
        func shape(_ height: Int, _ width: Int) throws -> [Int] {
            try SafetensorsFile.write(
                [
                    SafetensorsItem("images", Tensor(shape: [4, height, width], repeating: 3), as: .uint8),
                    SafetensorsItem("labels", Tensor(shape: [4], values: [0, 1, 0, 1]), as: .int64),
                ], to: path)
            let set = try DatasetCatalog.load("arrays:\(path)", options: DatasetOptions(imageSize: 8, testShare: 0.5))
            #expect((set.transform.size == nil) == (height == 8 && width == 8))
            return set.inputShape
        }
        #expect(try shape(8, 8) == [1, 8, 8] && shape(8, 9) == [1, 8, 8] && shape(9, 9) == [1, 8, 8])
    }

    @Test("of a file that holds something else a few names are said, as they may be printed")
    func names() throws {
        let many = (0..<5000).map { (name: "a\\u009b\($0)", type: "U8", shape: [1], bytes: [7 as UInt8]) }
        let folder = TemporaryFolder()
        try folder.write(safetensors(many), "x.safetensors")
        expectRefusal("holds a\\u009b0, a\\u009b1, a\\u009b10, ") {
            _ = try DatasetCatalog.load("arrays:\(folder.file("x.safetensors"))")
        }
        expectRefusal("and 4992 more; expected train_images") {
            _ = try DatasetCatalog.load("arrays:\(folder.file("x.safetensors"))")
        }
    }

    @Test("parts that do not fit together, and images without labels, are named")
    func parts() throws {
        let folder = TemporaryFolder()
        let path = folder.file("set.safetensors")
        func load(_ more: [SafetensorsItem]) throws -> Dataset {
            let train = [
                SafetensorsItem("x_train", Tensor(shape: [4, 2, 2], repeating: 3), as: .uint8),
                SafetensorsItem("y_train", Tensor(shape: [4], values: [0, 1, 0, 1]), as: .int64),
            ]
            try SafetensorsFile.write(train + more, to: path)
            return try DatasetCatalog.load("arrays:\(path)", options: DatasetOptions(testShare: 0.5))
        }
        let test = SafetensorsItem("x_test", Tensor(shape: [1, 2, 3], repeating: 3), as: .uint8)
        expectRefusal("label 1.5 at index 0, expected a whole number in 0...65535") {
            _ = try load([
                SafetensorsItem("x_test", Tensor(shape: [1, 2, 2], repeating: 3), as: .uint8),
                SafetensorsItem("y_test", Tensor(shape: [1], values: [1.5]), as: .float64),
            ])
        }
        expectRefusal("images of different sizes: [1, 2, 2] and [1, 2, 3]") {
            _ = try load([test, SafetensorsItem("y_test", Tensor(shape: [1], values: [1]), as: .int64)])
        }
        #expect(try load([]).notes.isEmpty)
        #expect(try load([test]).notes == ["\(path): x_test is not used, for want of test_labels or y_test"])
        let labels = SafetensorsItem("val_labels", Tensor(shape: [1], values: [1]), as: .int64)
        #expect(
            try load([labels]).notes == ["\(path): val_labels is not used, for want of val_images, x_val or validation_images"])
    }
}
