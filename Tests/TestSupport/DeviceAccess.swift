import OpenCLRuntime

/// The device that tests run on, and whether there is one.
///
/// `@Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))` makes a missing device a skip that the
/// report names; under `RLD_REQUIRE_DEVICE=1` the test runs, and `device()` fails it.
public enum TestDevice {
    /// Whether `device()` gives one.
    public static let available: Bool = (try? Device.select(nil)) != nil

    /// Whether device tests run: there is a device, or one is required.
    public static var enabled: Bool { available || Environment.settings.requireDevice }

    /// The device of `RLD_DEVICE`, or the best there is.
    public static func device() throws -> Device {
        let device = try Device.select(nil)
        _ = held
        return device
    }

    /// Keeps the driver's context and its programs from test to test.
    private static let held: Context? = (try? Device.select(nil)).flatMap { try? Context($0) }
}
