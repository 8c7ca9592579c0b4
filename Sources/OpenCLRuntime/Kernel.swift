import COpenCL

/// One kernel of a program, with its arguments. Not `Sendable`: OpenCL does not allow arguments to be set from two threads.
///
/// Arguments stay set from launch to launch. Each use of a kernel in a plan takes a `Kernel` of its own.
public final class Kernel {
    public let program: Program
    public let name: String
    public let argumentCount: Int
    /// Largest work-group that the device allows for this kernel: registers may make it less than the device's own limit.
    public let maxWorkGroupSize: Int
    /// Whether it was compiled for one size of work-groups: then the driver has the last word on that, whatever limit it reports
    /// (rusticl 22.3: 32).
    let hasFixedWorkGroup: Bool

    package let handle: OpaquePointer

    /// The buffers among the arguments, kept alive because the driver need not do it.
    private var buffers: [Buffer?]

    /// A new kernel object, with no arguments yet.
    /// - Throws: `.buildFailed` if the program has no kernel of this name; `.outOfMemory`, `.deviceLost`.
    public init(_ program: Program, _ name: String) throws(DeviceError) {
        var status: Int32 = 0
        let handle = clCreateKernel(program.handle, name, &status)
        guard let handle, status == 0 else {
            throw DeviceError(
                status: CLStatus(rawValue: status), or: .buildFailed, message: "kernel '\(name)' of \(program.name)")
        }
        var count: cl_uint = 0
        let counted = clGetKernelInfo(handle, cl_kernel_info(CL_KERNEL_NUM_ARGS), MemoryLayout<cl_uint>.size, &count, nil)
        var limit = 0
        let device = program.context.device
        let identifier = program.onCallingThread ? device.callingThread : device.handle
        let asked = clGetKernelWorkGroupInfo(
            handle, identifier, cl_kernel_work_group_info(CL_KERNEL_WORK_GROUP_SIZE), MemoryLayout<Int>.size, &limit, nil)
        let query = cl_kernel_work_group_info(CL_KERNEL_COMPILE_WORK_GROUP_SIZE)
        var fixed = [0, 0, 0]
        let told = clGetKernelWorkGroupInfo(handle, identifier, query, 3 * MemoryLayout<Int>.size, &fixed, nil)
        hasFixedWorkGroup = told == 0 && fixed[0] > 0
        self.program = program
        self.name = name
        self.handle = handle
        argumentCount = Int(count)
        maxWorkGroupSize = asked == 0 && limit > 0 ? limit : device.maxWorkGroupSize
        buffers = Array(repeating: nil, count: Int(count))
        LiveObjects.Kind.kernels.created()
        program.context.counters.createdKernel()
        try DeviceError.check(counted, .buildFailed, "arguments of kernel '\(name)' of \(program.name)")
    }

    deinit {
        StandardError.released(clReleaseKernel(handle), "kernel \(name)")
        LiveObjects.Kind.kernels.released()
    }

    /// A buffer argument. The kernel keeps it alive until another takes its place.
    public func setArgument(_ index: Int, _ buffer: Buffer) throws(DeviceError) {
        try checkIndex(index)
        try buffer.requireDevice(of: program.context, .launchFailed, for: "argument \(index) of \(describe),")
        var memory: OpaquePointer? = buffer.handle
        let status = clSetKernelArg(handle, cl_uint(index), MemoryLayout<OpaquePointer?>.size, &memory)
        try DeviceError.check(status, .launchFailed, "argument \(index) of \(describe), buffer '\(buffer.label)'")
        buffers[index] = buffer
    }

    /// An argument passed by value. Its size must be the declared one: Int32 for int, Int or UInt64 for long, Float for float.
    public func setArgument<T: BitwiseCopyable>(_ index: Int, _ value: T) throws(DeviceError) {
        try checkIndex(index)
        let status = withUnsafeBytes(of: value) { clSetKernelArg(handle, cl_uint(index), $0.count, $0.baseAddress) }
        try DeviceError.check(
            status, .launchFailed, "argument \(index) of \(describe), \(T.self) of \(MemoryLayout<T>.size) bytes")
    }

    /// Local memory, of a size in bytes.
    public func setLocalMemory(_ index: Int, _ bytes: Int) throws(DeviceError) {
        try checkIndex(index)
        let device = program.context.device
        guard bytes > 0, bytes <= device.localMemory else {
            throw DeviceError(
                .launchFailed,
                "argument \(index) of \(describe): \(bytes) bytes of local memory, \(device) has \(device.localMemory)")
        }
        try DeviceError.check(
            clSetKernelArg(handle, cl_uint(index), bytes, nil), .launchFailed,
            "argument \(index) of \(describe), \(bytes) bytes of local memory")
    }

    /// Work-items of a work-group in each dimension, for launches that leave it open; nil leaves it to the driver.
    public func workGroup(for global: [Int]) -> [Int]? {
        Self.workGroup(for: global, most: maxWorkGroupSize, onCPU: program.context.device.isCPU)
    }

    /// A CPU device gets one of three sizes along the first dimension: PoCL compiles a kernel anew for every size, and its own choice
    /// follows the global size. A GPU gets 32 to 256 items in all, as many neighbours of the first dimension as divide it, of the
    /// others powers of two; where less divides, the driver chooses.
    package static func workGroup(for global: [Int], most: Int, onCPU: Bool) -> [Int]? {
        var left = max(1, min(most, 256))
        var local = Array(repeating: 1, count: global.count)
        guard let first = global.first else { return nil }
        if onCPU {
            local[0] = [64, 8].first { $0 <= left && first % $0 == 0 } ?? 1
            return local
        }
        local[0] = divisor(of: first, most: left)
        left /= local[0]
        for (dimension, size) in global.enumerated().dropFirst() {
            while local[dimension] * 2 <= left, size % (local[dimension] * 2) == 0 { local[dimension] *= 2 }
            left /= local[dimension]
        }
        return local.reduce(1, *) >= 32 ? local : nil
    }

    private static func divisor(of size: Int, most: Int) -> Int {
        stride(from: min(size, most), to: 1, by: -1).first { size % $0 == 0 } ?? 1
    }

    /// On a GPU, how a launch over `columns` neighbours in the first dimension and any number of rows in the second has full
    /// work-groups: rows of one, a power of two, with 256 work-items or, if a kernel takes no more, with 64.
    package static func workGroupRows(beside columns: Int) -> (most: Int, least: Int) {
        func rows(_ items: Int) -> Int {
            let fitting = max(1, items / divisor(of: columns, most: items))
            return 1 << (Int.bitWidth - 1 - fitting.leadingZeroBitCount)
        }
        return (rows(256), min(rows(256), rows(64)))
    }

    private func checkIndex(_ index: Int) throws(DeviceError) {
        guard buffers.indices.contains(index) else {
            throw DeviceError(.launchFailed, "argument \(index) of \(describe), which takes \(argumentCount)")
        }
    }

    private var describe: String { "kernel '\(name)' of \(program.name)" }
}
