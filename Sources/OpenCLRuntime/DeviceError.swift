/// What a device, its driver or a caller of the runtime did wrong: what was tried, on what, and what to do about it.
public struct DeviceError: Error, Sendable, CustomStringConvertible {
    /// The kind of failure. A struct, so that a new kind breaks no one's `switch`.
    public struct Code: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
        public let rawValue: String

        public init(rawValue: String) {
            self.rawValue = rawValue
        }

        /// There is no OpenCL device at all.
        public static let noDevice = Code(rawValue: "noDevice")
        /// Devices exist, but none is the one that was asked for.
        public static let unknownDevice = Code(rawValue: "unknownDevice")
        /// A program did not compile, or holds no such kernel.
        public static let buildFailed = Code(rawValue: "buildFailed")
        /// A kernel could not be given its arguments, launched or completed.
        public static let launchFailed = Code(rawValue: "launchFailed")
        /// A buffer, or what a launch needs beside it, does not fit.
        public static let outOfMemory = Code(rawValue: "outOfMemory")
        /// Sizes do not fit together: an offset or count beyond a buffer, a shape that is not the expected one.
        public static let shapeMismatch = Code(rawValue: "shapeMismatch")
        /// CLBlast refused or failed.
        public static let blasFailed = Code(rawValue: "blasFailed")
        /// An `RLD_` variable is unknown or has a value that cannot be.
        public static let badEnvironment = Code(rawValue: "badEnvironment")
        /// Bytes could not be moved between host and device.
        public static let transferFailed = Code(rawValue: "transferFailed")
        /// The device is gone: reset by its driver, unplugged, or stopped by a kernel that crashed.
        public static let deviceLost = Code(rawValue: "deviceLost")
        /// The device lacks what was asked for.
        public static let unsupported = Code(rawValue: "unsupported")
        /// A check on the device gave another result than it must.
        public static let wrongResult = Code(rawValue: "wrongResult")
        /// Any other call that failed.
        public static let failed = Code(rawValue: "failed")

        public var description: String { rawValue }
    }

    public let code: Code
    /// What was tried (kernel, sizes, device) and what to do.
    public let message: String
    /// The status that OpenCL or CLBlast returned, if the failure came from there.
    public let status: CLStatus?
    /// What the kernel compiler said.
    public let buildLog: String?

    public init(_ code: Code, _ message: String, status: CLStatus? = nil, buildLog: String? = nil) {
        self.code = code
        self.message = message
        self.status = status
        self.buildLog = buildLog
    }

    /// A call that did not return success. Statuses of memory and of lost devices have a code of their own, whatever the call was.
    /// - Parameter code: of all others.
    package init(status: CLStatus, or code: Code, message: String, buildLog: String? = nil) {
        self.init(
            status.isMemory ? .outOfMemory : status.isLoss ? .deviceLost : code, message, status: status, buildLog: buildLog)
    }

    public var description: String {
        var text = message
        if let status {
            text += ": \(status)"
            if let advice = status.advice { text += "; \(advice)" }
        }
        if let buildLog, !buildLog.isEmpty { text += "\n\(buildLog)" }
        return text
    }

    /// Throws unless `status` is success.
    /// - Parameter code: of statuses without one of their own.
    package static func check(_ status: Int32, _ code: Code, _ message: @autoclosure () -> String) throws(DeviceError) {
        guard status != 0 else { return }
        throw DeviceError(status: CLStatus(rawValue: status), or: code, message: message())
    }
}
