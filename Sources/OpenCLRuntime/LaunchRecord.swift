/// When one launch was queued and ran, in nanoseconds of the device's own clock. Only differences mean anything.
public struct LaunchRecord: Sendable, Hashable {
    /// Name of the kernel, or the label it was launched under.
    public let label: String
    public let queued: UInt64
    public let submitted: UInt64
    public let start: UInt64
    public let end: UInt64

    /// Nanoseconds that it ran.
    public var duration: UInt64 { end >= start ? end - start : 0 }
}
