import COpenCL

/// One command's event. Events are made only for profiling, for keeping host memory alive, for markers and for `finish` to look at.
package final class Event {
    let handle: OpaquePointer

    /// Takes over a reference that the caller owns.
    package init(adopting handle: OpaquePointer) {
        self.handle = handle
        LiveObjects.Kind.events.created()
    }

    deinit {
        StandardError.released(clReleaseEvent(handle), "an event")
        LiveObjects.Kind.events.released()
    }

    /// How far the command is: more than `CL_COMPLETE` (0) until it is over, less if it failed; nil where the driver does not say, which
    /// says nothing of the command. Does not wait.
    var executionStatus: Int32? {
        var state: cl_int = 0
        let status = clGetEventInfo(
            handle, cl_event_info(CL_EVENT_COMMAND_EXECUTION_STATUS), MemoryLayout<cl_int>.size, &state, nil)
        return status == 0 ? state : nil
    }

    /// True once the command is known to be complete or to have failed. Does not wait.
    var isOver: Bool { executionStatus.map { $0 <= CL_COMPLETE } ?? false }

    /// Waits until the command is over.
    package func finish() throws(DeviceError) {
        try DeviceError.check(wait(), .failed, "waiting for a command; RLD_SYNC=1 names a kernel that failed")
    }

    /// The same. - Returns: what the command ended with, or why it could not be waited for.
    func wait() -> Int32 {
        var event: OpaquePointer? = handle
        let status = clWaitForEvents(1, &event)
        // Waiting only tells that the command failed; the command itself tells why.
        if let own = executionStatus, own < CL_COMPLETE { return own }
        return status
    }

    /// In nanoseconds of the device's clock; nil where the driver did not time it.
    func time(_ parameter: Int32) -> UInt64? {
        var nanoseconds: cl_ulong = 0
        let status = clGetEventProfilingInfo(
            handle, cl_profiling_info(parameter), MemoryLayout<cl_ulong>.size, &nanoseconds, nil)
        return status == 0 && nanoseconds > 0 ? nanoseconds : nil
    }
}
