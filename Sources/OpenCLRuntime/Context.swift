import COpenCL

/// A context on one device: what buffers, programs and queues belong to. Freed when the last of them is gone.
public final class Context: Sendable {
    public let device: Device
    public let counters = Counters()

    package nonisolated(unsafe) let handle: OpaquePointer

    public init(_ device: Device) throws(DeviceError) {
        try Environment.check()
        var identifier: OpaquePointer? = device.handle
        var status: Int32 = 0
        let handle = clCreateContext(nil, 1, &identifier, nil, nil, &status)
        guard let handle, status == 0 else {
            throw DeviceError(.failed, "creating a context on \(device)", status: CLStatus(rawValue: status))
        }
        self.device = device
        self.handle = handle
        LiveObjects.Kind.contexts.created()
        if Environment.settings.debug >= 1 {
            StandardError.print("device \(device.listing), driver \(device.driverVersion), \(device.computeUnits) compute units")
        }
    }

    deinit {
        StandardError.released(clReleaseContext(handle), "the context on \(device)")
        LiveObjects.Kind.contexts.released()
    }
}
