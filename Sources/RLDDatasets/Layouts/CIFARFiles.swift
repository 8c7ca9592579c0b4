import Foundation
import RLDFormats
import RLDGraph

/// CIFAR-10 and CIFAR-100 (Krizhevsky 2009): the binary version or the Python version, as a folder, as the folder that holds
/// the published folder, or as the published archive (.tar.gz, .tar).
struct CIFARFiles {
    enum Kind: String {
        case cifar10, cifar100
    }

    let kind: Kind
    let path: String
    let options: DatasetOptions

    private struct Layout {
        let folder: String
        let train: [String]
        let test: String
        let names: String
        let isPickle: Bool
    }

    private var layouts: [Layout] {
        switch kind {
        case .cifar10:
            [
                Layout(
                    folder: "cifar-10-batches-bin", train: (1...5).map { "data_batch_\($0).bin" }, test: "test_batch.bin",
                    names: "batches.meta.txt", isPickle: false),
                Layout(
                    folder: "cifar-10-batches-py", train: (1...5).map { "data_batch_\($0)" }, test: "test_batch",
                    names: "batches.meta",
                    isPickle: true),
            ]
        case .cifar100:
            [
                Layout(
                    folder: "cifar-100-binary", train: ["train.bin"], test: "test.bin", names: "fine_label_names.txt",
                    isPickle: false),
                Layout(folder: "cifar-100-python", train: ["train"], test: "test", names: "meta", isPickle: true),
            ]
        }
    }

    private var classes: Int { kind == .cifar10 ? 10 : 100 }
    private static let imageBytes = 3072

    func load(transform: ImageTransform) throws(InputError) -> Dataset {
        let (layout, files) = try find()
        var names = try classNames(files[layout.names], layout)
        if names.isEmpty { names = (0..<classes).map(String.init) }
        var skipping = Skipping(options)
        func table(_ parts: [String]) throws(InputError) -> ImageTable {
            var rows = Rows()
            for part in parts {
                do throws(InputError) {
                    guard let bytes = files[part] else { throw InputError(path, "lacks \(part)") }
                    let read = try layout.isPickle ? readPickle(bytes, part) : readRows(bytes, part)
                    for error in read.damaged { try skipping.leaveOut(error) }
                    rows.pixels += read.pixels
                    rows.labels += read.labels
                } catch {
                    // A whole file.
                    try skipping.leaveOut(error)
                }
            }
            guard !rows.labels.isEmpty else {
                throw skipping.skipped.last ?? InputError(path, "holds no images in \(parts.joined(separator: ", "))")
            }
            return ImageTable(channels: 3, height: 32, width: 32, pixels: rows.pixels, labels: rows.labels, classNames: names)
        }
        var dataset = Dataset(
            name: kind.rawValue, path: path, train: try table(layout.train), test: try table([layout.test]), transform: transform)
        dataset.skipped = skipping.skipped
        return dataset
    }

    /// What a file holds.
    private struct Rows {
        var pixels: [UInt8] = []
        var labels: [Int32] = []
        /// Rows whose label is none.
        var damaged: [InputError] = []
    }

    private func find() throws(InputError) -> (Layout, [String: [UInt8]]) {
        func wanted(_ layout: Layout) -> Set<String> { Set(layout.train + [layout.test, layout.names]) }
        if ImageFolder.isFolder(path) {
            for layout in layouts {
                for folder in [path, "\(path)/\(layout.folder)"]
                where FileManager.default.fileExists(atPath: "\(folder)/\(layout.test)") {
                    var files: [String: [UInt8]] = [:]
                    for name in wanted(layout) where FileManager.default.fileExists(atPath: "\(folder)/\(name)") {
                        let reader = try ByteReader(path: "\(folder)/\(name)")
                        files[name] = try reader.read(min(reader.largestSize, TarArchive.maximumBytes))
                    }
                    return (layout, files)
                }
            }
        } else if FileManager.default.fileExists(atPath: path) {
            let files = try TarArchive.files(path, wanted: layouts.reduce(into: []) { $0.formUnion(wanted($1)) })
            if let layout = layouts.first(where: { files[$0.test] != nil }) { return (layout, files) }
        } else {
            throw InputError(path, "no such file or folder", advice: "name the folder or the .tar.gz of \(kind.rawValue)")
        }
        throw InputError(
            path,
            "holds no \(kind.rawValue): expected \(layouts.map { "\($0.train[0]) and \($0.test)" }.joined(separator: ", or "))",
            advice: "name the folder or the .tar.gz as published")
    }

    /// Rows of one label (CIFAR-100: coarse, then fine) and 3072 pixels, channel by channel.
    private func readRows(_ bytes: [UInt8], _ name: String) throws(InputError) -> Rows {
        let labelBytes = kind == .cifar10 ? 1 : 2
        let row = labelBytes + Self.imageBytes
        guard !bytes.isEmpty, bytes.count % row == 0 else {
            throw InputError("\(path): \(name)", "has \(bytes.count) bytes, no multiple of \(row)", advice: "is it truncated?")
        }
        var rows = Rows()
        for start in stride(from: 0, to: bytes.count, by: row) {
            let pixels = bytes[(start + labelBytes)..<(start + row)]
            append(pixels, label: Int(bytes[start + labelBytes - 1]), at: start / row, of: name, to: &rows)
        }
        return rows
    }

    private func readPickle(_ bytes: [UInt8], _ name: String) throws(InputError) -> Rows {
        let values = try PickledDictionary(bytes, named: "\(path): \(name)")
        let key = kind == .cifar10 ? "labels" : "fine_labels"
        guard let (shape, data) = values.array("data"), shape.count == 2, shape[1] == Self.imageBytes else {
            throw InputError("\(path): \(name)", "holds no array 'data' of N x \(Self.imageBytes) bytes")
        }
        guard let labels = values.integers(key), labels.count == shape[0] else {
            throw InputError("\(path): \(name)", "holds no list '\(key)' of \(shape[0]) labels")
        }
        var rows = Rows()
        for (index, label) in labels.enumerated() {
            guard let label else {
                rows.damaged.append(
                    InputError(
                        "\(path): \(name)", "the label at index \(index) is no plain whole number",
                        advice: "write plain numbers into '\(key)' (numpy: labels.tolist())"))
                continue
            }
            let pixels = data[index * Self.imageBytes..<(index + 1) * Self.imageBytes]
            append(pixels, label: label, at: index, of: name, to: &rows)
        }
        return rows
    }

    private func append(_ pixels: ArraySlice<UInt8>, label: Int, at index: Int, of name: String, to rows: inout Rows) {
        guard (0..<classes).contains(label) else {
            rows.damaged.append(
                InputError(
                    "\(path): \(name)", "label \(label) at index \(index), \(kind.rawValue) has classes 0...\(classes - 1)"))
            return
        }
        rows.pixels += pixels
        rows.labels.append(Int32(label))
    }

    private func classNames(_ bytes: [UInt8]?, _ layout: Layout) throws(InputError) -> [String] {
        guard let bytes else { return [] }
        let names: [String]
        if layout.isPickle {
            let values = try PickledDictionary(bytes, named: "\(path): \(layout.names)")
            names = values.texts(kind == .cifar10 ? "label_names" : "fine_label_names") ?? []
        } else {
            names = String(decoding: bytes, as: UTF8.self).split(whereSeparator: \.isNewline).map(String.init)
        }
        guard names.isEmpty || names.count == classes else {
            throw InputError("\(path): \(layout.names)", "names \(names.count) classes, expected \(classes)")
        }
        return names
    }
}
