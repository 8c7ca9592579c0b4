/// Which family of kernels runs: both compute the same, and both run on any device.
public enum KernelProfile: String, Sendable, CaseIterable {
    /// Work-groups of one with wide vectors and register tiles: CPU devices.
    case cpu
    /// Many work-items per group and local memory: GPUs.
    case gpu

    /// `cpu` for CPU devices and `gpu` for all others, unless RLD_PROFILE says otherwise.
    public static func automatic(for device: Device) throws(DeviceError) -> KernelProfile {
        try Environment.check()
        return Environment.settings.profile ?? (device.isCPU ? .cpu : .gpu)
    }
}
