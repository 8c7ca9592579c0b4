import OpenCLRuntime
import RLDExecution
import RLDMethods
import RLDReference

/// The executor for a device choice.
/// - Parameter device: "reference" for the host in Double; an index, `platform:device` or a part of a name for an OpenCL
///   device; nil for `RLD_DEVICE`, or the best device there is.
/// - Parameter tuning: what a run that goes on was using; nil for what is stored for the device, or shipped.
/// - Parameter precision: of the products of convolutions and linear layers; a training's is `TrainingConfiguration.precision`.
/// - Throws: `DeviceError` when there is no such device, or it does not have the precision.
public func makeExecutor(device: String?, tuning: ChosenTuning? = nil, precision: Precision = .float32) throws
    -> any NetworkExecutor
{
    try Environment.check()
    let choice = device ?? Environment.settings.device
    if choice?.lowercased() == "reference" { return ReferenceExecutor(precision: precision) }
    let executor = try DeviceExecutor(
        engine: DeviceEngine(try Device.select(choice), tuning: tuning, precision: precision))
    if Environment.settings.validate { executor.watcher = StepValidator(precision: precision) }
    return executor
}
