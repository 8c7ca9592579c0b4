import Foundation

/// How much memory this process may take: an allocation that fails ends the program, or the system ends it.
package struct MemoryLimit {
    /// Bytes that an allocation may have.
    package let bytes: UInt64

    /// - Parameters:
    ///   - physical: bytes of the machine.
    ///   - groups: bytes that the control groups of the process leave it, as containers and batch systems set them.
    ///   - addressSpace: what `ulimit -v` allows, and how much of it is taken; nil without such a limit.
    package init(physical: UInt64, groups: UInt64?, addressSpace: (limit: UInt64, used: UInt64)?) {
        let space = addressSpace.map { $0.limit > $0.used ? $0.limit - $0.used : 0 }
        bytes = min(physical, groups ?? .max, space ?? .max)
    }

    /// Of this process, now.
    package static var current: MemoryLimit {
        MemoryLimit(physical: ProcessInfo.processInfo.physicalMemory, groups: ofGroups, addressSpace: addressSpace)
    }

    /// A process stays in its groups as a rule.
    private static let ofGroups = smallest(
        groups: (try? String(contentsOfFile: "/proc/self/cgroup", encoding: .utf8)) ?? "", root: "/sys/fs/cgroup")

    /// The smallest limit of memory of the groups that a process is in and of those around them; nil without one.
    /// - Parameters:
    ///   - groups: as /proc/self/cgroup lists them: a hierarchy, its controllers and a path per line.
    ///   - root: where control groups are mounted.
    package static func smallest(groups: String, root: String) -> UInt64? {
        var found: UInt64?
        for line in groups.split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
            guard parts.count == 3, parts[1].isEmpty || parts[1].split(separator: ",").contains("memory") else { continue }
            let (base, name) = parts[1].isEmpty ? (root, "memory.max") : ("\(root)/memory", "memory.limit_in_bytes")
            // A container sees its own group as the root, whatever the path says.
            var steps = parts[2].split(separator: "/").map(String.init)
            while true {
                let file = ([base] + steps + [name]).joined(separator: "/")
                if let text = try? String(contentsOfFile: file, encoding: .utf8), let limit = UInt64(text.filter(\.isNumber)) {
                    found = min(found ?? .max, limit)
                }
                if steps.popLast() == nil { break }
            }
        }
        return found
    }

    /// For messages.
    static func text(_ bytes: UInt64) -> String { bytes >> 30 > 9 ? "\(bytes >> 30) GiB" : "\(bytes >> 20) MiB" }

    private static var addressSpace: (limit: UInt64, used: UInt64)? {
        var limit = rlimit()
        // RLIMIT_AS has another type in each C library's header.
        guard getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0, limit.rlim_cur < UInt64(Int64.max) else {
            return nil
        }
        let pages = (try? String(contentsOfFile: "/proc/self/statm", encoding: .utf8))?.split(separator: " ").first
        return (UInt64(limit.rlim_cur), (pages.flatMap { UInt64($0) } ?? 0) * UInt64(getpagesize()))
    }
}
