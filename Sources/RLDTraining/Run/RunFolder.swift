import Foundation
import RLDFormats
import RLDGraph
import RLDReports

/// The folder of one run: config.yaml (effective), environment.json, the metrics files, log.txt, last.safetensors,
/// best.safetensors, checkpoints/ and, when the run is over, result.json. Nothing is written before `open`, so that a run that
/// fails on its input leaves nothing behind. One process at a time: the folder is locked while it is open, and a killed
/// process leaves no lock.
public final class RunFolder {
    /// What to do with a run that the folder already holds.
    public enum Existing: Sendable {
        case refuse
        /// Replace it.
        case overwrite
        /// Go on with it.
        case resume
    }

    /// The files of a run beside its checkpoints; what `overwrite` removes.
    public static let fileNames =
        [
            "config.yaml", "environment.json", "log.txt", "last.safetensors", "best.safetensors", "result.json",
        ] + MetricsFiles.names
    /// The folder of checkpoints in a run's folder.
    public static let checkpointsName = "checkpoints"

    public let path: String
    private let existing: Existing
    private var metrics: MetricsFiles?
    private var log: LineFile?
    private var lock: FolderLock?
    var checkpoints: CheckpointFolder { CheckpointFolder(path: file(Self.checkpointsName)) }

    public convenience init(_ path: String, overwrite: Bool = false) throws(InputError) {
        try self.init(path, existing: overwrite ? .overwrite : .refuse)
    }

    /// - Throws: `InputError` when the folder holds a run and may not be overwritten, is not a folder, or is to be resumed and
    ///   another process works in it.
    public init(_ path: String, existing: Existing) throws(InputError) {
        self.path = path
        self.existing = existing
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return }
        guard isFolder.boolValue else { throw InputError(path, "is a file, expected a folder", advice: "choose another --out") }
        switch existing {
        case .overwrite: break
        case .resume:
            lock = try FolderLock(path)
            try refuseNoFiles()
        case .refuse: try refuseRun()
        }
    }

    private func refuseRun() throws(InputError) {
        guard let found = (Self.fileNames + [Self.checkpointsName]).first(where: holds) else { return }
        throw InputError(
            path, "already holds a run (\(found))",
            advice: "choose another --out, give --resume to go on with it or --overwrite to replace it")
    }

    /// Throws when another process has worked in the folder since it was looked at, which may be minutes ago: data was read and
    /// kernels were built in between. Only while the folder is locked.
    private func refuseChange() throws(InputError) {
        switch existing {
        case .overwrite: break
        case .refuse: try refuseRun()
        case .resume:
            guard holds("result.json") || !checkpoints.names.isEmpty else { break }
            throw InputError(path, "has got a run meanwhile", advice: "give the command again to go on with it")
        }
    }

    /// Path of a file in the folder.
    public func file(_ name: String) -> String { path + "/" + name }

    /// Whether there is a checkpoint to go on from.
    public var holdsCheckpoint: Bool { !checkpoints.names.isEmpty }

    private func holds(_ name: String) -> Bool { FileManager.default.fileExists(atPath: file(name)) }

    /// The newest checkpoint of the run to resume, with its best weights; nil when the run was killed before its first one.
    /// - Throws: when the run cannot be gone on with.
    func resumable() throws(InputError) -> CheckpointFolder.Found? {
        guard existing == .resume else { return nil }
        if var found = try checkpoints.newest() {
            removeTemporaries()
            if found.bestError != nil { found.best = savedBest(of: found.checkpoint) }
            return found
        }
        if holds("best.safetensors") || holds("result.json") {
            throw InputError(path, "holds a run without checkpoints", advice: "give --overwrite to start again")
        }
        return nil
    }

    /// Removes what a killed process left half written.
    private func removeTemporaries() {
        CheckpointFolder.removeTemporaries(in: path) { Self.fileNames.contains($0) }
        checkpoints.removeTemporaries()
    }

    /// Throws when a pipe or the like lies where a run has a file: opening it would wait for another program for ever.
    private func refuseNoFiles() throws(InputError) {
        for name in Self.fileNames {
            var status = stat()
            guard stat(file(name), &status) == 0, [S_IFIFO, S_IFSOCK].contains(status.st_mode & S_IFMT) else { continue }
            throw InputError(file(name), "is a pipe or socket, expected a file", advice: "remove it or choose another --out")
        }
    }

    /// The weights in best.safetensors, if they are those that a checkpoint calls the best.
    private func savedBest(of checkpoint: Checkpoint) -> NetworkState? {
        let path = file("best.safetensors")
        guard let epoch = try? SafetensorsFile(path: path).metadata["epoch"], epoch == "\(checkpoint.record.bestEpoch)",
            let state = try? NetworkState(safetensors: path), state.allFinite
        else { return nil }
        let weights = checkpoint.state.weights
        let fits = Set(state.names) == Set(weights.names) && state.names.allSatisfy { state[$0]?.shape == weights[$0]?.shape }
        return fits ? state : nil
    }

    /// What a finished run left in result.json; nil while it is not finished.
    public var result: Data? { FileManager.default.contents(atPath: file("result.json")) }

    /// What the folder says the run ran on; nil where it says nothing.
    private var environment: RunEnvironment? {
        FileManager.default.contents(atPath: file("environment.json")).flatMap {
            try? RecordJSON.decoder().decode(RunEnvironment.self, from: $0)
        }
    }

    /// Creates the folder, removes an overwritten run and writes what describes the new one; or, with a checkpoint, cuts the
    /// growing files back to where they were when it was written.
    public func open(
        configuration: TrainingConfiguration, environment: RunEnvironment, resuming checkpoint: Checkpoint? = nil
    ) throws(InputError) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw InputError(path, "cannot be created as a folder", advice: "choose another --out")
        }
        if lock == nil { lock = try FolderLock(path) }
        if checkpoint != nil {
            unlink(file("result.json"))
        } else {
            try refuseChange()
            for name in Self.fileNames { unlink(file(name)) }
            removeTemporaries()
            checkpoints.removeAll()
        }
        try checkpoints.create()
        try write(Array(configuration.yaml.utf8), to: "config.yaml")
        let former = checkpoint == nil ? nil : self.environment
        try write(Array(json(former.map(environment.following) ?? environment, pretty: true)), to: "environment.json")
        metrics = try MetricsFiles(
            folder: path, terms: configuration.objective.termNames, lengths: checkpoint?.record.fileLengths ?? [:])
        // A run that goes on with other settings shows both.
        if checkpoint?.record.configuration != configuration.yaml {
            try metrics?.text("configuration", "```\n\(configuration.yaml)```", step: checkpoint?.stepsDone ?? 0)
        }
        log = try LineFile(path: file("log.txt"))
    }

    /// Ends the work in the folder; another process may go on with it.
    public func close() {
        metrics = nil
        log = nil
        lock = nil
    }

    /// Bytes of the files that grow, everything so far safe on the disk.
    func growingFiles() throws(InputError) -> [String: Int] {
        guard let metrics else { return [:] }
        return try metrics.lengths()
    }

    /// Writes a file of the run, whole or not at all.
    public func write(_ bytes: [UInt8], to name: String) throws(InputError) {
        try AtomicFile.write(bytes, to: file(name))
    }

    /// Writes a record as result.json: the run is over.
    func finish(_ result: some Encodable) throws(InputError) { try write(Array(json(result, pretty: true)), to: "result.json") }

    /// Writes a student's weights, whole or not at all.
    public func save(_ state: NetworkState, as name: String, metadata: [String: String]) throws(InputError) {
        try state.save(safetensors: file(name), metadata: metadata)
    }

    /// Appends a record to metrics.jsonl (one line, keys sorted, numbers in full precision), metrics.csv and the event file.
    func append(_ record: some RunRecord) throws(InputError) {
        try metrics?.append(record, json: String(decoding: json(record), as: UTF8.self))
    }

    /// Shows the accuracy of each class in TensorBoard.
    func append(classes: [ClassAccuracy], epoch: Int) throws(InputError) {
        try metrics?.image("accuracy by class", BarImage(classes.map(\.accuracy)), step: epoch)
        let lines = classes.map { "| \($0.name) | \($0.accuracy) | \($0.images) |" }
        try metrics?.text(
            "accuracy by class, table",
            (["| class | accuracy | images |", "| --- | --- | --- |"] + lines).joined(separator: "\n"), step: epoch)
    }

    /// Appends a line to log.txt.
    public func note(_ line: String) throws(InputError) { try log?.append(line) }

    private func json(_ value: some Encodable, pretty: Bool = false) throws(InputError) -> Data {
        do {
            return try RecordJSON.encoder(pretty: pretty).encode(value)
        } catch {
            throw InputError(path, "a record cannot be written as JSON: \(error)")
        }
    }
}

/// An advisory lock on a folder that ends with the process that holds it, however it ends.
final class FolderLock {
    private let descriptor: Int32

    /// - Throws: when another process holds it for longer than a killed one takes to end, which frees its memory before its
    ///   lock. A file system without locks is let pass.
    init(_ folder: String) throws(InputError) {
        descriptor = Foundation.open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC)
        guard descriptor >= 0 else {
            throw InputError(folder, "cannot be opened: \(String(cString: strerror(errno)))", advice: "choose another --out")
        }
        let end = ContinuousClock.now + .seconds(5)
        while flock(descriptor, LOCK_EX | LOCK_NB) != 0, errno == EWOULDBLOCK {
            guard ContinuousClock.now < end else {
                Foundation.close(descriptor)
                throw InputError(folder, "is in use by another rld process", advice: "wait for it to end or choose another --out")
            }
            usleep(50_000)
        }
    }

    deinit { Foundation.close(descriptor) }
}
