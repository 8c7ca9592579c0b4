import Foundation
import OpenCLRuntime
import RLDGraph

/// What the launches of a run say: a table by kernel, and a file for a trace viewer.
public enum LaunchTrace {
    /// One kernel's share of a run.
    public struct KernelTime: Sendable, Equatable {
        public var kernel: String
        public var launches: Int
        public var seconds: Double
    }

    /// Time per kernel, longest first.
    public static func byKernel(_ records: [LaunchRecord]) -> [KernelTime] {
        Dictionary(grouping: records, by: \.label).map { label, group in
            KernelTime(
                kernel: label, launches: group.count, seconds: Double(group.reduce(0) { $0 + $1.duration }) / 1e9)
        }.sorted { ($0.seconds, $1.kernel) > ($1.seconds, $0.kernel) }
    }

    private struct Event: Encodable {
        var name: String
        var ph: String
        var pid = 1
        var tid: Int
        /// Microseconds.
        var ts: Double?
        var dur: Double?
        var args: [String: String]?
    }

    private struct File: Encodable {
        var traceEvents: [Event]
        var displayTimeUnit = "ms"
    }

    /// A Chrome trace (chrome://tracing, Perfetto) with two rows: on the host each launch from its enqueueing to its hand-over
    /// to the driver, on the device each launch as it ran. Times are the device's clock, the first enqueueing is 0.
    public static func chromeTrace(_ runs: [(name: String, records: [LaunchRecord])]) throws -> Data {
        let all = runs.flatMap(\.records)
        let origin = all.map(\.queued).min() ?? 0
        func microseconds(_ time: UInt64) -> Double { Double(time - min(origin, time)) / 1e3 }
        var events = [
            Event(name: "thread_name", ph: "M", tid: 1, args: ["name": "Host"]),
            Event(name: "thread_name", ph: "M", tid: 2, args: ["name": "Device"]),
        ]
        for run in runs {
            for record in run.records {
                events.append(
                    Event(
                        name: record.label, ph: "X", tid: 1, ts: microseconds(record.queued),
                        dur: Double(record.submitted - min(record.queued, record.submitted)) / 1e3, args: ["case": run.name]))
                events.append(
                    Event(
                        name: record.label, ph: "X", tid: 2, ts: microseconds(record.start), dur: Double(record.duration) / 1e3,
                        args: ["case": run.name]))
            }
        }
        return try JSONEncoder().encode(File(traceEvents: events))
    }
}
