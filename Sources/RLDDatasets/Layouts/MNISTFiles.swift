import Foundation
import RLDGraph

/// Reads a folder in MNIST's layout: four IDX files, each plain or with `.gz`.
struct MNISTFiles {
    let name: String
    let folder: String
    let classNames: [String]
    /// How to get the files, for the error when they are missing.
    let advice: String
    let options: DatasetOptions

    private static let stems = [
        "train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte",
    ]

    func load(transform: ImageTransform) throws(InputError) -> Dataset {
        try checkPresence()
        var skipping = Skipping(options)
        let train = try table(images: Self.stems[0], labels: Self.stems[1], &skipping)
        let test = try table(images: Self.stems[2], labels: Self.stems[3], &skipping)
        guard train.height == test.height, train.width == test.width else {
            throw InputError(
                folder, "training images are \(train.height)x\(train.width), test images \(test.height)x\(test.width)")
        }
        var dataset = Dataset(name: name, path: folder, train: train, test: test, transform: transform)
        dataset.skipped = skipping.skipped
        return dataset
    }

    private func checkPresence() throws(InputError) {
        let missing = Self.stems.filter { path(of: $0) == nil }
        guard !missing.isEmpty else { return }
        let list = missing.joined(separator: ", ") + " (each plain or with .gz)"
        let there = FileManager.default.fileExists(atPath: folder)
        throw InputError(
            folder, there ? "lacks files of \(name): \(list)" : "no such folder; \(name) needs \(list) there", advice: advice)
    }

    /// The plain file if there is one, else the compressed one.
    private func path(of stem: String) -> String? {
        [stem, stem + ".gz"].map { "\(folder)/\($0)" }.first { FileManager.default.fileExists(atPath: $0) }
    }

    private func table(
        images imageStem: String, labels labelStem: String, _ skipping: inout Skipping
    ) throws(InputError) -> ImageTable {
        let imagePath = path(of: imageStem) ?? imageStem
        let labelPath = path(of: labelStem) ?? labelStem
        let images = try IDXFile(path: imagePath, dimensions: 3)
        let labels = try IDXFile(path: labelPath, dimensions: 1)
        guard images.shape.allSatisfy({ $0 > 0 }) else { throw InputError(imagePath, "holds no images: \(images.shape)") }
        guard images.shape[0] == labels.shape[0] else {
            throw InputError(labelPath, "holds \(labels.shape[0]) labels for the \(images.shape[0]) images of \(imagePath)")
        }
        var kept: [Int] = []
        for (index, label) in labels.bytes.enumerated() {
            if Int(label) < classNames.count {
                kept.append(index)
            } else {
                try skipping.leaveOut(
                    InputError(labelPath, "label \(label) at index \(index), \(name) has classes 0...\(classNames.count - 1)"))
            }
        }
        guard !kept.isEmpty else { throw InputError(labelPath, "holds no label of \(name)") }
        let table = ImageTable(
            channels: 1, height: images.shape[1], width: images.shape[2], pixels: images.bytes,
            labels: labels.bytes.map(Int32.init), classNames: classNames)
        return kept.count == table.count ? table : table.selecting(kept)
    }
}
