import OpenCLRuntime
import Testing

/// The device that tests run on, and whether there is one.
///
/// `@Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))` makes a missing device a skip that the
/// report names; under `RLD_REQUIRE_DEVICE=1` the test runs, and `device()` fails it.
public enum TestDevice {
    /// Whether `device()` gives one.
    public static let available: Bool = (try? Device.select(nil)) != nil

    /// Whether device tests run: there is a device, or one is required.
    public static var enabled: Bool { available || Environment.settings.requireDevice }

    /// Whether that device can do what a test needs; a device that is missing and required lets the test run, and fail.
    public static func can(_ condition: (Device) -> Bool) -> Bool {
        (try? Device.select(nil)).map(condition) ?? Environment.settings.requireDevice
    }

    /// The device of `RLD_DEVICE`, or the best there is.
    public static func device() throws -> Device {
        let device = try Device.select(nil)
        _ = held
        return device
    }

    /// The kernel profiles that are tested on it.
    public static var profiles: [KernelProfile] { KernelProfile.allCases }

    /// Sizes of work-groups that kernels over rows are tested with, whatever a device would choose. PoCL 7.1 gives other sums for those
    /// of 1 and 7, which it is never asked for.
    public static var groupSizes: [Int] {
        let hasPoCL7 = (try? Device.select(nil)).map { $0.isPoCL && $0.driverVersion.hasPrefix("7.") } ?? false
        return hasPoCL7 ? [32, 256] : [1, 7, 32, 256]
    }

    /// Keeps the driver's context and its programs from test to test.
    private static let held: Context? = (try? Device.select(nil)).flatMap { try? Context($0) }
}
