import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference

/// The executor for a device choice.
/// - Parameter device: "reference" for the host in Double; an index, `platform:device` or a part of a name for an OpenCL
///   device; nil for `RLD_DEVICE`, or the best device there is.
/// - Throws: `DeviceError` when there is no such device.
public func makeExecutor(device: String?) throws -> any NetworkExecutor {
    try Environment.check()
    let choice = device ?? Environment.settings.device
    if choice?.lowercased() == "reference" { return ReferenceExecutor() }
    return try DeviceExecutor(try Device.select(choice))
}
