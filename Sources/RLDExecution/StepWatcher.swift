import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Sees every training step of a `DeviceExecutor` from inside: the parts that it runs itself, node by node, and what the others
/// left. For validation; a step that is watched waits for the device all the time.
package protocol StepWatcher: AnyObject {
    func loads(_ images: ImageTable, as name: String, staged: Bool) throws
    func preparesTeacher(_ network: Network, state: NetworkState, at index: Int)
    /// The batch lies in memory.
    func gathered(_ selection: BatchSelection, in batch: BatchBuffers, engine: DeviceEngine) throws
    /// Runs the plan's forward pass.
    /// - Parameter teacher: the teacher's index; nil for the student.
    func forward(_ plan: NetworkPlan, of network: DeviceNetwork, teacher: Int?) throws
    /// The losses of an objective are enqueued.
    func loss(_ loss: WatchedLoss, engine: DeviceEngine) throws
    /// Runs the plan's backward pass.
    func backward(_ plan: NetworkPlan, of network: DeviceNetwork) throws
    /// Runs the update.
    func update(_ update: ParameterUpdate, of network: DeviceNetwork) throws
}

/// Losses that have been enqueued, with what they read and wrote.
package struct WatchedLoss {
    package let objective: Objective
    package let rows: Int
    package let classes: Int
    package let student: DeviceSlice
    /// By index.
    package let teachers: [Int: DeviceSlice]
    package let gradient: DeviceSlice
    /// A method's terms per row, as its last component left them.
    package let perRow: (Method) throws(DeviceError) -> [[Float]]
}
