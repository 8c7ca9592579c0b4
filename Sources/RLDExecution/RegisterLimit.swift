import OpenCLRuntime

/// At most so many registers for an item of a kernel, where NVIDIA's compiler can be told; nothing elsewhere.
struct RegisterLimit {
    private let isSet: Bool
    private let count: Int

    init(_ count: Int, on device: Device) {
        (self.count, isSet) = (count, device.extensions.contains("cl_nv_compiler_options"))
    }

    var options: String { isSet ? "-cl-nv-maxrregcount=\(count)" : "" }

    /// Beside a size of work-groups in the source the compiler ignores the option: `kernels/common/work_group.clh`.
    var defines: [(String, String)] { isSet ? [("REGISTERS_LIMITED", "1")] : [] }
}
