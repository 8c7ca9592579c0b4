/// A context on one device: what buffers, programs and queues belong to, with counters of its own. Those of one device that live at the
/// same time share the driver's context and what was compiled in it. Freed when the last of them is gone.
public final class Context: Sendable {
    public let device: Device
    public let counters = Counters()

    let driver: DriverContext

    package var handle: OpaquePointer { driver.handle }

    /// - Throws: `.badEnvironment` for an `RLD_` variable that cannot be; `.failed` if the driver gives no context; `.outOfMemory`,
    ///   `.deviceLost`.
    public init(_ device: Device) throws(DeviceError) {
        try Environment.check()
        self.device = device
        driver = try DriverContext.of(device)
        if Environment.settings.debug >= 1 {
            StandardError.print("device \(device.listing), driver \(device.driverVersion), \(device.computeUnits) compute units")
        }
    }
}
