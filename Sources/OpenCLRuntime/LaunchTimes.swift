import COpenCL

/// Collects when each launch ran. Events are turned into records in batches, so that few of them are alive.
final class LaunchTimes {
    private var pending: [(label: String, event: Event, begin: Event?)] = []
    private var records: [LaunchRecord] = []
    private var totals: [String: (launches: Int, nanoseconds: UInt64)] = [:]
    /// Only `RLD_DEBUG` asked: totals are enough, and records must not pile up through a long run.
    private let keepsRecords: Bool

    private static let batch = 2048

    init(keepsRecords: Bool) {
        self.keepsRecords = keepsRecords
    }

    /// - Parameter begin: at whose end the work began, where the event is that of the last of several launches.
    func add(_ label: String, _ event: Event, from begin: Event? = nil) {
        pending.append((label, event, begin))
        if pending.count >= Self.batch { resolve(onlyIfOver: true) }
    }

    /// The records so far, and forgets them. Only after the queue has finished.
    func drain() -> [LaunchRecord] {
        resolve(onlyIfOver: false)
        defer { records = [] }
        return records
    }

    /// The records so far.
    func all() -> [LaunchRecord] {
        resolve(onlyIfOver: false)
        return records
    }

    /// Time per label, longest first.
    func summary() -> [String] {
        resolve(onlyIfOver: false)
        let rows = totals.sorted { $0.value.nanoseconds > $1.value.nanoseconds }
        return rows.map { label, total in
            "kernel \(label): \(total.launches) launches, \(Double(total.nanoseconds / 1000) / 1000) ms"
        }
    }

    private func resolve(onlyIfOver: Bool) {
        var done = 0
        for (label, event, begin) in pending {
            if onlyIfOver, !event.isOver { break }
            let first = begin ?? event
            let start = event.time(CL_PROFILING_COMMAND_START)
            // Some drivers do not time markers.
            let began = begin.map { $0.time(CL_PROFILING_COMMAND_END) }.flatMap { $0 > 0 ? min($0, start) : nil }
            let record = LaunchRecord(
                label: label, queued: first.time(CL_PROFILING_COMMAND_QUEUED), submitted: first.time(CL_PROFILING_COMMAND_SUBMIT),
                start: began ?? start, end: event.time(CL_PROFILING_COMMAND_END))
            if keepsRecords { records.append(record) }
            let total = totals[label] ?? (0, 0)
            totals[label] = (total.launches + 1, total.nanoseconds + record.duration)
            done += 1
        }
        pending.removeFirst(done)
    }
}
