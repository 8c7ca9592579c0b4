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

    /// The device of `RLD_DEVICE`, or the best there is.
    public static func device() throws -> Device {
        let device = try Device.select(nil)
        _ = held
        return device
    }

    /// Whether its driver compiles the kernels of the gpu profile. PoCL 7.1 does not: where work-items wait for each other inside a
    /// loop it runs parts of a kernel twice.
    static let compilesGPUKernels: Bool = {
        guard let device = try? Device.select(nil), device.isPoCL, device.isCPU else { return true }
        return !device.driverVersion.hasPrefix("7.")
    }()

    /// The kernel profiles that can be tested on it.
    public static var profiles: [KernelProfile] { compilesGPUKernels ? KernelProfile.allCases : [.cpu] }

    /// Keeps the driver's context and its programs from test to test.
    private static let held: Context? = (try? Device.select(nil)).flatMap { try? Context($0) }
}

extension Trait where Self == ConditionTrait {
    /// For tests of kernels of the gpu profile.
    public static var gpuKernels: Self {
        .enabled(if: TestDevice.compilesGPUKernels, "this driver does not compile the gpu kernels")
    }
}
