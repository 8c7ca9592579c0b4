import Foundation
import RLDFormats
import RLDGraph

/// `labels.csv`: a line per picture with its file, relative to the file's folder, its class, and perhaps its part (train or
/// test, or validation beside test). A first line of column names is known by its words; otherwise the columns are file, class, part.
struct LabelsFile {
    let path: String
    private let options: DatasetOptions

    /// - Parameter path: the file, or a folder that holds labels.csv.
    init(path: String, options: DatasetOptions) {
        self.path = ImageFolder.isFolder(path) ? path + "/labels.csv" : path
        self.options = options
    }

    func lists() throws(InputError) -> PictureLists {
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw InputError(path, FileManager.default.fileExists(atPath: path) ? "cannot be read as text" : "no such file")
        }
        let folder = URL(fileURLWithPath: path).deletingLastPathComponent().path
        var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline).enumerated()
            .map { (number: $0 + 1, cells: Self.cells(String($1))) }.filter { $0.cells != [""] }
        var columns = (file: 0, label: 1, part: 2)
        if let header = lines.first?.cells.map({ $0.lowercased() }) {
            func column(_ names: [String]) -> Int? { header.firstIndex { names.contains($0) } }
            if let file = column(["file", "filename", "file_name", "image", "path", "image_path"]) {
                guard let label = column(["label", "class", "category", "target"]) else {
                    throw InputError("\(path):1", "names a column of files, but none of classes", advice: "call it label")
                }
                columns = (file, label, column(["part", "split", "set", "subset"]) ?? Int.max)
                lines.removeFirst()
            }
        }
        var rows: [(path: String, label: String, part: Part)] = []
        var skipping = Skipping(options)
        for line in lines {
            guard line.cells.count > max(columns.file, columns.label), !line.cells[columns.label].isEmpty else {
                try skipping.leaveOut(
                    InputError("\(path):\(line.number)", "has \(line.cells.count) columns, expected a file and a class"))
                continue
            }
            let part = columns.part < line.cells.count ? line.cells[columns.part].lowercased() : ""
            guard let part = Part(part) else {
                try skipping.leaveOut(
                    InputError("\(path):\(line.number)", "has part \(quoted(part)), expected train, validation or test"))
                continue
            }
            let file = line.cells[columns.file]
            rows.append((file.hasPrefix("/") ? file : "\(folder)/\(file)", line.cells[columns.label], part))
        }
        guard !rows.isEmpty else { throw InputError(path, "names no pictures") }
        let names = Set(rows.map(\.label)).sorted(by: Self.precedes)
        guard names.count >= 2 else { throw InputError(path, "names only one class, at least 2 are needed") }
        let numbers = Dictionary(uniqueKeysWithValues: names.enumerated().map { ($1, $0) })
        func list(_ part: Part) -> ImageList? {
            var list = ImageList(classNames: names)
            for row in rows where row.part == part { list.append(row.path, numbers[row.label] ?? 0) }
            return list.count > 0 ? list : nil
        }
        guard let train = list(.train) else { throw InputError(path, "names no pictures to train on") }
        let (validation, test) = (list(.validation), list(.test))
        // Alone, a validation part is what there is to judge by.
        return PictureLists(
            train: train, validation: test == nil ? nil : validation, test: test ?? validation, skipped: skipping.skipped)
    }

    /// Whole numbers by value, then other names by their letters. Every two names have an order: a set gives them in another one
    /// each time, and the classes of a model must not depend on it.
    private static func precedes(_ a: String, _ b: String) -> Bool {
        let (x, y) = (Int(a), Int(b))
        if let x, let y, x != y { return x < y }
        if (x == nil) != (y == nil) { return x != nil }
        return a.utf8.lexicographicallyPrecedes(b.utf8)
    }

    private enum Part {
        case train, validation, test

        init?(_ text: String) {
            switch text {
            case "", "train", "training": self = .train
            case "val", "valid", "validation": self = .validation
            case "test", "testing": self = .test
            default: return nil
            }
        }
    }

    /// Cells of one line; a cell in double quotes may hold commas, and two double quotes for one.
    static func cells(_ line: String) -> [String] {
        var cells: [String] = []
        var cell = ""
        var quoted = false
        var wasQuoted = false
        var characters = line.makeIterator()
        var next = characters.next()
        while let character = next {
            next = characters.next()
            if quoted {
                if character == "\"" {
                    if next == "\"" {
                        cell.append("\"")
                        next = characters.next()
                    } else {
                        quoted = false
                    }
                } else {
                    cell.append(character)
                }
            } else if character == "\"", cell.allSatisfy(\.isWhitespace) {
                (cell, quoted, wasQuoted) = ("", true, true)
            } else if character == "," {
                cells.append(wasQuoted ? cell : cell.trimmingCharacters(in: .whitespaces))
                (cell, wasQuoted) = ("", false)
            } else {
                cell.append(character)
            }
        }
        cells.append(wasQuoted ? cell : cell.trimmingCharacters(in: .whitespaces))
        return cells
    }
}
