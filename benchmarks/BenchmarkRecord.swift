import Foundation
import OpenCLRuntime
import RLDFormats
import RLDGraph
import RLDVersion

/// Rows of a results file, one per case and metric. Rows append and never overwrite.
public struct BenchmarkRecord: Sendable {
    public static let columns = [
        "case", "provider", "mode", "metric", "unit", "shape", "p50", "p20", "p80", "runs", "device", "driver", "clblast",
        "parameters", "swift", "commit", "time",
    ]

    /// Kernels and precision of the run, the end of a row's provider: `rld cpu`, `rld unfused gpu`, `rld gpu tf32`.
    public var profile: String
    public var device: Device
    /// Where CLBlast's parameters and the register tiles came from, and their hash.
    public var parameters: String
    /// Whether results were compared with the reference before they were timed; else their mode says so.
    public var checked: Bool
    public var time = Date().formatted(.iso8601)

    public init(session: BenchmarkSession, checked: Bool = true) {
        self.checked = checked
        let precision = session.engine.precision
        profile = session.profile.rawValue + (precision == .float32 ? "" : " \(precision.rawValue)")
        device = session.device
        parameters = session.engine.tuning.description
    }

    /// The rows of one result.
    /// - Parameters:
    ///   - copy: GB/s, and `peak`, GFLOP/s, of the same run, of which shares are given.
    public func rows(_ result: BenchmarkResult, copy: Double?, peak: Double?) -> [[String]] {
        var metrics: [(String, String, Spread)] = [
            ("device time", "us", result.device.map { $0 * 1e6 }), ("wall time", "us", result.wall.map { $0 * 1e6 }),
        ]
        if let bandwidth = result.bandwidth {
            metrics.append(("bandwidth", "GB/s", bandwidth))
            if let copy { metrics.append(("share of copy", "%", bandwidth.map { 100 * $0 / copy })) }
        }
        if let rate = result.rate {
            metrics.append(("rate", "GFLOP/s", rate))
            if let peak { metrics.append(("share of peak", "%", rate.map { 100 * $0 / peak })) }
        }
        if let images = result.imagesPerSecond { metrics.append(("images", "images/s", images)) }
        metrics += [
            ("launches", "per run", Spread([Double(result.launches)])),
            ("memory", "MiB", Spread([Double(result.memory) / 0x1p20])),
            ("setup", "s", Spread([result.setup])), ("building", "s", Spread([result.building])),
        ]
        return metrics.map { metric, unit, spread in
            row(
                result.name, result.provider, result.mode + (checked ? "" : ", unchecked"), metric, unit, result.shape, spread,
                runs: result.runs)
        }
    }

    /// A figure of its own: the copy bandwidth, the arithmetic peak, the first step.
    public func row(_ name: String, _ mode: String, _ metric: String, _ unit: String, _ shape: String, _ value: Double)
        -> [String]
    {
        row(name, "rld", mode, metric, unit, shape, Spread([value]), runs: 1)
    }

    private func row(
        _ name: String, _ provider: String, _ mode: String, _ metric: String, _ unit: String, _ shape: String, _ spread: Spread,
        runs: Int
    ) -> [String] {
        let numbers = [spread.p50, spread.p20, spread.p80].map { String(format: "%.4g", $0) }
        return [name, "\(provider) \(profile)", mode, metric, unit, shape] + numbers
            + [
                "\(runs)", Self.name(of: device), "\(device.platformName) \(device.driverVersion)", BuildVersion.clblast,
                parameters,
                BuildVersion.swift, BuildVersion.commit, time,
            ]
    }

    /// A CPU's with what tells its generations apart, which no driver's name does: family and model of an x86 processor, and threads.
    static func name(of device: Device) -> String {
        guard device.isCPU else { return device.name }
        let lines = ((try? String(contentsOfFile: "/proc/cpuinfo", encoding: .utf8)) ?? "").split(separator: "\n")
        func value(_ key: String) -> String? {
            lines.first { $0.split(separator: ":").first?.trimmingCharacters(in: .whitespaces) == key }
                .flatMap { $0.split(separator: ":").dropFirst().first?.trimmingCharacters(in: .whitespaces) }
        }
        let parts = [("cpu family", "family"), ("model", "model")].compactMap { key, word in value(key).map { "\(word) \($0)" } }
        return "\(device.name) (\((parts + ["\(device.computeUnits) threads"]).joined(separator: ", ")))"
    }

    private static let title = columns.joined(separator: ",") + "\n"

    /// Throws what `append` would throw before it writes: an `InputError` in a debug build, whose times mean nothing, and if the file
    /// has other columns or its folder is missing.
    public static func check(_ path: String) throws(InputError) {
        #if DEBUG
        throw InputError("results", "are not recorded from a debug build", advice: "build with -c release")
        #else
        guard FileManager.default.fileExists(atPath: path) else { return try AtomicFile.check(path) }
        guard let handle = FileHandle(forUpdatingAtPath: path) else { throw InputError(path, "cannot be written") }
        defer { try? handle.close() }
        let head = (try? handle.read(upToCount: title.utf8.count)) ?? Data()
        guard head == Data(title.utf8) else {
            throw InputError(path, "has other columns", advice: "expected: \(columns.joined(separator: ","))")
        }
        #endif
    }

    /// Appends rows, with the titles if the file is new.
    /// - Throws: `InputError` in a debug build, whose times mean nothing; if the file has other columns or cannot be written.
    public static func append(_ rows: [[String]], to path: String) throws(InputError) {
        try check(path)
        let text = rows.map { $0.map(quoted).joined(separator: ",") + "\n" }.joined()
        guard let handle = FileHandle(forUpdatingAtPath: path) else {
            return try AtomicFile.write(Array((title + text).utf8), to: path)
        }
        defer { try? handle.close() }
        do {
            try handle.seekToEnd()
            try handle.write(contentsOf: Data(text.utf8))
        } catch {
            throw InputError(path, "cannot be written", advice: error.localizedDescription)
        }
    }

    private static func quoted(_ cell: String) -> String {
        cell.contains { ",\"\n".contains($0) } ? "\"" + cell.replacing("\"", with: "\"\"") + "\"" : cell
    }
}
