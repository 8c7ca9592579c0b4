import COpenCL

/// One OpenCL device, as its driver describes it. Immutable; asking for it creates nothing on the device.
public final class Device: Sendable, CustomStringConvertible {
    /// Position in the list of all devices of all platforms.
    public let index: Int
    /// Position of the platform, and of the device within it: `0:1` selects by these.
    public let platformIndex: Int
    public let indexInPlatform: Int
    public let platformName: String
    public let name: String
    public let vendor: String
    public let driverVersion: String
    /// `OpenCL 3.0 PoCL ...`
    public let version: String
    public let isCPU: Bool
    /// Whether the driver is PoCL: on a CPU its work-groups run on the threads of the host, each from beginning to end.
    public var isPoCL: Bool { platformName == Self.poclPlatform }
    static let poclPlatform = "Portable Computing Language"
    public let isGPU: Bool
    /// Whether it computes in the host's memory, as processors and the GPUs beside them do.
    public let sharesHostMemory: Bool
    public let computeUnits: Int
    /// Bytes of memory on the device.
    public let globalMemory: Int
    /// Bytes of the largest single buffer, often a quarter of the memory. `RLD_MAX_ALLOCATION` lowers it.
    public let maxAllocation: Int
    /// Bytes of local memory of one work-group.
    public let localMemory: Int
    public let maxWorkGroupSize: Int
    /// Floats in a vector register, as the driver sees it.
    public let nativeFloatWidth: Int
    public let extensions: Set<String>
    /// Of an NVIDIA device whose driver tells it (cl_nv_device_attribute_query): [8, 0] for 8.0. Empty for all others.
    public let computeCapability: [Int]

    // Never assigned again, and OpenCL answers questions about a device from any thread.
    package nonisolated(unsafe) let handle: OpaquePointer
    /// PoCL's device that computes on the thread which launches, in the same memory, where it offers one: a launch of a few
    /// microseconds is over there before a sleeping thread has woken.
    package nonisolated(unsafe) let callingThread: OpaquePointer?

    public var description: String { "\(platformName): \(name)" }

    /// One line per device for listings: `0 (0:0) NVIDIA CUDA: NVIDIA H100`.
    public var listing: String { "\(index) (\(platformIndex):\(indexInPlatform)) \(platformName): \(name)" }

    // MARK: - Finding one

    /// All devices of all platforms, in the loader's order. Without a platform the list is empty: that is no error.
    public static func all() throws(DeviceError) -> [Device] {
        try Environment.check()
        let limit = Environment.settings.maxAllocation
        var devices: [Device] = []
        for (platformIndex, platform) in try platforms().enumerated() {
            let platformName = DeviceQuery.platformName(platform)
            let found = DeviceQuery.devices(of: platform, named: platformName)
            for (indexInPlatform, handle) in found.listed.enumerated() {
                devices.append(
                    Device(
                        handle, callingThread: found.callingThread, index: devices.count, platformIndex: platformIndex,
                        indexInPlatform: indexInPlatform, platformName: platformName, maxAllocation: limit))
            }
        }
        return devices
    }

    /// The GPU with the most compute units, of those with memory of their own if there is one: what a compute unit is differs from
    /// vendor to vendor. Where two drivers offer the same GPU, not Mesa's. Without a GPU, the CPU; without either, the first device
    /// there is.
    public static func best() throws(DeviceError) -> Device {
        guard let best = best(of: try all()) else { throw noDevice }
        return best
    }

    /// The device that a text names: an index (`0`), platform and device (`0:1`), or a part of its name, in any case
    /// (of the platform's name if no device's has it). The first one if several fit.
    /// - Parameter text: nil takes `RLD_DEVICE`, or `best()` if that is not set.
    public static func select(_ text: String?) throws(DeviceError) -> Device {
        try select(text ?? Environment.settings.device, from: try all())
    }

    package static func select(_ text: String?, from devices: [Device]) throws(DeviceError) -> Device {
        guard let best = best(of: devices) else { throw noDevice }
        guard let text else { return best }
        if let device = match(text, in: devices) { return device }
        let list = devices.map(\.listing).joined(separator: "; ")
        throw DeviceError(
            .unknownDevice,
            "no device is called '\(text)'; give an index, platform:device or a part of the name of one of these: \(list)")
    }

    /// The same device under a lower limit for one buffer: how plans over several buffers are tested on small machines.
    public func limited(maxAllocation bytes: Int) -> Device {
        Device(
            handle, callingThread: callingThread, index: index, platformIndex: platformIndex, indexInPlatform: indexInPlatform,
            platformName: platformName,
            maxAllocation: min(bytes, maxAllocation))
    }

    private static func match(_ text: String, in devices: [Device]) -> Device? {
        if let index = Int(text) { return devices.first { $0.index == index } }
        let parts = text.split(separator: ":", omittingEmptySubsequences: false).map { Int($0) }
        if parts.count == 2, let platform = parts[0], let device = parts[1] {
            return devices.first { $0.platformIndex == platform && $0.indexInPlatform == device }
        }
        let wanted = text.lowercased()
        guard !wanted.isEmpty else { return nil }
        return devices.first { $0.name.lowercased() == wanted }
            ?? devices.first { $0.name.lowercased().contains(wanted) }
            ?? devices.first { $0.platformName.lowercased().contains(wanted) }
    }

    private static func best(of devices: [Device]) -> Device? {
        // max(by:) keeps the last of equals; the reversal makes that the first.
        devices.reversed().filter(\.isGPU).max { rank($0) < rank($1) } ?? devices.first(where: \.isCPU) ?? devices.first
    }

    private static func rank(_ gpu: Device) -> (Int, Int, Int, Int) {
        let isMesa = ["Clover", "rusticl"].contains(gpu.platformName)
        return (gpu.hasOpenCL12 ? 1 : 0, gpu.sharesHostMemory ? 0 : 1, gpu.computeUnits, isMesa ? 0 : 1)
    }

    /// Whether it knows the language of the kernels; Mesa's Clover, for one, does not.
    package var hasOpenCL12: Bool { !["OpenCL 1.0", "OpenCL 1.1"].contains { version.hasPrefix($0) } }

    /// The error of a machine without a device, with what to install.
    public static var noDevice: DeviceError {
        DeviceError(
            .noDevice,
            """
            no OpenCL device was found; for the CPU: apt-get install ocl-icd-libopencl1 pocl-opencl-icd; for a GPU: the vendor's \
            driver with its OpenCL package (nvidia-opencl-icd, intel-opencl-icd, mesa-opencl-icd or AMD's ROCm); \
            if one is installed, check OCL_ICD_VENDORS (in a container that got NVIDIA's driver alone: \
            OCL_ICD_VENDORS=libnvidia-opencl.so.1) or, for Mesa, RUSTICL_ENABLE; `--device reference` computes without any device
            """)
    }

    private static func platforms() throws(DeviceError) -> [OpaquePointer] {
        DriverSettings.apply
        var count: cl_uint = 0
        // PoCL 5.0, 6.0 and 7.1 start their threads here, 3.1 where it lists its devices.
        let status = DriverSettings.startingPatientThreads { clGetPlatformIDs(0, nil, &count) }
        // An empty ICD folder gives -1001 with this loader; others say 0 and count 0.
        if CLStatus(rawValue: status) == .platformNotFound || (status == 0 && count == 0) { return [] }
        try DeviceError.check(status, .failed, "listing the OpenCL platforms")
        var platforms = [OpaquePointer?](repeating: nil, count: Int(count))
        try DeviceError.check(clGetPlatformIDs(count, &platforms, nil), .failed, "listing the OpenCL platforms")
        return platforms.compactMap { $0 }
    }

    private init(
        _ handle: OpaquePointer, callingThread: OpaquePointer?, index: Int, platformIndex: Int, indexInPlatform: Int,
        platformName: String,
        maxAllocation limit: Int?
    ) {
        let query = DeviceQuery(handle)
        self.handle = handle
        self.callingThread = callingThread
        self.index = index
        self.platformIndex = platformIndex
        self.indexInPlatform = indexInPlatform
        self.platformName = platformName
        name = query.string(CL_DEVICE_NAME)
        vendor = query.string(CL_DEVICE_VENDOR)
        driverVersion = query.string(CL_DRIVER_VERSION)
        version = query.string(CL_DEVICE_VERSION)
        let type = query.value(CL_DEVICE_TYPE, cl_device_type(0))
        isCPU = type & cl_device_type(CL_DEVICE_TYPE_CPU) != 0
        isGPU = type & cl_device_type(CL_DEVICE_TYPE_GPU) != 0
        sharesHostMemory = query.value(CL_DEVICE_HOST_UNIFIED_MEMORY, cl_bool(0)) != 0
        computeUnits = max(1, Int(query.value(CL_DEVICE_MAX_COMPUTE_UNITS, cl_uint(1))))
        globalMemory = Int(clamping: query.value(CL_DEVICE_GLOBAL_MEM_SIZE, cl_ulong(0)))
        let allowed = Int(clamping: query.value(CL_DEVICE_MAX_MEM_ALLOC_SIZE, cl_ulong(0)))
        maxAllocation = limit.map { min($0, allowed) } ?? allowed
        localMemory = Int(clamping: query.value(CL_DEVICE_LOCAL_MEM_SIZE, cl_ulong(0)))
        maxWorkGroupSize = max(1, Int(clamping: query.value(CL_DEVICE_MAX_WORK_GROUP_SIZE, UInt(1))))
        nativeFloatWidth = Int(query.value(CL_DEVICE_NATIVE_VECTOR_WIDTH_FLOAT, cl_uint(1)))
        extensions = Set(query.string(CL_DEVICE_EXTENSIONS).split(separator: " ").map(String.init))
        let capability = [CL_DEVICE_COMPUTE_CAPABILITY_MAJOR_NV, CL_DEVICE_COMPUTE_CAPABILITY_MINOR_NV]
        computeCapability =
            extensions.contains("cl_nv_device_attribute_query") ? capability.map { Int(query.value($0, cl_uint(0))) } : []
    }
}
