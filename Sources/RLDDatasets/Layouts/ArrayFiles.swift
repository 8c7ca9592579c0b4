import Foundation
import RLDFormats
import RLDGraph

/// Images and labels as arrays in one file: `train_images`, `train_labels`, `test_images`, `test_labels`, `val_images`, `val_labels`
/// (or x_train, y_train, ...; or `images` and `labels` alone). Images are [N, H, W], [N, C, H, W] or [N, H, W, C] with 1 or 3 channels, bytes
/// or numbers from 0 to 255, or fractions from 0 to 1. The file is .npz or .safetensors, told apart by what it holds.
struct ArrayFiles {
    let name: String
    let path: String
    let options: DatasetOptions

    private static let parts: [(images: [String], labels: [String])] = [
        (["train_images", "x_train", "images", "x"], ["train_labels", "y_train", "labels", "y"]),
        (["test_images", "x_test"], ["test_labels", "y_test"]),
        (["val_images", "x_val", "validation_images"], ["val_labels", "y_val", "validation_labels"]),
    ]

    func load() throws(InputError) -> Dataset {
        let file = try TensorFile(path: path)
        guard file.format == .npz || file.format == .safetensors else {
            throw InputError(
                path, "is a \(file.format.rawValue)", advice: "give an .npz or .safetensors file of images and labels")
        }
        func find(_ names: [String]) -> String? { names.first { file.entry($0) != nil } }
        var tables: [ImageTable] = []
        var notes: [String] = []
        var skipping = Skipping(options)
        var scale = Scale.unknown
        for (index, part) in Self.parts.enumerated() {
            let names = (find(part.images), find(part.labels))
            guard let images = names.0, let labels = names.1 else {
                if index > 0 {
                    if let unused = names.0 ?? names.1 {
                        let wanted = names.0 == nil ? part.images : part.labels
                        notes.append("\(path): \(unused) is not used, for want of \(Self.alternatives(wanted))")
                    }
                    continue
                }
                throw InputError(
                    path, "holds \(listed(file.entries.map(\.name).sorted()))",
                    advice: "expected train_images and train_labels, or images and labels")
            }
            // Only what is used is read.
            tables.append(try table(try file.stored(images), try file.stored(labels), &skipping, &scale))
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
        func extents(_ table: ImageTable) -> [Int] { [table.channels, table.height, table.width] }
        if let other = tables.first(where: { extents($0) != extents(tables[0]) }) {
            throw InputError(path, "has images of different sizes: \(extents(tables[0])) and \(extents(other))")
        }
        let (mean, deviation) = tables[0].channelStatistics
        var dataset = Dataset(
            name: name, path: path, train: tables[0], test: tables[1], transform: ImageTransform(mean: mean, deviation: deviation)
        )
        // Alone, a validation part is what there is to judge by.
        if tables.count > 2 { dataset.validation = tables[2] }
        (dataset.skipped, dataset.notes) = (skipping.skipped, notes)
        return dataset
    }

    /// "a, b or c".
    private static func alternatives(_ names: [String]) -> String {
        let last = names.last ?? ""
        return names.count < 2 ? last : names.dropLast().joined(separator: ", ") + " or " + last
    }

    private func table(
        _ images: StoredTensor, _ labels: StoredTensor, _ skipping: inout Skipping, _ scale: inout Scale
    ) throws(InputError) -> ImageTable {
        let shape = images.shape
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
        guard labels.count == shape[0] else { throw fail(labels.name, "has \(labels.count) labels for \(shape[0]) images") }
        var pixels = try bytes(images, &scale)
        if channelsLast {
            let stored = pixels
            for n in 0..<shape[0] {
                for i in 0..<c * h * w { pixels[n * c * h * w + i] = stored[n * c * h * w + (i % (h * w)) * c + i / (h * w)] }
            }
        }
        var numbers: [Int32] = []
        var kept: [Int] = []
        for (index, value) in try labels.doubles(source: path).enumerated() {
            if value >= 0, value < 65536, value == value.rounded() {
                numbers.append(Int32(value))
                kept.append(index)
            } else {
                try skipping.leaveOut(fail(labels.name, "label \(value) at index \(index), expected a whole number in 0...65535"))
                numbers.append(0)
            }
        }
        guard !kept.isEmpty else { throw fail(labels.name, "holds no label") }
        let table = ImageTable(
            channels: c, height: h, width: w, pixels: pixels, labels: numbers,
            classNames: (0..<Int((numbers.max() ?? 0) + 1)).map(String.init))
        return kept.count == table.count ? table : table.selecting(kept)
    }

    /// What the numbers of a file's images mean, once its training images have shown it.
    private enum Scale {
        case unknown
        /// From 0 to 255.
        case whole
        /// From 0 to 1.
        case fractions
    }

    /// Bytes as they are; other numbers from 0 to 255, or fractions from 0 to 1, rounded.
    private func bytes(_ images: StoredTensor, _ scale: inout Scale) throws(InputError) -> [UInt8] {
        if images.type == .uint8 { return images.bytes }
        let values = try images.doubles(source: path)
        guard values.allSatisfy({ $0 >= 0 && $0 <= 255 }) else {
            throw InputError("\(path): \(images.name)", "holds values outside 0...255")
        }
        let top = values.max() ?? 0
        let looksFractional = top <= 1 && values.contains { $0 != $0.rounded() }
        if scale == .unknown { scale = looksFractional ? .fractions : .whole }
        // Judged alone, a few test images that hold nothing but 0 and 1 would be taken for almost black ones.
        guard scale == .whole || top <= 1 else {
            throw InputError(
                "\(path): \(images.name)", "holds values up to \(top), the training images are fractions from 0 to 1")
        }
        guard scale == .fractions || !looksFractional else {
            throw InputError(
                "\(path): \(images.name)", "holds fractions from 0 to 1, the training images numbers up to 255")
        }
        return values.map { UInt8(($0 * (scale == .fractions ? 255 : 1)).rounded()) }
    }
}
