import Foundation
import RLDFormats
import RLDGraph

/// The folder of one run: config.yaml (effective), environment.json, metrics.jsonl, log.txt, last.safetensors and
/// best.safetensors. Nothing is written before `open`, so that a run that fails on its input leaves nothing behind.
public final class RunFolder {
    /// The files of a run; what `overwrite` removes.
    public static let fileNames = [
        "config.yaml", "environment.json", "metrics.jsonl", "log.txt", "last.safetensors", "best.safetensors",
    ]

    public let path: String
    private let overwrite: Bool
    private var metrics: LineFile?
    private var log: LineFile?
    private let encoder: JSONEncoder

    /// - Parameter overwrite: whether a run that the folder already holds may be replaced.
    /// - Throws: `InputError` when the folder holds a run and may not be overwritten, or is not a folder.
    public init(_ path: String, overwrite: Bool = false) throws(InputError) {
        self.path = path
        self.overwrite = overwrite
        encoder = JSONEncoder()
        encoder.keyEncodingStrategy = .convertToSnakeCase
        encoder.nonConformingFloatEncodingStrategy = .convertToString(
            positiveInfinity: "inf", negativeInfinity: "-inf", nan: "nan")
        var isFolder: ObjCBool = false
        guard FileManager.default.fileExists(atPath: path, isDirectory: &isFolder) else { return }
        guard isFolder.boolValue else { throw InputError(path, "is a file, expected a folder", advice: "choose another --out") }
        if !overwrite, let found = Self.fileNames.first(where: { FileManager.default.fileExists(atPath: file($0)) }) {
            throw InputError(
                path, "already holds a run (\(found))", advice: "choose another --out or give --overwrite to replace the run")
        }
    }

    /// Path of a file in the folder.
    public func file(_ name: String) -> String { path + "/" + name }

    /// Creates the folder, removes an overwritten run and writes what describes the new one.
    public func open(configuration: TrainingConfiguration, environment: RunEnvironment) throws(InputError) {
        do {
            try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true)
        } catch {
            throw InputError(path, "cannot be created as a folder", advice: "choose another --out")
        }
        if overwrite { for name in Self.fileNames { unlink(file(name)) } }
        try write(Array(configuration.yaml.utf8), to: "config.yaml")
        try write(Array(json(environment, pretty: true)), to: "environment.json")
        metrics = try LineFile(path: file("metrics.jsonl"))
        log = try LineFile(path: file("log.txt"))
    }

    /// Writes a file of the run, whole or not at all.
    public func write(_ bytes: [UInt8], to name: String) throws(InputError) {
        try AtomicFile.write(bytes, to: file(name))
    }

    /// Writes a student's weights, whole or not at all.
    public func save(_ state: NetworkState, as name: String, metadata: [String: String]) throws(InputError) {
        try state.save(safetensors: file(name), metadata: metadata)
    }

    /// Appends a record to metrics.jsonl: one line, keys sorted, numbers in full precision.
    public func append(_ record: some Encodable) throws(InputError) {
        try metrics?.append(String(decoding: json(record), as: UTF8.self))
    }

    /// Appends a line to log.txt.
    public func note(_ line: String) throws(InputError) { try log?.append(line) }

    private func json(_ value: some Encodable, pretty: Bool = false) throws(InputError) -> Data {
        encoder.outputFormatting =
            pretty
            ? [.sortedKeys, .withoutEscapingSlashes, .prettyPrinted] : [.sortedKeys, .withoutEscapingSlashes]
        do {
            return try encoder.encode(value)
        } catch {
            throw InputError(path, "a record cannot be written as JSON: \(error)")
        }
    }
}
