import RLDGraph

extension TensorFile {
    /// The entries of one state dict, by the names that a network knows them by.
    public struct StateDict: Sendable {
        /// In the order of the file.
        public let names: [String]
        /// Where they are in the file's `entries`.
        let indices: [Int]
        /// What is to be said of the choice among several; nil where there was none.
        public internal(set) var note: String?

        /// The shape of a tensor of the dict, in the file that it is from.
        public func shape(_ name: String, in file: TensorFile) -> [Int]? {
            zip(names, indices).first { $0.0 == name }.map { file.entries[$0.1].shape }
        }
    }

    /// Where weights usually hang in a checkpoint, the most likely first.
    private static let usualKeys = ["model", "state_dict", "model_state_dict", "net", "network", "student"]

    /// Finds the state dict of a file. Names lose what wrappers put before all of them: `module.` (DataParallel) and `_orig_mod.`
    /// (compiled models).
    /// - Parameter key: keys of nested dictionaries, joined with dots, and the beginning of names in the last one
    ///   ("model.student"); nil takes `model`, `state_dict` or the only one there is.
    /// - Throws: when there is none, or several that could be meant.
    public func stateDict(key: String? = nil) throws(InputError) -> StateDict {
        try requireReadable()
        guard !entries.isEmpty else { throw InputError(path, "holds no tensors") }
        if let key { return try stateDict(named: key) }
        if let weights = checkpointWeights { return weights }
        var groups: [[String]: [Int]] = [:]
        for (index, entry) in entries.enumerated() { groups[entry.group, default: []].append(index) }
        if let usual = Self.usualKeys.first(where: { groups[[$0]] != nil }), let indices = groups[[usual]] {
            var dict = unwrapped(indices)
            let names = Set(dict.names)
            let others = groups.filter { $0.key != [usual] && Set(unwrapped($0.value).names) == names }
                .map { quoted($0.key.joined(separator: ".")) }.sorted()
            if !others.isEmpty {
                dict.note =
                    "taken from \(quoted(usual)); the file holds other weights of these names in \(listed(others)) (--key)"
            }
            return dict
        }
        if let indices = groups[[]] ?? (groups.count == 1 ? groups.values.first : nil) { return unwrapped(indices) }
        let found = groups.keys.map { $0.joined(separator: ".") }.sorted()
        throw InputError(path, "holds several groups of tensors: \(listed(found))", advice: "choose one with --key")
    }

    /// The weights of one of our own checkpoints, in which every name has its part before it (`weights/`, `momentum/`): those that the
    /// run evaluates, their moving average where it has one.
    private var checkpointWeights: StateDict? {
        guard entries.allSatisfy({ $0.name.contains("/") }) else { return nil }
        for part in ["average/", "weights/"] {
            let indices = entries.indices.filter { entries[$0].name.hasPrefix(part) }
            guard !indices.isEmpty else { continue }
            return StateDict(names: indices.map { String(entries[$0].name.dropFirst(part.count)) }, indices: indices)
        }
        return nil
    }

    private func unwrapped(_ indices: [Int]) -> StateDict {
        StateDict(names: Self.unwrapped(indices.map { entries[$0].ownName }), indices: indices)
    }

    /// Wrappers around wrappers; a name of nothing else is no name.
    private static let maximumWrappers = 8

    private static func unwrapped(_ names: [String]) -> [String] {
        var names = names
        for _ in 0..<maximumWrappers {
            let prefix = ["module.", "_orig_mod."].first { prefix in names.allSatisfy { $0.hasPrefix(prefix) } }
            guard let prefix, !names.isEmpty else { break }
            names = names.map { String($0.dropFirst(prefix.count)) }
        }
        return names
    }

    private func stateDict(named key: String) throws(InputError) -> StateDict {
        // Wrappers may sit at any level: names are compared without them.
        var groups: [[String]: [Int]] = [:]
        for (index, entry) in entries.enumerated() { groups[entry.group, default: []].append(index) }
        var names: [(index: Int, name: String)] = []
        for (group, indices) in groups {
            let prefix = group.isEmpty ? "" : group.joined(separator: ".") + "."
            for (index, name) in zip(indices, unwrapped(indices).names) { names.append((index, prefix + name)) }
        }
        names.sort { $0.index < $1.index }
        let chosen = names.filter { $0.name.hasPrefix(key + ".") }
        guard !chosen.isEmpty else {
            let starts = Set(names.flatMap { Self.prefixes(of: $0.name) }).sorted()
            let near = suggestion(for: key, among: starts)
            throw InputError(
                path, "has no tensors under the key \(quoted(key))",
                advice: starts.isEmpty
                    ? "its names have no parts: leave --key out" : near.isEmpty ? "it holds \(listed(starts))" : near)
        }
        return StateDict(
            names: Self.unwrapped(chosen.map { String($0.name.dropFirst(key.count + 1)) }), indices: chosen.map(\.index))
    }

    private static func prefixes(of name: String) -> [String] {
        let parts = name.split(separator: ".").prefix(4)
        return (1..<max(parts.count, 1)).map { parts.prefix($0).joined(separator: ".") }
    }
}
