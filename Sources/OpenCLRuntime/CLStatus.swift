/// A status code of OpenCL 1.2, of its loader, or of CLBlast, which continues OpenCL's numbers in one table.
public struct CLStatus: RawRepresentable, Sendable, Hashable, CustomStringConvertible {
    public let rawValue: Int32

    public init(rawValue: Int32) {
        self.rawValue = rawValue
    }

    public static let deviceNotFound = CLStatus(rawValue: -1)
    public static let memoryObjectAllocationFailure = CLStatus(rawValue: -4)
    public static let outOfResources = CLStatus(rawValue: -5)
    public static let outOfHostMemory = CLStatus(rawValue: -6)
    public static let buildProgramFailure = CLStatus(rawValue: -11)
    public static let invalidBufferSize = CLStatus(rawValue: -61)
    public static let platformNotFound = CLStatus(rawValue: -1001)

    /// The name in the C headers, or the number if no header knows it.
    public var name: String {
        Self.names[rawValue] ?? "status \(rawValue)"
    }

    /// What to do about it; nil where the name says all there is to say.
    public var advice: String? {
        Self.advices[rawValue]
    }

    /// Whether it says that memory ran out, on the device or the host.
    var isMemory: Bool { self == .memoryObjectAllocationFailure || self == .outOfHostMemory }

    /// Whether it says that the device is gone: not available, its queue invalid (our handles are not), given up by its driver.
    var isLoss: Bool { [-2, -36, -9999].contains(rawValue) }

    /// Name and number: `CL_OUT_OF_RESOURCES (-5)`.
    public var description: String {
        Self.names[rawValue].map { "\($0) (\(rawValue))" } ?? "status \(rawValue)"
    }

    /// Every code that has a name.
    public static var known: [CLStatus] {
        names.keys.sorted(by: >).map(CLStatus.init(rawValue:))
    }

    private static let names: [Int32: String] = [
        0: "CL_SUCCESS",
        -1: "CL_DEVICE_NOT_FOUND",
        -2: "CL_DEVICE_NOT_AVAILABLE",
        -3: "CL_COMPILER_NOT_AVAILABLE",
        -4: "CL_MEM_OBJECT_ALLOCATION_FAILURE",
        -5: "CL_OUT_OF_RESOURCES",
        -6: "CL_OUT_OF_HOST_MEMORY",
        -7: "CL_PROFILING_INFO_NOT_AVAILABLE",
        -8: "CL_MEM_COPY_OVERLAP",
        -9: "CL_IMAGE_FORMAT_MISMATCH",
        -10: "CL_IMAGE_FORMAT_NOT_SUPPORTED",
        -11: "CL_BUILD_PROGRAM_FAILURE",
        -12: "CL_MAP_FAILURE",
        -13: "CL_MISALIGNED_SUB_BUFFER_OFFSET",
        -14: "CL_EXEC_STATUS_ERROR_FOR_EVENTS_IN_WAIT_LIST",
        -15: "CL_COMPILE_PROGRAM_FAILURE",
        -16: "CL_LINKER_NOT_AVAILABLE",
        -17: "CL_LINK_PROGRAM_FAILURE",
        -18: "CL_DEVICE_PARTITION_FAILED",
        -19: "CL_KERNEL_ARG_INFO_NOT_AVAILABLE",
        -30: "CL_INVALID_VALUE",
        -31: "CL_INVALID_DEVICE_TYPE",
        -32: "CL_INVALID_PLATFORM",
        -33: "CL_INVALID_DEVICE",
        -34: "CL_INVALID_CONTEXT",
        -35: "CL_INVALID_QUEUE_PROPERTIES",
        -36: "CL_INVALID_COMMAND_QUEUE",
        -37: "CL_INVALID_HOST_PTR",
        -38: "CL_INVALID_MEM_OBJECT",
        -39: "CL_INVALID_IMAGE_FORMAT_DESCRIPTOR",
        -40: "CL_INVALID_IMAGE_SIZE",
        -41: "CL_INVALID_SAMPLER",
        -42: "CL_INVALID_BINARY",
        -43: "CL_INVALID_BUILD_OPTIONS",
        -44: "CL_INVALID_PROGRAM",
        -45: "CL_INVALID_PROGRAM_EXECUTABLE",
        -46: "CL_INVALID_KERNEL_NAME",
        -47: "CL_INVALID_KERNEL_DEFINITION",
        -48: "CL_INVALID_KERNEL",
        -49: "CL_INVALID_ARG_INDEX",
        -50: "CL_INVALID_ARG_VALUE",
        -51: "CL_INVALID_ARG_SIZE",
        -52: "CL_INVALID_KERNEL_ARGS",
        -53: "CL_INVALID_WORK_DIMENSION",
        -54: "CL_INVALID_WORK_GROUP_SIZE",
        -55: "CL_INVALID_WORK_ITEM_SIZE",
        -56: "CL_INVALID_GLOBAL_OFFSET",
        -57: "CL_INVALID_EVENT_WAIT_LIST",
        -58: "CL_INVALID_EVENT",
        -59: "CL_INVALID_OPERATION",
        -60: "CL_INVALID_GL_OBJECT",
        -61: "CL_INVALID_BUFFER_SIZE",
        -62: "CL_INVALID_MIP_LEVEL",
        -63: "CL_INVALID_GLOBAL_WORK_SIZE",
        -64: "CL_INVALID_PROPERTY",
        -65: "CL_INVALID_IMAGE_DESCRIPTOR",
        -66: "CL_INVALID_COMPILER_OPTIONS",
        -67: "CL_INVALID_LINKER_OPTIONS",
        -68: "CL_INVALID_DEVICE_PARTITION_COUNT",
        -1001: "CL_PLATFORM_NOT_FOUND_KHR",

        // CLBlast, beside those it shares with OpenCL.
        -1007: "CLBlastInsufficientMemoryY",
        -1008: "CLBlastInsufficientMemoryX",
        -1009: "CLBlastInsufficientMemoryC",
        -1010: "CLBlastInsufficientMemoryB",
        -1011: "CLBlastInsufficientMemoryA",
        -1012: "CLBlastInvalidIncrementY",
        -1013: "CLBlastInvalidIncrementX",
        -1014: "CLBlastInvalidLeadDimC",
        -1015: "CLBlastInvalidLeadDimB",
        -1016: "CLBlastInvalidLeadDimA",
        -1017: "CLBlastInvalidDimension",
        -1018: "CLBlastInvalidVectorY",
        -1019: "CLBlastInvalidVectorX",
        -1020: "CLBlastInvalidMatrixC",
        -1021: "CLBlastInvalidMatrixB",
        -1022: "CLBlastInvalidMatrixA",
        -1024: "CLBlastNotImplemented",
        -2039: "CLBlastUnexpectedError",
        -2040: "CLBlastUnknownError",
        -2041: "CLBlastDatabaseError",
        -2042: "CLBlastInsufficientMemoryScalar",
        -2043: "CLBlastInvalidVectorScalar",
        -2044: "CLBlastNoDoublePrecision",
        -2045: "CLBlastNoHalfPrecision",
        -2046: "CLBlastInvalidLocalMemUsage",
        -2047: "CLBlastMissingOverrideParameter",
        -2048: "CLBlastInvalidOverrideKernel",
        -2049: "CLBlastInvalidBatchCount",
        -2050: "CLBlastInsufficientMemoryTemp",
    ]

    private static let advices: [Int32: String] = [
        -1: "the platform is installed but shows no device: check the driver and that this user may open the device files",
        -2: "another process may hold the device exclusively, or the driver has lost it: see the system's log, then start again",
        -3: "this driver cannot compile kernels: install the vendor's full OpenCL package",
        -4: "out of memory on the device: use a smaller batch, or a device with more memory",
        -5: "out of resources: a smaller batch or work-group may help; a kernel that crashed reports the same on some drivers, "
            + "so set RLD_SYNC=1 to learn which one",
        -6: "out of memory on the host: use a smaller batch, or close other programs",
        -11: "the build log names file and line",
        -36:
            "the driver has lost the device, or a kernel crashed on it: see the system's log, then start again; RLD_SYNC=1 names "
            + "the kernel",
        -43: "check RLD_BUILD_OPTIONS",
        -46: "the file holds no kernel of this name",
        -49: "the kernel takes fewer arguments",
        -51: "the kernel declares another type for this argument: a Swift Int is a long, Int32 an int, Float a float",
        -52: "not every argument was set",
        -54: "the work-group is larger than the device allows for this kernel, or does not divide the global size",
        -55: "the work-group is larger than the device allows in one dimension",
        -61: "the buffer is empty or larger than one allocation may be on this device",
        -63: "the global size is zero or too large",
        -9999: "a kernel reached memory that is not its own, and the driver has given up the device: RLD_SYNC=1 names the kernel",
        -1001: "no OpenCL platform is installed: install an ICD, pocl-opencl-icd for the CPU or your GPU vendor's; "
            + "if one is installed, check that OCL_ICD_VENDORS is unset or names the folder of its .icd file",
        -2041: "CLBlast does not know the device: run `rld tune`",
        -2046: "the tuned parameters need more local memory than this device has: run `rld tune` again",
        -2047: "the stored parameters belong to another CLBlast version: run `rld tune` again",
        -2048: "the stored parameters belong to another CLBlast version: run `rld tune` again",
        -2050: "the workspace given to the product is too small",
    ]
}
