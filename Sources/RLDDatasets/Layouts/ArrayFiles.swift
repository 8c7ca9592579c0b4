import Foundation
import RLDFormats
import RLDGraph

/// Images and labels as arrays in one file: `train_images`, `train_labels`, `test_images`, `test_labels` (or x_train, y_train,
/// x_test, y_test; or `images` and `labels` alone). Images are [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels, bytes
/// or numbers from 0 to 255, or fractions from 0 to 1.
struct ArrayFiles {
    let name: String
    let path: String
    let options: DatasetOptions

    private static let parts: [(images: [String], labels: [String])] = [
        (["train_images", "x_train", "images", "x"], ["train_labels", "y_train", "labels", "y"]),
        (["test_images", "x_test", "val_images", "x_val"], ["test_labels", "y_test", "val_labels", "y_val"]),
    ]

    func load() throws(InputError) -> Dataset {
        let arrays = try read()
        func find(_ names: [String]) -> (String, Tensor)? { names.lazy.compactMap { n in arrays[n].map { (n, $0) } }.first }
        var tables: [ImageTable] = []
        for (index, part) in Self.parts.enumerated() {
            guard let images = find(part.images), let labels = find(part.labels) else {
                if index > 0 { continue }
                throw InputError(
                    path, "holds \(arrays.keys.sorted().joined(separator: ", "))",
                    advice: "expected train_images and train_labels, or images and labels")
            }
            tables.append(try table(images, labels))
        }
        let classes = tables.map(\.classes).max() ?? 0
        guard classes >= 2 else { throw InputError(path, "has labels of \(classes) class, at least 2 are needed") }
        for i in tables.indices { tables[i].classNames = (0..<classes).map(String.init) }
        if tables.count == 1 {
            let order = CounterRandom.permutation(of: tables[0].count, seed: 0, stream: 0xF11E_0000)
            let count = Int((Double(order.count) * options.testShare).rounded())
            guard count >= 1, count < order.count else {
                throw InputError(path, "has too few images to set some aside for a test")
            }
            tables = [tables[0].selecting(Array(order[count...])), tables[0].selecting(Array(order[..<count]))]
        }
        guard [tables[0].channels, tables[0].height, tables[0].width] == [tables[1].channels, tables[1].height, tables[1].width]
        else {
            throw InputError(path, "has test images of another size than the training images")
        }
        let (mean, deviation) = tables[0].channelStatistics
        var transform = ImageTransform(mean: mean, deviation: deviation)
        if let size = options.imageSize, size != tables[0].height { transform.size = size }
        return Dataset(name: name, path: path, train: tables[0], test: tables[1], transform: transform)
    }

    private func read() throws(InputError) -> [String: Tensor] {
        guard path.hasSuffix(".safetensors") else {
            throw InputError(path, "is not a kind of array file that can be read", advice: "give a .safetensors file")
        }
        let file = try SafetensorsFile(path: path)
        var arrays: [String: Tensor] = [:]
        for name in file.names { arrays[name] = try file.tensor(name) }
        return arrays
    }

    private func table(_ images: (name: String, tensor: Tensor), _ labels: (name: String, tensor: Tensor)) throws(InputError)
        -> ImageTable
    {
        let shape = images.tensor.shape
        func fail(_ name: String, _ problem: String) -> InputError { InputError("\(path): \(name)", problem) }
        let channelsLast = shape.count == 4 && [1, 3].contains(shape[3]) && ![1, 3].contains(shape[1])
        let (c, h, w): (Int, Int, Int) =
            switch shape.count {
            case 3: (1, shape[1], shape[2])
            case 4: channelsLast ? (shape[3], shape[1], shape[2]) : (shape[1], shape[2], shape[3])
            default: (0, 0, 0)
            }
        guard [1, 3].contains(c), h > 0, w > 0, shape[0] > 0 else {
            throw fail(images.name, "has shape \(shape), expected [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels")
        }
        guard labels.tensor.count == shape[0] else {
            throw fail(labels.name, "has \(labels.tensor.count) labels for \(shape[0]) images")
        }
        let values = images.tensor.values
        let top = values.max() ?? 0
        guard (values.min() ?? 0) >= 0, top <= 255 else { throw fail(images.name, "holds values outside 0...255") }
        let scale = top <= 1 && values.contains { $0 != $0.rounded() } ? 255.0 : 1
        var pixels = [UInt8](repeating: 0, count: values.count)
        for n in 0..<shape[0] {
            for i in 0..<c * h * w {
                let source = channelsLast ? (i % (h * w)) * c + i / (h * w) : i
                pixels[n * c * h * w + i] = UInt8((values[n * c * h * w + source] * scale).rounded())
            }
        }
        var numbers: [Int32] = []
        for (index, value) in labels.tensor.values.enumerated() {
            guard value >= 0, value < 65536, value == value.rounded() else {
                throw fail(labels.name, "label \(value) at index \(index)")
            }
            numbers.append(Int32(value))
        }
        return ImageTable(
            channels: c, height: h, width: w, pixels: pixels, labels: numbers,
            classNames: (0..<Int((numbers.max() ?? 0) + 1)).map(String.init))
    }
}
