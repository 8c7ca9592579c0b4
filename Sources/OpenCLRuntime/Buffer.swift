import COpenCL

/// Memory on the device, read and written by kernels. Its contents are undefined until something writes them.
///
/// OpenCL allocates lazily: most drivers reserve the memory at the first command that uses the buffer, so a buffer that could be
/// created can still fail there, with `.outOfMemory` from the write, fill or launch. To find out early, `fill` it.
/// Commands that are already queued keep the memory alive: a buffer may be let go at any time.
public final class Buffer: Sendable {
    public let context: Context
    public let bytes: Int
    /// What it holds, for messages.
    public let label: String

    // Never assigned again; who enqueues on it is one task's concern, as is what the buffer holds.
    package nonisolated(unsafe) let handle: OpaquePointer

    /// - Throws: `.outOfMemory` if the driver has no room or `bytes` is beyond the device's `maxAllocation`;
    ///   `.shapeMismatch` if `bytes` is not positive; `.deviceLost`; `.failed` if the driver refuses for another reason.
    public init(_ context: Context, bytes: Int, label: String) throws(DeviceError) {
        let device = context.device
        guard bytes > 0 else {
            throw DeviceError(.shapeMismatch, "buffer '\(label)' of \(bytes) bytes: a buffer holds at least one byte")
        }
        guard bytes <= device.maxAllocation else {
            throw DeviceError(
                .outOfMemory,
                "buffer '\(label)' of \(bytes) bytes: \(device) allows at most \(device.maxAllocation) bytes in one buffer; "
                    + "use a smaller batch or spread it over several buffers")
        }
        let memory = LargePages.serve(device) ? LargePages.allocate(bytes) : nil
        let flags = CL_MEM_READ_WRITE | (memory == nil ? 0 : CL_MEM_USE_HOST_PTR)
        var status: Int32 = 0
        let handle = clCreateBuffer(context.handle, cl_mem_flags(flags), bytes, memory, &status)
        // Commands that are queued may outlive this object, and need the memory.
        if let handle, let memory {
            status = clSetMemObjectDestructorCallback(handle, { _, memory in LargePages.release(memory) }, memory)
        }
        guard let handle, status == 0 else {
            if let handle { StandardError.released(clReleaseMemObject(handle), "buffer '\(label)'") }
            LargePages.release(memory)
            let status = CLStatus(rawValue: status)
            // Of a buffer these say no more than that there is no room for it.
            let lacksRoom = status == .outOfResources || status == .invalidBufferSize
            throw DeviceError(
                status: status, or: lacksRoom ? .outOfMemory : .failed,
                message: "buffer '\(label)' of \(bytes) bytes on \(device), where \(context.counters.allocatedBytes) bytes are "
                    + "in use of \(device.globalMemory)")
        }
        self.context = context
        self.bytes = bytes
        self.label = label
        self.handle = handle
        context.counters.allocated(bytes)
        LiveObjects.Kind.buffers.created()
    }

    deinit {
        StandardError.released(clReleaseMemObject(handle), "buffer '\(label)'")
        context.counters.freed(bytes)
        LiveObjects.Kind.buffers.released()
    }

    /// Throws for a buffer of another device than a kernel or a queue: some drivers say no more than "invalid context", others crash.
    func requireDevice(of context: Context, _ code: DeviceError.Code, for action: @autoclosure () -> String) throws(DeviceError) {
        guard self.context.driver !== context.driver else { return }
        throw DeviceError(
            code,
            "\(action()) buffer '\(label)' on \(context.device): it lies on \(self.context.device); a buffer is used where it was made"
        )
    }

    /// The byte offset of an element range for a queue of a context, if it lies inside the buffer.
    func byteOffset<T: BitwiseCopyable>(
        _ type: T.Type, at elementOffset: Int, count: Int, in context: Context, for action: String
    ) throws(DeviceError) -> Int {
        try requireDevice(of: context, .transferFailed, for: action)
        let size = MemoryLayout<T>.stride
        let capacity = bytes / size
        guard elementOffset >= 0, count >= 0, elementOffset <= capacity, count <= capacity - elementOffset else {
            throw DeviceError(
                .shapeMismatch,
                "\(action) buffer '\(label)': elements from \(elementOffset), \(count) of them, but it holds \(capacity) of \(type)"
            )
        }
        return elementOffset * size
    }
}
