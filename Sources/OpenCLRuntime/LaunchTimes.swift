import COpenCL

/// Collects when each launch ran. Events are turned into records in batches, so that few of them are alive.
final class LaunchTimes {
    private var pending: [(label: String, event: Event, begin: Event?)] = []
    private var records: [LaunchRecord] = []
    private var totals: [String: (launches: Int, nanoseconds: Double)] = [:]
    /// Label of a launch that the driver did not time.
    private var untimed: String?
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
    /// - Throws: `.unsupported` where the driver did not time a launch.
    func drain() throws(DeviceError) -> [LaunchRecord] {
        defer { (records, untimed) = ([], nil) }
        return try all()
    }

    /// The records so far.
    func all() throws(DeviceError) -> [LaunchRecord] {
        resolve(onlyIfOver: false)
        if let untimed {
            throw DeviceError(
                .unsupported, "the driver does not time launches (no begin and end of '\(untimed)'): nothing can be measured here"
            )
        }
        return records
    }

    /// Time per label, longest first.
    func summary() -> [String] {
        resolve(onlyIfOver: false)
        let rows = totals.sorted { $0.value.nanoseconds > $1.value.nanoseconds }
        return rows.map { label, total in
            "kernel \(label): \(total.launches) launches, \((total.nanoseconds / 1000).rounded() / 1000) ms"
        }
    }

    private func resolve(onlyIfOver: Bool) {
        var done = 0
        for (label, event, begin) in pending {
            if onlyIfOver, !event.isOver { break }
            done += 1
            let total = totals[label] ?? (0, 0)
            guard let start = event.time(CL_PROFILING_COMMAND_START), let end = event.time(CL_PROFILING_COMMAND_END), end >= start
            else {
                totals[label] = (total.launches + 1, total.nanoseconds)
                untimed = label
                continue
            }
            let first = begin ?? event
            // Some drivers do not time markers.
            let began = begin?.time(CL_PROFILING_COMMAND_END).map { min($0, start) } ?? start
            let record = LaunchRecord(
                label: label, queued: first.time(CL_PROFILING_COMMAND_QUEUED) ?? began,
                submitted: first.time(CL_PROFILING_COMMAND_SUBMIT) ?? began, start: began, end: end)
            if keepsRecords { records.append(record) }
            totals[label] = (total.launches + 1, total.nanoseconds + Double(record.duration))
        }
        pending.removeFirst(done)
    }
}
