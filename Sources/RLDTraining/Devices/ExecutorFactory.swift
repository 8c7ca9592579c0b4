import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference

/// The executor for a device choice.
/// - Parameter device: "reference" for the host in Double; an index, `platform:device` or a part of a name for an OpenCL
///   device; nil for `RLD_DEVICE`, or the best device there is.
/// - Parameter tuning: what a run that goes on was using; nil for what is stored for the device, or shipped.
/// - Throws: `DeviceError` when there is no such device.
public func makeExecutor(device: String?, tuning: ChosenTuning? = nil) throws -> any NetworkExecutor {
    try Environment.check()
    let choice = device ?? Environment.settings.device
    if choice?.lowercased() == "reference" { return ReferenceExecutor() }
    let executor = try DeviceExecutor(engine: DeviceEngine(try Device.select(choice), tuning: tuning))
    if Environment.settings.validate { executor.watcher = StepValidator() }
    return executor
}
