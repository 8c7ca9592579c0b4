import COpenCL
import Foundation
import Glibc

/// What drivers read from the environment when they start, set where the user has not.
enum DriverSettings {
    /// Takes effect once, before the process's first OpenCL call.
    static let apply: Void = {
        // PoCL's threads, one per processor, stay each on its own: otherwise two of them may share one for as long as a short launch
        // runs while the other processor is idle, which made it take up to twice as long.
        if mayUseEveryProcessor { setenv("POCL_AFFINITY", "1", 0) }
        // PoCL offers no device, or builds nothing, where it cannot keep what it compiles.
        if getenv("POCL_CACHE_DIR") == nil, !keepsCaches, let folder = ownTemporaryFolder { setenv("POCL_CACHE_DIR", folder, 0) }
    }()

    /// Before PoCL lists its devices: lets 3.1 list, beside the one whose threads compute, the one that computes on the calling thread
    /// (`Device.callingThread`). Not where the user has chosen devices.
    /// - Returns: whether it does.
    static func offerCallingThread(of platform: OpaquePointer) -> Bool {
        lock.lock()
        defer { lock.unlock() }
        if let offersCallingThread { return offersCallingThread }
        let version = DeviceQuery.string { size, target, needed in
            clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_VERSION), size, target, needed)
        }
        // This very value is another process's of ours, which started this one.
        let (name, ours) = ("POCL_DEVICES", "pthread basic")
        let given = getenv(name).map { String(cString: $0) }
        let offers = version.contains("PoCL 3.1") && (given == nil || given == ours)
        if offers { setenv(name, ours, 1) }
        offersCallingThread = offers
        return offers
    }

    private static let lock = NSLock()
    nonisolated(unsafe) private static var offersCallingThread: Bool?

    /// Whether there is a place for caches, or may be made one.
    private static var keepsCaches: Bool {
        let environment = ProcessInfo.processInfo.environment
        let given = environment["XDG_CACHE_HOME"].flatMap { $0.isEmpty ? nil : $0 }
        guard var folder = given ?? environment["HOME"].map({ $0 + "/.cache" }), folder.hasPrefix("/") else { return false }
        if access(folder + "/pocl", W_OK | X_OK) == 0 { return true }
        while access(folder, F_OK) != 0, folder != "/" { folder = (folder as NSString).deletingLastPathComponent }
        // What may be asked may be answered wrongly, for file systems that only read.
        let probe = folder + "/rld-\(UUID().uuidString)"
        guard mkdir(probe, 0o700) == 0 else { return false }
        return rmdir(probe) == 0
    }

    /// A folder for this user among the temporary ones; nil where another one has it.
    private static var ownTemporaryFolder: String? {
        let path = NSTemporaryDirectory() + "rld-pocl-\(geteuid())"
        mkdir(path, 0o700)
        var found = stat()
        let isOurs = lstat(path, &found) == 0 && found.st_mode & S_IFMT == S_IFDIR && found.st_uid == geteuid()
        return isOurs && found.st_mode & 0o022 == 0 ? path : nil
    }

    /// Runs `start`, in which PoCL starts its threads (and other drivers few or none), so that they let whoever launches something
    /// finish doing so: SCHED_BATCH, which threads inherit, does not interrupt another one when it is woken. Otherwise that of the same
    /// processor did so in the middle of a launch, only to wait for the launching thread's locks, and a launch of 9 us took 25 until
    /// its end was seen.
    static func startingPatientThreads<Result>(_ start: () -> Result) -> Result {
        let batch: Int32 = 3  // SCHED_BATCH, in no header that Swift sees
        var parameters = sched_param()
        // Only from the usual policy, the one that there is a way back to.
        guard sched_getscheduler(0) == SCHED_OTHER, sched_setscheduler(0, batch, &parameters) == 0 else { return start() }
        defer { sched_setscheduler(0, SCHED_OTHER, &parameters) }
        return start()
    }

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
