import Foundation
import RLDGraph
import Yams

/// Files of settings: ours, and the authors'.
extension ConfigurationReader {
    /// Reads a file of settings.
    public mutating func read(file path: String) throws(InputError) {
        let text: String
        do {
            text = try String(contentsOfFile: path, encoding: .utf8)
        } catch {
            let exists = FileManager.default.fileExists(atPath: path)
            throw InputError(path, exists ? "cannot be read as text" : "does not exist", advice: "give a YAML file to --config")
        }
        try read(yaml: text, source: path)
    }

    /// Reads settings from YAML.
    /// - Parameter source: the file's name, for messages.
    public mutating func read(yaml: String, source: String) throws(InputError) {
        beginLayer()
        defer { beginLayer() }
        let node: Node?
        do {
            node = try Yams.compose(yaml: yaml)
        } catch {
            throw InputError(source, "is not valid YAML: \(Self.oneLine("\(error)"))")
        }
        guard let node else { return }
        guard let mapping = node.mapping else {
            throw InputError(
                source, "must hold keys and values (epochs: 5), found a \(node.sequence == nil ? "single value" : "list")")
        }
        let isAuthors = mapping.contains { $0.key.string.map(AuthorsRecipe.groups.contains) ?? false }
        guard isAuthors else { return try read(mapping, prefix: "", source: source) }
        for (key, value) in AuthorsRecipe.defaults.sorted(by: { $0.key < $1.key }) where given[key] == nil {
            try set(key, to: value, source: nil)
        }
        let data = mapping["DATASET"]?.mapping?["TYPE"]?.string
        authorsImageNet = data == "imagenet"
        try readAuthors(mapping, prefix: "", source: source)
    }

    private mutating func readAuthors(_ mapping: Node.Mapping, prefix: String, source: String) throws(InputError) {
        for (keyNode, value) in mapping {
            let place = keyNode.mark.map { "\(source):\($0.line)" } ?? source
            guard let name = keyNode.string else { throw InputError(place, "has a key that is not a word") }
            let key = prefix + name
            guard AuthorsRecipe.owns(key) else {
                throw InputError.unknown("key (\(place))", key, known: AuthorsRecipe.groups.sorted())
            }
            if let group = value.mapping {
                try readAuthors(group, prefix: key + ".", source: source)
            } else if let list = value.sequence {
                try set(key, to: Self.text(list, key, place), source: place)
            } else {
                try set(key, to: value.string ?? "", source: place)
            }
        }
    }

    private mutating func read(_ mapping: Node.Mapping, prefix: String, source: String) throws(InputError) {
        for (keyNode, value) in mapping {
            let place = keyNode.mark.map { "\(source):\($0.line)" } ?? source
            guard let name = keyNode.string else { throw InputError(place, "has a key that is not a word") }
            let key = prefix + Setting.underscored(name)
            if let group = value.mapping {
                let known = Set(Setting.keys.compactMap { $0.contains(".") ? String($0.prefix { $0 != "." }) : nil })
                    .union(Self.namedGroups)
                let isMember = Self.namedGroups.contains(String(prefix.dropLast()))
                guard prefix.isEmpty && known.contains(key) || isMember else {
                    throw Setting.keys.contains(key)
                        ? InputError("\(key) (\(place))", "takes a value, not a group of keys")
                        : InputError.unknown("key (\(place))", key, known: prefix.isEmpty ? known.sorted() : Setting.keys)
                }
                try read(group, prefix: key + ".", source: source)
            } else if let list = value.sequence {
                try set(key, to: Self.text(list, key, place), source: place)
            } else {
                let text = value.string ?? ""
                try set(key, to: value.null != nil && (text == "~" || text == "null") ? "" : text, source: place)
            }
        }
    }

    private static func text(_ list: Node.Sequence, _ key: String, _ place: String) throws(InputError) -> String {
        var items: [String] = []
        for item in list {
            guard let text = item.string else {
                throw InputError("\(key) (\(place))", "must be a list of single values, found a list or keys in it")
            }
            items.append(text)
        }
        return "[" + items.joined(separator: ", ") + "]"
    }

    /// The parser's words quote the line that they are about, however long it is.
    private static func oneLine(_ text: String) -> String {
        let words = text.prefix(400).split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }
        return words.joined(separator: " ") + (text.utf8.count > 400 ? " ..." : "")
    }
}
