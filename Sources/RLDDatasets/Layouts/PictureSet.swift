import Foundation
import RLDGraph

/// A data set made of picture files, decoded at one size, into memory or whenever they are needed.
struct PictureSet {
    enum Layout: Sendable {
        case folder, labels, tinyImageNet, imageNet
    }

    let name: String
    let path: String
    let layout: Layout
    let transform: ImageTransform
    let options: DatasetOptions

    /// Training and test files, in the order in which they are stored.
    func lists() throws(InputError) -> (train: ImageList, test: ImageList, found: PictureLists) {
        let folder = ImageFolder(path: path)
        let found = try layout == .labels ? LabelsFile(path: path, options: options).lists() : folder.lists()
        var (train, test) = (found.train.shuffled(), found.test)
        if layout == .tinyImageNet || layout == .imageNet {
            guard test != nil else {
                throw InputError(path, "has no val folder", advice: "expected \(path)/train and \(path)/val")
            }
            train.classNames = folder.words(train.classNames)
            test?.classNames = train.classNames
        }
        if let test { return (train, test, found) }
        let count = Int((Double(train.count) * options.testShare).rounded())
        guard count >= 1, count < train.count else {
            throw InputError(path, "has \(train.count) pictures, too few to set \(options.testShare) of them aside for a test")
        }
        return (train.selecting(count..<train.count), train.selecting(0..<count), found)
    }

    func load() throws(InputError) -> Dataset {
        let (train, test, found) = try lists()
        let seen = options.imageSize ?? automaticSize(train)
        // Room for the centred crop of 7/8 by which ImageNet is evaluated.
        let stored = layout == .imageNet ? Int((Double(seen) / 0.875).rounded()) : seen
        let streaming = options.streams([train, test].map { $0.count * 3 * stored * stored })
        let trained = try train.table(size: stored, skipBroken: options.skipBroken, streaming: streaming)
        let tested = try test.table(size: stored, skipBroken: options.skipBroken, streaming: streaming)
        guard trained.table.count > 0, tested.table.count > 0 else { throw InputError(path, "has no pictures that can be read") }
        var transform = transform
        if transform.mean.isEmpty { (transform.mean, transform.deviation) = trained.table.channelStatistics }
        if layout == .folder || layout == .labels { transform.cropPadding = seen / 8 }
        if stored != seen {
            transform.size = seen
            transform.centreCrop = 0.875
        }
        var dataset = Dataset(name: name, path: path, train: trained.table, test: tested.table, transform: transform)
        dataset.skipped = found.skipped + trained.broken + tested.broken
        dataset.notes = found.notes
        return dataset
    }

    /// The pictures' own size where the first of them are small squares of one size, otherwise one for small networks.
    private func automaticSize(_ list: ImageList) -> Int {
        switch layout {
        case .imageNet: return 224
        case .tinyImageNet: return 64
        case .folder, .labels:
            let pictures = list.paths.prefix(16).compactMap { try? ImageDecoder.picture(path: $0) }
            guard let side = pictures.first?.width, (16...64).contains(side) else { return 64 }
            return pictures.allSatisfy { $0.width == side && $0.height == side } ? side : 64
        }
    }
}
