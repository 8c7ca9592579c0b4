import Foundation

/// All environment variables of the project, parsed here and nowhere else.
///
/// They are read once per process, at the first use. An unknown `RLD_` name or an impossible value is an error of code
/// `.badEnvironment`, thrown by `check()` and by every way to get a device.
public enum Environment {
    /// The variables that exist.
    public enum Variable: String, CaseIterable, Sendable {
        case device = "RLD_DEVICE"
        case debug = "RLD_DEBUG"
        case synchronous = "RLD_SYNC"
        case kernelDirectory = "RLD_KERNEL_DIR"
        case buildOptions = "RLD_BUILD_OPTIONS"
        case maxAllocation = "RLD_MAX_ALLOCATION"
        case requireDevice = "RLD_REQUIRE_DEVICE"
        case profile = "RLD_PROFILE"
        case assertCompile = "RLD_ASSERT_COMPILE"
        case tuning = "RLD_TUNING"
        case validate = "RLD_VALIDATE"
        case overlap = "RLD_OVERLAP"

        /// What it does, in one line.
        public var effect: String {
            switch self {
            case .device: "device to use where none is named: index, platform:device, or a part of its name"
            case .debug: "1 device, 2 programs built and time per kernel, 3 launches with sizes, 4 expanded kernel source"
            case .synchronous: "1: wait after every launch, so that an error names its kernel"
            case .kernelDirectory: "read kernels from this folder instead of those built in"
            case .buildOptions: "extra options for the OpenCL compiler"
            case .maxAllocation: "largest single buffer in bytes, below what the device allows (for tests)"
            case .requireDevice: "1: tests without a device fail instead of being skipped"
            case .profile: "cpu or gpu: kernel profile, instead of the one that fits the device"
            case .assertCompile: "1: fail if a program is built after the first steps"
            case .tuning: "off: what is shipped for the device; or a file of 'rld tune' to use instead of the stored one"
            case .validate: "1: compare every operation of every training step with the reference (very slow)"
            case .overlap: "1 or 0: whether teachers have a queue of their own, instead of as the device is"
            }
        }
    }

    /// Where what can be found again at some cost is kept for the user: $XDG_CACHE_HOME/rld/NAME, or ~/.cache/rld/NAME; nil without a
    /// home.
    public static func cacheFolder(_ name: String) -> URL? {
        let environment = ProcessInfo.processInfo.environment
        // XDG: a relative path is to be ignored.
        if let cache = environment["XDG_CACHE_HOME"], cache.hasPrefix("/") {
            return URL(fileURLWithPath: cache).appendingPathComponent("rld/\(name)")
        }
        guard let home = environment["HOME"], home.hasPrefix("/") else { return nil }
        return URL(fileURLWithPath: home).appendingPathComponent(".cache/rld/\(name)")
    }

    /// The values of one environment.
    public struct Settings: Sendable, Equatable {
        public var device: String?
        public var debug = 0
        public var synchronous = false
        public var kernelDirectory: String?
        public var buildOptions = ""
        public var maxAllocation: Int?
        public var requireDevice = false
        public var profile: KernelProfile?
        public var assertCompile = false
        /// "off" or a path.
        public var tuning: String?
        public var validate = false
        /// nil: as the device is.
        public var overlap: Bool?

        public init() {}

        /// Parses an environment. An empty value counts as not set; names without the prefix are not ours.
        public init(parsing environment: [String: String]) throws(DeviceError) {
            for (name, value) in environment.sorted(by: { $0.key < $1.key }) where name.hasPrefix("RLD_") {
                guard let variable = Variable(rawValue: name) else { throw Environment.unknown(name) }
                if value.isEmpty { continue }
                switch variable {
                case .device: device = value
                case .debug: debug = try Environment.integer(variable, value, in: 0...4, expected: "0 to 4")
                case .synchronous: synchronous = try Environment.flag(variable, value)
                case .kernelDirectory: kernelDirectory = value
                case .buildOptions: buildOptions = value
                case .maxAllocation:
                    maxAllocation = try Environment.integer(variable, value, in: 1...Int.max, expected: "a number of bytes")
                case .requireDevice: requireDevice = try Environment.flag(variable, value)
                case .profile:
                    guard let known = KernelProfile(rawValue: value.lowercased()) else {
                        throw Environment.impossible(variable, value, expected: "cpu or gpu")
                    }
                    profile = known
                case .assertCompile: assertCompile = try Environment.flag(variable, value)
                case .tuning: tuning = value
                case .validate: validate = try Environment.flag(variable, value)
                case .overlap: overlap = try Environment.flag(variable, value)
                }
            }
        }
    }

    /// Throws if this process's environment holds an unknown `RLD_` name or an impossible value.
    public static func check() throws(DeviceError) {
        _ = try parsed.get()
    }

    /// This process's settings; the defaults if `check()` would throw.
    public static var settings: Settings {
        switch parsed {
        case .success(let settings): settings
        case .failure: Settings()
        }
    }

    private static let parsed: Result<Settings, DeviceError> = {
        do throws(DeviceError) {
            return .success(try Settings(parsing: ProcessInfo.processInfo.environment))
        } catch {
            return .failure(error)
        }
    }()

    // MARK: - Values

    private static func flag(_ variable: Variable, _ value: String) throws(DeviceError) -> Bool {
        switch value.lowercased() {
        case "1", "true", "yes", "on": return true
        case "0", "false", "no", "off": return false
        default: throw impossible(variable, value, expected: "0 or 1")
        }
    }

    private static func integer(
        _ variable: Variable, _ value: String, in range: ClosedRange<Int>, expected: String
    ) throws(DeviceError) -> Int {
        guard let number = Int(value), range.contains(number) else {
            throw impossible(variable, value, expected: expected)
        }
        return number
    }

    private static func impossible(_ variable: Variable, _ value: String, expected: String) -> DeviceError {
        DeviceError(.badEnvironment, "\(variable.rawValue)='\(value)' cannot be: expected \(expected) (\(variable.effect))")
    }

    private static func unknown(_ name: String) -> DeviceError {
        let known = Variable.allCases.map(\.rawValue)
        let nearest = known.map { (name: $0, distance: editDistance(name, $0)) }.min { $0.distance < $1.distance }
        let hint = nearest.map { $0.distance <= 4 ? "did you mean \($0.name)? " : "" } ?? ""
        return DeviceError(
            .badEnvironment, "environment variable \(name) is unknown; \(hint)(known: \(known.joined(separator: ", ")))")
    }

    /// Levenshtein distance.
    private static func editDistance(_ a: String, _ b: String) -> Int {
        let b = Array(b.utf8)
        var previous = Array(0...b.count)
        for (i, x) in a.utf8.enumerated() {
            var current = [i + 1]
            for (j, y) in b.enumerated() {
                current.append(min(previous[j] + (x == y ? 0 : 1), previous[j + 1] + 1, current[j] + 1))
            }
            previous = current
        }
        return previous[b.count]
    }
}
