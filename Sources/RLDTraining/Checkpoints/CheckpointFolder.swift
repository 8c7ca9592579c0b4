import Foundation
import RLDFormats
import RLDGraph

/// The checkpoints of one run: `epoch-0003.safetensors` after epoch 3, `epoch-0004-step-000010.safetensors` within epoch 4.
struct CheckpointFolder {
    let path: String

    static func name(epoch: Int, step: Int) -> String {
        step == 0
            ? String(format: "epoch-%04d.safetensors", epoch - 1)
            : String(format: "epoch-%04d-step-%06d.safetensors", epoch, step)
    }

    /// Names of the finished files, oldest training position first.
    var names: [String] {
        let all = (try? FileManager.default.contentsOfDirectory(atPath: path)) ?? []
        return all.compactMap { name in Self.position(of: name).map { (name, $0) } }
            .sorted { $0.1 < $1.1 }.map(\.0)
    }

    /// Whether a file has a name that checkpoints have: one in the folder, not a path out of it.
    static func isCheckpoint(_ name: String) -> Bool { position(of: name) != nil }

    /// Epoch, and step or Int.max for its end; nil for other files.
    private static func position(of name: String) -> (Int, Int)? {
        guard let match = name.wholeMatch(of: /epoch-([0-9]+)(?:-step-([0-9]+))?\.safetensors/), let epoch = Int(match.1) else {
            return nil
        }
        return (epoch, match.2.flatMap { Int($0) } ?? Int.max)
    }

    func create() throws(InputError) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw InputError(path, "cannot be created as a folder", advice: "choose another --out")
        }
    }

    /// What a run can go on with.
    struct Found {
        var checkpoint: Checkpoint
        /// The best weights so far; nil before the first best epoch, and where they cannot be read.
        var best: NetworkState?
        /// Why their checkpoint cannot be read.
        var bestError: InputError?
        /// Checkpoints that were passed over, and why.
        var broken: [InputError]
    }

    /// The newest checkpoint that is whole, together with the best weights that it refers to.
    /// - Returns: nil when there is none at all.
    /// - Throws: when there are checkpoints and none is whole, or when one of another version comes first: a run must not fall
    ///   back behind it.
    func newest() throws(InputError) -> Found? {
        var broken: [InputError] = []
        for name in names.reversed() {
            do throws(InputError) {
                var found = Found(checkpoint: try Checkpoint(reading: file(name)), broken: broken)
                readBest(&found)
                return found
            } catch {
                if Checkpoint.isOfOtherVersion(error.subject) { throw error }
                broken.append(error)
            }
        }
        guard let first = broken.first else { return nil }
        throw InputError(
            path, "holds no checkpoint that is whole (\(broken.count) tried); the newest: \(first)",
            advice: "give --overwrite to start again")
    }

    /// A run can go on without its best weights: their loss is not that of the newest checkpoint.
    private func readBest(_ found: inout Found) {
        let checkpoint = found.checkpoint
        guard checkpoint.record.bestEpoch > 0 else { return }
        do throws(InputError) {
            let holder = try checkpoint.record.bestFile.map { name throws(InputError) in try Checkpoint(reading: file(name)) }
            found.best = (holder ?? checkpoint).bestWeights
        } catch {
            found.bestError = error
        }
    }

    /// Sets damaged files aside, so that they neither count as kept nor are lost.
    func setAside(_ broken: [InputError]) {
        for error in broken where error.subject.hasPrefix(path) { rename(error.subject, error.subject + ".damaged") }
    }

    /// Removes all but the newest `count` and those named.
    func prune(keeping count: Int, and others: Set<String>) {
        for name in names.dropLast(count) where !others.contains(name) { unlink(file(name)) }
    }

    /// Removes what a killed process left half written of a run's own files, and of nothing else: other programs have such names
    /// too. Only while the run is locked.
    static func removeTemporaries(in folder: String, of isOwn: (String) -> Bool) {
        for name in (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
        where AtomicFile.target(ofTemporary: name).map(isOwn) ?? false {
            unlink("\(folder)/\(name)")
        }
    }

    func removeTemporaries() { Self.removeTemporaries(in: path, of: Self.isCheckpoint) }

    func removeAll() {
        removeTemporaries()
        for name in names { unlink(file(name)) }
    }

    func file(_ name: String) -> String { "\(path)/\(name)" }
}
