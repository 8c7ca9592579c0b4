import COpenCL

/// One command's event. Events are made only for profiling, for keeping host memory alive, for markers and for `finish` to look at.
package final class Event {
    let handle: OpaquePointer

    /// Takes over a reference that the caller owns.
    init(adopting handle: OpaquePointer) {
        self.handle = handle
        LiveObjects.Kind.events.created()
    }

    deinit {
        StandardError.released(clReleaseEvent(handle), "an event")
        LiveObjects.Kind.events.released()
    }

    /// True once the command is complete or has failed. Does not wait.
    var isOver: Bool {
        var state: cl_int = 0
        let status = clGetEventInfo(
            handle, cl_event_info(CL_EVENT_COMMAND_EXECUTION_STATUS), MemoryLayout<cl_int>.size, &state, nil)
        return status != 0 || state <= CL_COMPLETE
    }

    /// Waits until the command is over.
    package func finish() throws(DeviceError) {
        try DeviceError.check(wait(), .failed, "waiting for a command; RLD_SYNC=1 names a kernel that failed")
    }

    /// The same. - Returns: the status of waiting.
    func wait() -> Int32 {
        var event: OpaquePointer? = handle
        return clWaitForEvents(1, &event)
    }

    func time(_ parameter: Int32) -> UInt64 {
        var nanoseconds: cl_ulong = 0
        let status = clGetEventProfilingInfo(
            handle, cl_profiling_info(parameter), MemoryLayout<cl_ulong>.size, &nanoseconds, nil)
        return status == 0 ? nanoseconds : 0
    }
}
