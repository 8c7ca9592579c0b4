import Foundation
import RLDFormats
import RLDGraph

/// Pictures in folders: `train/CLASS/*` with `test/` and `val/` or one of them beside it, or `CLASS/*` alone, or Tiny-ImageNet's layout.
struct ImageFolder {
    let path: String

    private static let endings: Set<String> = ["jpg", "jpeg", "jpe", "jfif", "png"]
    private static let trainNames = ["train", "training"]
    private static let testNames = ["test", "testing"]
    private static let validationNames = ["val", "valid", "validation"]

    /// Training files, test and validation files where the layout has them, and what a person should know of the choice.
    func lists() throws(InputError) -> PictureLists {
        guard Self.isFolder(path) else {
            throw InputError(
                path, FileManager.default.fileExists(atPath: path) ? "is a file, expected a folder" : "no such folder")
        }
        guard let trainFolder = Self.trainNames.map({ "\(path)/\($0)" }).first(where: Self.isFolder) else {
            let folders = try Self.folders(in: path)
            if !folders.isEmpty, folders.allSatisfy({ (Self.testNames + Self.validationNames).contains($0) }) {
                throw InputError(
                    path, "holds \(listed(folders)) and no train/",
                    advice: "expected train/CLASS/* beside it, or CLASS/* alone, of which a share becomes the test set")
            }
            return try classes(in: path)
        }
        var lists = try classes(in: trainFolder)
        let train = lists.train
        // A folder of pictures without classes (a contest's test set) says nothing about accuracy.
        func isUsable(_ name: String) throws(InputError) -> Bool {
            if isAnnotated(name) { return true }
            return try !Self.folders(in: "\(path)/\(name)").isEmpty
        }
        func part(_ name: String?) throws(InputError) -> ImageList? {
            guard let name else { return nil }
            let folder = "\(path)/\(name)"
            return try isAnnotated(name)
                ? annotated(folder, classes: train.classNames)
                : list(of: folder, classes: train.classNames, notes: &lists.notes)
        }
        let present = (Self.testNames + Self.validationNames).filter { Self.isFolder("\(path)/\($0)") }
        var usable: [String] = []
        for name in present where try isUsable(name) { usable.append(name) }
        var (testName, validationName) = (
            usable.first { Self.testNames.contains($0) }, usable.first { Self.validationNames.contains($0) }
        )
        // Alone, a validation part is what there is to judge by.
        if testName == nil { (testName, validationName) = (validationName, nil) }
        let others = present.filter { ![testName, validationName].contains($0) }
            .map { usable.contains($0) ? "\($0)/ is not used" : "\($0)/ holds no classes and is not used" }.joined(
                separator: ", ")
        (lists.validation, lists.test) = (try part(validationName), try part(testName))
        if let testName, let validationName {
            lists.notes.append("\(path)/\(testName) is the test set, \(path)/\(validationName) the validation part")
        } else if let testName, !Self.testNames.contains(testName) {
            lists.notes.append("\(path)/\(testName) is the test set")
        }
        if !others.isEmpty { lists.notes.append("\(path): \(others)") }
        return lists
    }

    private func isAnnotated(_ name: String) -> Bool {
        FileManager.default.fileExists(atPath: "\(path)/\(name)/val_annotations.txt")
    }

    /// Training pictures, and which classes have none: their folders may hold pictures of another format, or be no classes.
    private func classes(in folder: String) throws(InputError) -> PictureLists {
        var notes: [String] = []
        let train = try list(of: folder, classes: nil, notes: &notes)
        let used = Set(train.labels)
        let empty = train.classNames.indices.filter { !used.contains(Int32($0)) }.map { train.classNames[$0] }
        var lists = PictureLists(train: train)
        lists.notes = notes
        if !empty.isEmpty { lists.notes.append("\(folder): no .jpg, .jpeg or .png files in \(listed(empty))") }
        return lists
    }

    /// Every picture below the folder's own folders, each of which is a class; a note says what else lies there.
    private func list(of folder: String, classes known: [String]?, notes: inout [String]) throws(InputError) -> ImageList {
        let names = try Self.folders(in: folder)
        guard names.count >= 2 || known != nil && !names.isEmpty else {
            throw InputError(
                folder, "holds \(names.count) folders of classes, at least 2 are needed",
                advice: "expected \(folder)/CLASS/*.jpg or *.png")
        }
        // Letters compare by what they are, not by their bytes, and file systems keep bytes.
        var seen: Set<String> = []
        if let twin = names.first(where: { !seen.insert($0).inserted }) {
            throw InputError(
                folder, "holds two folders that are one class by their letters: \(quoted(twin))", advice: "rename one")
        }
        let classes = known ?? names
        var list = ImageList(classNames: classes)
        var others: [String: Int] = [:]
        var unreadable = 0
        for name in names {
            guard let label = classes.firstIndex(of: name) else {
                throw InputError("\(folder)/\(name)", "is a class that the training images do not have")
            }
            let found = try Self.files(below: "\(folder)/\(name)")
            unreadable += found.unreadable
            for file in found.paths {
                let ending = Self.ending(file)
                if Self.endings.contains(ending) { list.append(file, label) } else { others[ending, default: 0] += 1 }
            }
        }
        if !others.isEmpty, list.count > 0 {
            let kinds = others.sorted { ($1.value, $0.key) < ($0.value, $1.key) }
                .map { "\($0.value) \($0.key.isEmpty ? "without an ending" : ".\($0.key)")" }
            notes.append("\(folder): what is no .jpg, .jpeg or .png file is left out: \(listed(kinds))")
        }
        if unreadable > 0 {
            notes.append("\(folder): files and folders whose names are not UTF-8 are left out: \(unreadable)")
        }
        guard list.count > 0 else { throw InputError(folder, "holds no .jpg, .jpeg or .png files in its folders of classes") }
        return list
    }

    /// Tiny-ImageNet's validation part: one folder, and a file with the class of each picture.
    private func annotated(_ folder: String, classes: [String]) throws(InputError) -> ImageList {
        let file = folder + "/val_annotations.txt"
        guard let text = try? String(contentsOfFile: file, encoding: .utf8) else {
            throw InputError(file, "cannot be read as text")
        }
        let numbers = Dictionary(uniqueKeysWithValues: classes.enumerated().map { ($1, $0) })
        var list = ImageList(classNames: classes)
        let lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        for (index, line) in lines.enumerated() where !line.isEmpty {
            let parts = line.split(separator: "\t")
            guard parts.count >= 2, let label = numbers[String(parts[1])] else {
                throw InputError("\(file):\(index + 1)", "names no class of the training images")
            }
            list.append("\(folder)/images/\(parts[0])", label)
        }
        return list
    }

    /// Readable names of Tiny-ImageNet's and ImageNet's classes, from words.txt beside the folders; the ids where it lacks them.
    func words(_ ids: [String]) -> [String] {
        guard let text = try? String(contentsOfFile: path + "/words.txt", encoding: .utf8) else { return ids }
        var words: [String: String] = [:]
        for line in text.split(whereSeparator: \.isNewline) {
            let parts = line.split(separator: "\t", maxSplits: 1)
            if parts.count == 2 { words[String(parts[0])] = String(parts[1].prefix { $0 != "," }) }
        }
        return ids.map { words[$0] ?? $0 }
    }

    static func isFolder(_ path: String) -> Bool {
        var isFolder: ObjCBool = false
        return FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) && isFolder.boolValue
    }

    /// Names of the folders in a folder, sorted by their bytes; hidden ones are left out.
    /// - Throws: for a name that is no text: a class would be missing.
    private static func folders(in path: String) throws(InputError) -> [String] {
        let found = try FolderContents(path)
        if let name = found.unreadable.first(where: { FolderContents.isFolder(path, $0) }) {
            throw InputError(
                path, "holds a folder whose name is not UTF-8: \(quoted(String(decoding: name, as: UTF8.self)))",
                advice: "rename it")
        }
        return found.names.filter { isFolder("\(path)/\($0)") }
    }

    private static func ending(_ name: String) -> String {
        let parts = (name.split(separator: "/").last ?? "").split(separator: ".")
        return parts.count > 1 ? (parts.last ?? "").lowercased() : ""
    }

    /// Every file below a folder, sorted by the bytes of its name, hidden ones left out. Links are followed.
    /// - Returns: the files, and how many files and folders there are whose names are no text.
    private static func files(below path: String) throws(InputError) -> (paths: [String], unreadable: Int) {
        var seen: Set<String> = []
        var (paths, unreadable) = ([] as [String], 0)
        var pending = [(path: path, isLink: true)]
        while let (folder, isLink) = pending.popLast() {
            // A link may lead back to where it lies.
            guard !isLink || seen.insert(URL(fileURLWithPath: folder).resolvingSymlinksInPath().path).inserted else { continue }
            let found = try FolderContents(folder)
            unreadable += found.unreadable.count
            for name in found.names {
                let file = "\(folder)/\(name)"
                if endings.contains(ending(name)) || !isFolder(file) {
                    paths.append(file)
                } else {
                    pending.append((file, (try? FileManager.default.destinationOfSymbolicLink(atPath: file)) != nil))
                }
            }
        }
        return (paths.sorted { $0.utf8.lexicographicallyPrecedes($1.utf8) }, unreadable)
    }
}
