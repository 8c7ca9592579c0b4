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

    /// What lies there, training files in the order in which they are stored, and a test part in any case.
    func lists() throws(InputError) -> PictureLists {
        let folder = ImageFolder(path: path)
        var lists = try layout == .labels ? LabelsFile(path: path, options: options).lists() : folder.lists()
        lists.train = lists.train.shuffled()
        if layout == .tinyImageNet || layout == .imageNet {
            guard lists.test != nil else {
                throw InputError(path, "has no val folder", advice: "expected \(path)/train and \(path)/val")
            }
            let names = folder.words(lists.train.classNames)
            lists.train.classNames = names
            lists.validation?.classNames = names
            lists.test?.classNames = names
        }
        guard lists.test == nil else { return lists }
        let train = lists.train
        let count = Int((Double(train.count) * options.testShare).rounded())
        guard count >= 1, count < train.count else {
            throw InputError(path, "has \(train.count) pictures, too few to set \(options.testShare) of them aside for a test")
        }
        (lists.train, lists.test) = (train.selecting(count..<train.count), train.selecting(0..<count))
        return lists
    }

    func load() throws(InputError) -> Dataset {
        let lists = try lists()
        let seen = options.imageSize ?? automaticSize(lists.train)
        // Room for the centred crop of 7/8 by which ImageNet is evaluated.
        let stored = layout == .imageNet ? Int((Double(seen) / 0.875).rounded()) : seen
        let parts = [lists.train, lists.test ?? ImageList(), lists.validation].compactMap { $0 }
        let streaming = options.streams(parts.map { $0.count * 3 * stored * stored })
        var tables: [ImageTable] = []
        var skipped = lists.skipped
        var notes = lists.notes
        let surveys = SurveyStore(options)
        var known: [String] = []
        for part in parts {
            if streaming {
                let read = try part.streamedTable(size: stored, skipBroken: options.skipBroken, surveys: surveys)
                tables.append(read.table)
                skipped += read.broken
                if let file = read.known { known.append(file) }
            } else {
                let read = try part.table(size: stored, skipBroken: options.skipBroken)
                tables.append(read.table)
                skipped += read.broken
            }
        }
        if !known.isEmpty {
            notes.append(
                "pictures that have not changed were not all read again; what was found of them stands in "
                    + known.joined(separator: ", "))
        }
        for ((table, part), name) in zip(zip(tables, parts), ["training", "test", "validation"]) where table.count == 0 {
            let first = skipped.first { error in part.paths.contains(error.subject) }.map { "; the first: \($0)" } ?? ""
            throw InputError(path, "none of the \(part.count) \(name) pictures can be read\(first)")
        }
        var transform = transform
        if transform.mean.isEmpty { (transform.mean, transform.deviation) = tables[0].channelStatistics }
        if layout == .folder || layout == .labels { transform.cropPadding = seen / 8 }
        if stored != seen {
            transform.size = seen
            transform.centreCrop = 0.875
        }
        var dataset = Dataset(name: name, path: path, train: tables[0], test: tables[1], transform: transform)
        if tables.count > 2 { dataset.validation = tables[2] }
        (dataset.skipped, dataset.notes) = (skipped, notes)
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
