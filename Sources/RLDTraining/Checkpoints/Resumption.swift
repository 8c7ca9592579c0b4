import Foundation
import RLDExecution
import RLDFormats
import RLDGraph
import RLDMethods

/// A run that goes on: its newest whole checkpoint, and what the run was configured with.
public struct Resumption: Sendable {
    public let checkpoint: Checkpoint
    /// The run's effective configuration.
    public let configuration: TrainingConfiguration
    /// The best weights so far; nil before the first best epoch, and where they are lost.
    let best: NetworkState?
    /// Why their checkpoint cannot be read.
    let bestError: InputError?
    let broken: [InputError]
    /// Keys that may differ from the run's.
    public var allowed: Set<String> = []

    /// What the run's device was tuned to, for `makeExecutor`; nil where it does not say.
    public var tuning: ChosenTuning? {
        checkpoint.record.tuning.map { ChosenTuning($0, source: "as the run began") }
    }

    /// Settings that change nothing about the numbers that a run gives.
    static let free: Set<String> = ["checkpoint.every", "checkpoint.keep", "streaming"]

    /// Settings that stand, where they are not given, for what suits the data, and say in a run what that was.
    static let suiting: Set<String> = [
        "validation", "augmentation.crop_padding", "augmentation.flip", "augmentation.resized_crop",
    ]

    init(_ found: CheckpointFolder.Found) throws(InputError) {
        checkpoint = found.checkpoint
        best = found.best
        bestError = found.bestError
        broken = found.broken
        configuration = try Self.configuration(of: checkpoint)
        try checkpoint.record.validate(terms: configuration.objective.termNames.count, source: checkpoint.path)
    }

    private static func configuration(of checkpoint: Checkpoint) throws(InputError) -> TrainingConfiguration {
        do throws(InputError) {
            var reader = ConfigurationReader()
            try reader.read(yaml: checkpoint.record.configuration, source: checkpoint.path)
            return try reader.finish().configuration
        } catch {
            // A key alone would be looked for on the command line.
            guard !error.subject.hasPrefix(checkpoint.path) else { throw error }
            throw InputError(checkpoint.path, "has a configuration that cannot be used: \(error)")
        }
    }

    /// The configuration to go on with: the run's, with what was asked for where that is allowed.
    /// - Parameters:
    ///   - given: the run's configuration with what was asked for, and the keys that were.
    ///   - names: keys that may change (`--allow-change`).
    /// - Throws: `InputError` that names every other key whose value differs from the run's, and unknown names.
    public mutating func merge(
        _ given: TrainingConfiguration, keys: Set<String>, allowing names: [String]
    ) throws(InputError) -> TrainingConfiguration {
        for name in names {
            let key = ConfigurationReader.fullKey(Setting.underscored(name))
            let group = key.split(separator: ".").first.map(String.init) ?? ""
            guard Setting.keys.contains(key) || ConfigurationReader.namedGroups.contains(group) else {
                throw InputError.unknown("--allow-change", name, known: Setting.keys)
            }
            allowed.insert(key)
        }
        let (ours, wanted) = (configuration.values, given.values)
        var keys = keys
        // The preset stands for the values that it sets.
        for preset in keys where preset.hasSuffix(".lskd") {
            keys.formUnion(wanted.keys.filter { $0.hasPrefix(preset.dropLast(4)) })
            keys.remove(preset)
        }
        let changed = keys.filter { wanted[$0] != ours[$0] && !(wanted[$0] == nil && Self.suiting.contains($0)) }.sorted()
        let refused = changed.filter { !isAllowed($0) && !Self.free.contains($0) }
        guard refused.isEmpty else {
            let list = refused.map { "\($0) is \(ours[$0] ?? "not set") in the run and \(wanted[$0] ?? "not set") now" }
            throw InputError(
                "--resume", list.joined(separator: "; "),
                advice: "leave it out, or give " + refused.map { "--allow-change \($0)" }.joined(separator: " "))
        }
        var result = configuration
        var reader = ConfigurationReader(configuration)
        if changed.contains("method.id") {
            result.method = given.method
            reader = ConfigurationReader(result)
        }
        for key in changed where key != "method.id" {
            try reader.set(key, to: Setting.unquoted(wanted[key] ?? ""), source: "--resume")
        }
        result = try reader.finish().configuration
        return result
    }

    /// What a configuration to go on with has else than the run's: each key with its value and the one before.
    func changes(in wanted: TrainingConfiguration) -> [String] {
        let (ours, theirs) = (configuration.values, wanted.values)
        return Set(ours.keys).union(theirs.keys).sorted().compactMap { key in
            // What a trainer fills in.
            let isFilled = ours[key] == nil && (Self.suiting.contains(key) || key.hasSuffix(".model"))
            guard ours[key] != theirs[key], !isFilled, !Self.free.contains(key) else { return nil }
            return "\(key) \(theirs[key] ?? "not set") (\(ours[key] ?? "not set") before)"
        }
    }

    /// Whether a key may change: it was named, or the group that it is in (`terms.kd`, `terms`).
    private func isAllowed(_ key: String) -> Bool { allowed.contains { key == $0 || key.hasPrefix($0 + ".") } }

    /// Whether the run may go on with another teacher than it began with.
    var allowsOtherTeacher: Bool {
        !allowed.isDisjoint(with: ["teacher.weights", "teacher.model", "method.id"])
            || allowed.contains { $0.hasPrefix("teachers") || $0.hasPrefix("terms") }
    }

    /// Throws, naming the checkpoint, when it holds the weights or the optimiser's memory of another network.
    func check(_ network: Network) throws(InputError) {
        let (state, path) = (checkpoint.state, checkpoint.path)
        try state.weights.validate(for: network, source: path)
        do throws(InputError) {
            try state.checkSlots(of: network)
        } catch {
            throw InputError(path, "\(error.subject): \(error.problem)", advice: error.advice)
        }
    }

    /// Throws when data or teacher are not those of the run and may not differ.
    func check(dataHash: String, teacherHash: String) throws(InputError) {
        if dataHash != checkpoint.record.dataHash, !allowed.contains("data") {
            throw InputError(
                "data", "has changed since the run began (hash \(printable(checkpoint.record.dataHash)), now \(dataHash))",
                advice: "give --allow-change data to go on with other images")
        }
        if teacherHash != checkpoint.record.teacherHash, !allowsOtherTeacher {
            throw InputError(
                "teacher",
                "is another than the run began with (hash \(printable(checkpoint.record.teacherHash)), now \(teacherHash))",
                advice: "give --allow-change teacher.weights to go on with it")
        }
    }
}

extension RunFolder {
    /// The run that the folder holds, ready to go on; nil when it was killed before its first checkpoint, or is none.
    /// - Throws: `InputError` when the run cannot be gone on with.
    public func resumption() throws(InputError) -> Resumption? {
        try resumable().map { found throws(InputError) in try Resumption(found) }
    }
}
