import Foundation

/// What drivers read from the environment when they start, set where the user has not.
enum DriverSettings {
    /// Takes effect once, before the process's first OpenCL call.
    static let apply: Void = {
        // PoCL's threads, one per processor, stay each on its own: otherwise two of them may share one for as long as a short launch
        // runs while the other processor is idle, which made it take up to twice as long.
        if mayUseEveryProcessor { setenv("POCL_AFFINITY", "1", 0) }
    }()

    /// PoCL takes processor i for thread i, and ends the process where that one is not allowed.
    private static var mayUseEveryProcessor: Bool {
        let name = "Cpus_allowed_list:"
        let line = (try? String(contentsOfFile: "/proc/self/status", encoding: .utf8))?.split(separator: "\n").first {
            $0.hasPrefix(name)
        }
        let last = sysconf(Int32(_SC_NPROCESSORS_CONF)) - 1
        return line?.dropFirst(name.count).trimmingCharacters(in: .whitespaces) == (last > 0 ? "0-\(last)" : "0")
    }
}
