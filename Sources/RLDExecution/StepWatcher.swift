import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Sees every training step of a `DeviceExecutor` from inside: the parts that it runs itself, node by node, and what the others
/// left. For validation; a step that is watched waits for the device all the time.
package protocol StepWatcher: AnyObject {
    func loads(_ images: ImageTable, as name: String)
    func preparesTeacher(_ network: Network, state: NetworkState)
    /// The batch lies in memory.
    func gathered(_ selection: BatchSelection, in batch: BatchBuffers, engine: DeviceEngine) throws
    /// Runs the plan's forward pass.
    func forward(_ plan: NetworkPlan, of network: DeviceNetwork) throws
    /// The loss of a method is enqueued.
    func loss(_ loss: WatchedLoss, engine: DeviceEngine) throws
    /// Runs the plan's backward pass.
    func backward(_ plan: NetworkPlan, of network: DeviceNetwork) throws
    /// Runs the update.
    func update(_ update: ParameterUpdate, of network: DeviceNetwork) throws
}

/// A loss that has been enqueued, with what it read and wrote.
package struct WatchedLoss {
    package let method: Method
    package let warmup: Double
    package let rows: Int
    package let classes: Int
    package let loss: FusedLoss
    package let student: DeviceSlice
    package let teacher: DeviceSlice?
    package let gradient: DeviceSlice
}
