import Foundation
import RLDGraph
import RLDReports

/// What differs between two run folders: settings, what they ran on, and results.
public struct RunComparison: Sendable, Equatable, Encodable {
    public struct Line: Sendable, Equatable, Encodable {
        public var key: String
        /// Nil where the run has none.
        public var first: String?
        public var second: String?
    }

    /// Keys whose values differ.
    public var configuration: [Line] = []
    /// Of environment.json, without the time.
    public var environment: [Line] = []
    /// Test and validation results, equal ones too.
    public var results: [Line] = []

    /// - Throws: `InputError` for a folder that holds no run.
    public init(_ first: String, _ second: String) throws(InputError) {
        func differing(_ a: [String: String], _ b: [String: String]) -> [Line] {
            Set(a.keys).union(b.keys).sorted().filter { a[$0] != b[$0] }.map { Line(key: $0, first: a[$0], second: b[$0]) }
        }
        configuration = differing(try Self.settings(first), try Self.settings(second))
        environment = differing(try Self.environment(first), try Self.environment(second))
        let (a, b) = (try Self.results(first), try Self.results(second))
        results = Self.order.filter { a[$0] != nil || b[$0] != nil }.map { Line(key: $0, first: a[$0], second: b[$0]) }
    }

    private static func settings(_ folder: String) throws(InputError) -> [String: String] {
        var reader = ConfigurationReader()
        guard FileManager.default.fileExists(atPath: folder + "/config.yaml") else {
            throw InputError(folder, "holds no run (config.yaml)")
        }
        try reader.read(file: folder + "/config.yaml")
        return try reader.finish().configuration.values
    }

    private static func environment(_ folder: String) throws(InputError) -> [String: String] {
        let path = folder + "/environment.json"
        guard let data = FileManager.default.contents(atPath: path),
            let object = try? JSONSerialization.jsonObject(with: data) as? [String: Any]
        else { throw InputError(path, "cannot be read as JSON") }
        return object.filter { $0.key != "started" }.mapValues { "\($0)" }
    }

    private static let order = [
        "epochs", "train loss, weighted total", "best validation accuracy", "best test accuracy seen", "test top-1, best",
        "test top-1, last",
        "test top-5, best", "best epoch", "images/s", "seconds",
    ]

    private static func results(_ folder: String) throws(InputError) -> [String: String] {
        let metrics = try RunMetrics(folder)
        var results: [String: String] = ["epochs": "\(metrics.epochs.count)"]
        results["train loss, weighted total"] = metrics.epochs.last.map { "\($0.trainLoss)" }
        results["best validation accuracy"] = metrics.epochs.compactMap(\.validationAccuracy).max().map { "\($0)" }
        results["best test accuracy seen"] = metrics.epochs.compactMap(\.testAccuracy).max().map { "\($0)" }
        results["best epoch"] = metrics.epochs.last(where: \.best).map { "\($0.epoch)" }
        for test in metrics.tests {
            results["test top-1, \(test.weights)"] = "\(test.accuracy)"
            results["test top-5, \(test.weights)"] = "\(test.top5)"
        }
        results["images/s"] = metrics.epochs.last.map { NumberText.fixed($0.imagesPerSecond, decimals: 0) }
        results["seconds"] = metrics.epochs.last.map { NumberText.fixed($0.seconds, decimals: 0) }
        return results
    }
}

/// A run's metrics.jsonl, read back.
public struct RunMetrics: Sendable, Equatable {
    public var steps: [StepRecord] = []
    public var epochs: [EpochRecord] = []
    public var tests: [TestRecord] = []

    /// - Throws: `InputError` when the folder has none, or a line is none of its records.
    public init(_ folder: String) throws(InputError) {
        let path = folder + "/metrics.jsonl"
        guard let text = try? String(contentsOfFile: path, encoding: .utf8) else {
            throw InputError(path, FileManager.default.fileExists(atPath: path) ? "cannot be read as text" : "no such file")
        }
        let decoder = RecordJSON.decoder()
        struct Kind: Decodable { var kind: String }
        // A line that a full disk or a killed run cut short has no end.
        // Breaks are bytes: with a carriage return before it, one is another character to Swift.
        var lines = text.utf8.split(separator: UInt8(ascii: "\n"))
        if !lines.isEmpty, text.utf8.last != UInt8(ascii: "\n") { lines.removeLast() }
        for (index, line) in lines.enumerated() {
            let data = Data(line)
            do {
                switch try decoder.decode(Kind.self, from: data).kind {
                case "step": steps.append(try decoder.decode(StepRecord.self, from: data))
                case "epoch": epochs.append(try decoder.decode(EpochRecord.self, from: data))
                case "test": tests.append(try decoder.decode(TestRecord.self, from: data))
                // What a later version adds is not ours to judge.
                default: continue
                }
            } catch {
                throw InputError("\(path):\(index + 1)", "is no record of a run")
            }
        }
    }
}
