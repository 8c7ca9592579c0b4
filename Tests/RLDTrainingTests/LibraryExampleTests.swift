import Foundation
import RLD
import TestSupport
import Testing

struct LibraryExampleTests {
    private var sources: URL { URL(fileURLWithPath: #filePath).deletingLastPathComponent() }

    @Test("the library example runs, on tiny images and the host")
    func runs() throws {
        let temporary = TemporaryFolder()
        let data = temporary.path + "/images"
        try writeIDX(bandImages(count: 24, extent: 5, seed: 1), "train", in: data)
        try writeIDX(bandImages(count: 10, extent: 5, seed: 2), "t10k", in: data)
        let output = temporary.path + "/student.safetensors"
        // A batch of 64 images does not fit 24: the recipe's data error is the first thing a user of the example may meet.
        #expect(
            inputErrorText { _ = try distillStudent(data: "mnist:\(data)", device: "reference", epochs: 1, output: output) }
                .contains("give a smaller batch"))
        try writeIDX(bandImages(count: 80, extent: 5, seed: 1), "train", in: data)
        let accuracy = try distillStudent(data: "mnist:\(data)", device: "reference", epochs: 1, output: output)
        #expect((0...1).contains(accuracy))
        let network = try DatasetCatalog.load("mnist:\(data)").network("resnet8")
        #expect(try NetworkState(weights: output, for: network).allFinite)
        #expect(ModelMetadata(try TensorFile(path: output).metadata).model == "resnet8")
    }

    @Test("the README shows the example as it is")
    func readme() throws {
        let code = try String(contentsOf: sources.appending(path: "LibraryExample.swift"), encoding: .utf8)
        let root = sources.deletingLastPathComponent().deletingLastPathComponent()
        let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        #expect(readme.contains("```swift\n\(code)```"))
    }

    /// Writes a table in MNIST's layout.
    private func writeIDX(_ table: ImageTable, _ part: String, in folder: String) throws {
        func header(_ magic: UInt32, _ extents: [Int]) -> [UInt8] {
            ([magic] + extents.map(UInt32.init)).flatMap { withUnsafeBytes(of: $0.bigEndian, Array.init) }
        }
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        let images = header(0x803, [table.count, table.height, table.width]) + table.pixels
        let labels = header(0x801, [table.count]) + table.labels.map { UInt8($0) }
        try Data(images).write(to: URL(fileURLWithPath: "\(folder)/\(part)-images-idx3-ubyte"))
        try Data(labels).write(to: URL(fileURLWithPath: "\(folder)/\(part)-labels-idx1-ubyte"))
    }
}
