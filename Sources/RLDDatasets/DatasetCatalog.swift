import Foundation
import RLDGraph

/// The data sets that can be named on the command line and in recipes.
public enum DatasetCatalog {
    /// Every known name.
    public static let names: [String] = entries.map(\.name)

    /// What each name stands for, for help texts.
    public static let descriptions: [(name: String, meaning: String)] = entries.map { ($0.name, $0.meaning) }

    /// A data set's name with an optional path, as the command line takes it: `NAME[:PATH]`. A path alone, known by its slash, is
    /// that of a folder of pictures, of a labels.csv or of a file of arrays.
    public struct Reference: Sendable, Equatable, CustomStringConvertible {
        public let name: String
        /// Nil for the data set's default folder.
        public let path: String?

        /// - Throws: when the name is unknown (the nearest one is named) or the path after the colon is empty.
        public init(parsing text: String) throws(InputError) {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            if parts[0].contains("/") || parts[0].hasPrefix(".") || parts[0].hasPrefix("~") {
                let ending = text.split(separator: ".").last.map { $0.lowercased() } ?? ""
                name = ending == "csv" ? "labels" : ["npz", "safetensors"].contains(ending) ? "arrays" : "folder"
                path = text
                return
            }
            _ = try DatasetCatalog.entry(parts[0])
            guard parts.count == 1 || !parts[1].isEmpty else {
                throw InputError("data set '\(text)'", "has a colon without a path", advice: "write \(parts[0]):FOLDER")
            }
            name = parts[0]
            path = parts.count > 1 ? parts[1] : nil
        }

        public var description: String { path.map { "\(name):\($0)" } ?? name }
    }

    /// Loads what `NAME[:PATH]` says.
    public static func load(_ text: String, options: DatasetOptions = DatasetOptions()) throws(InputError) -> Dataset {
        let reference = try Reference(parsing: text)
        return try load(reference.name, path: reference.path, options: options)
    }

    /// Loads a data set.
    /// - Parameter path: its folder or file, a leading `~` for the home folder (shells leave it alone after a colon); nil for the
    ///   default one.
    /// - Throws: when the name is unknown, the path is needed and missing, or the files are missing, broken or do not fit
    ///   together.
    public static func load(
        _ name: String, path: String?, options: DatasetOptions = DatasetOptions()
    ) throws(InputError) -> Dataset {
        let entry = try entry(name)
        guard let place = path ?? entry.folder else {
            throw InputError("data set '\(name)'", "has no default folder", advice: "write \(name):PATH")
        }
        if let size = options.imageSize, !DatasetOptions.imageSizes.contains(size) {
            throw InputError("image_size", "must be in \(DatasetOptions.imageSizes), found \(size)")
        }
        guard options.testShare > 0, options.testShare < 1 else {
            throw InputError("test_share", "must be more than 0 and less than 1, found \(options.testShare)")
        }
        let expanded = NSString(string: place).expandingTildeInPath
        return try entry.load(name, expanded, options).normalised(mean: options.mean, deviation: options.deviation)
    }

    fileprivate static func entry(_ name: String) throws(InputError) -> Entry {
        guard let entry = entries.first(where: { $0.name == name }) else {
            if ImageFolder.isFolder(name) {
                throw InputError(
                    "data set '\(name)'", "is unknown", advice: "the folder of that name is ./\(name) or folder:\(name)")
            }
            throw InputError.unknown("data set", name, known: names)
        }
        return entry
    }

    enum Kind: Sendable {
        case idx(classNames: [String], advice: String)
        case cifar(CIFARFiles.Kind)
        case pictures(PictureSet.Layout)
        case arrays
    }

    fileprivate struct Entry: Sendable {
        let name: String
        let meaning: String
        /// Where it lies unless told otherwise.
        let folder: String?
        let kind: Kind
        let transform: ImageTransform

        init(_ name: String, _ meaning: String, folder: String? = nil, _ kind: Kind, _ transform: ImageTransform) {
            self.name = name
            self.meaning = meaning
            self.folder = folder
            self.kind = kind
            self.transform = transform
        }

        func load(_ name: String, _ path: String, _ options: DatasetOptions) throws(InputError) -> Dataset {
            switch kind {
            case .idx(let classNames, let advice):
                let files = MNISTFiles(name: name, folder: path, classNames: classNames, advice: advice, options: options)
                return try files.load(transform: transform).seen(at: options.imageSize)
            case .cifar(let kind):
                let files = CIFARFiles(kind: kind, path: path, options: options)
                return try files.load(transform: transform).seen(at: options.imageSize)
            case .pictures(let layout):
                return try PictureSet(name: name, path: path, layout: layout, transform: transform, options: options).load()
            case .arrays:
                return try ArrayFiles(name: name, path: path, options: options).load().seen(at: options.imageSize)
            }
        }
    }

    /// Of ImageNet's training images, by common use.
    private static let imageNet = ImageTransform(
        mean: [0.485, 0.456, 0.406], deviation: [0.229, 0.224, 0.225], horizontalFlip: true, resizedCrop: 0.08)

    private static let entries: [Entry] = [
        Entry(
            "fashion-mnist", "10 kinds of clothes, 28x28 (IDX files)", folder: "/usr/share/datasets/fashion-mnist",
            .idx(
                classNames: [
                    "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
                ], advice: "install it with 'apt install dataset-fashion-mnist', or name its folder: fashion-mnist:FOLDER"),
            // Mean and deviation of the 60000 training images. Clothes stay clothes when mirrored and a little off centre.
            ImageTransform(mean: [0.2860], deviation: [0.3530], cropPadding: 2, horizontalFlip: true)),
        Entry(
            "mnist", "handwritten digits, 28x28 (IDX files)",
            .idx(classNames: (0...9).map(String.init), advice: "name the folder with the four files: mnist:FOLDER"),
            // Mean and deviation of the 60000 training images. A mirrored digit is no digit.
            ImageTransform(mean: [0.1307], deviation: [0.3081])),
        Entry(
            "cifar10", "10 classes, 32x32 (folder or .tar.gz, binary or Python version)", .cifar(.cifar10),
            ImageTransform(
                mean: [0.4914, 0.4822, 0.4465], deviation: [0.2470, 0.2435, 0.2616], cropPadding: 4, horizontalFlip: true)),
        Entry(
            "cifar100", "100 classes, 32x32 (folder or .tar.gz, binary or Python version)", .cifar(.cifar100),
            // As the authors have them.
            ImageTransform(
                mean: [0.5071, 0.4867, 0.4408], deviation: [0.2675, 0.2565, 0.2761], cropPadding: 4, horizontalFlip: true)),
        Entry(
            "tiny-imagenet", "200 classes, 64x64 (train/ID/images, val/ with annotations)", .pictures(.tinyImageNet),
            ImageTransform(
                mean: imageNet.mean, deviation: imageNet.deviation, cropPadding: 8, horizontalFlip: true)),
        Entry("imagenet", "train/ID/*.JPEG and val/ID/*.JPEG, seen at 224x224", .pictures(.imageNet), imageNet),
        Entry(
            "folder", "your pictures: train/CLASS/*.jpg with test/ and val/ or one of them, or CLASS/*.jpg", .pictures(.folder),
            ImageTransform(mean: [], deviation: [], horizontalFlip: true)),
        Entry(
            "labels", "your pictures: labels.csv with a file and a class per line", .pictures(.labels),
            ImageTransform(mean: [], deviation: [], horizontalFlip: true)),
        Entry("arrays", "images and labels in an .npz or .safetensors file", .arrays, ImageTransform(mean: [], deviation: [])),
    ]
}

extension Dataset {
    /// The same with another mean or deviation of its pixels, per channel; nil leaves what is.
    fileprivate func normalised(mean: [Double]?, deviation: [Double]?) throws(InputError) -> Dataset {
        var dataset = self
        for (key, values) in [("normalization.mean", mean), ("normalization.deviation", deviation)] {
            guard let values else { continue }
            guard values.count == train.channels, values.allSatisfy({ Float($0).isFinite }) else {
                throw InputError(key, "must be a number for each of \(train.channels) channels, found \(values)")
            }
        }
        if let mean { dataset.transform.mean = mean.map(Float.init) }
        if let deviation { dataset.transform.deviation = deviation.map(Float.init) }
        // As the numbers that are computed with: what is above 0 as a Double may be 0 as a Float.
        let given = deviation ?? dataset.transform.deviation.map(Double.init)
        for (mean, (deviation, text)) in zip(dataset.transform.mean, zip(dataset.transform.deviation, given)) {
            guard deviation > 0, ((1 + abs(mean)) / deviation).isFinite else {
                throw InputError(
                    "normalization.deviation",
                    "must be above 0 and large enough to divide by, found \(text) with a mean of \(mean)")
            }
        }
        return dataset
    }

    /// The same with images scaled to squares of a size when they are read, unless they are such squares or the size is nil.
    fileprivate func seen(at size: Int?) -> Dataset {
        var dataset = self
        dataset.transform.size = [train.height, train.width] == [size, size] ? nil : size
        return dataset
    }
}

extension DatasetCatalog {
    /// The files of a set made of pictures; nil for other sets.
    static func pictureFiles(_ text: String, options: DatasetOptions) throws(InputError) -> [String]? {
        let reference = try Reference(parsing: text)
        let entry = try entry(reference.name)
        guard case .pictures(let layout) = entry.kind, let path = reference.path ?? entry.folder else { return nil }
        let set = PictureSet(
            name: entry.name, path: NSString(string: path).expandingTildeInPath, layout: layout, transform: entry.transform,
            options: options)
        let lists = try set.lists()
        return [lists.train, lists.validation, lists.test].flatMap { $0?.paths ?? [] }
    }
}
