import OpenCLRuntime
import RLDGraph
import RLDMethods

/// The teachers of an executor. Where a device runs kernels of several queues at a time, theirs is another queue than the student's, in
/// memory of its own: a teacher is at the next batch while the student is still at this one, and small kernels fill a large device
/// together. Each side waits, on the device, for what it takes from the other:
///
///     teachers   gather n+1 | forward n+1 | keep logits n+1
///     student    copy batch n | forward n | loss n, with the logits that were kept | backward n | update n
///
/// A batch is gathered again once it has been copied; logits are kept twice in turn, and the copy of the next batch comes after the loss
/// that reads them: so one event orders both. What is computed does not depend on it.
final class DeviceTeachers {
    /// Of the teachers.
    let engine: DeviceEngine
    let batches: BatchPool
    let memory: PlanMemory
    /// Whether they have a queue of their own.
    let overlap: Bool
    private let studentQueue: CommandQueue
    private let storage: TeacherStorage
    private var networks: [Int: DeviceNetwork] = [:]

    private struct KeptKey: Hashable {
        let teacher: Int
        let count: Int
        let turn: Int
    }
    private var kept: [KeptKey: Buffer] = [:]
    private var turn = 0
    /// Over when the student's side has copied the last batch.
    private var copied: Event?

    /// - Parameters:
    ///   - engine, batches, memory: the student's.
    ///   - overlap: a queue of their own.
    init(
        besides engine: DeviceEngine, batches: BatchPool, memory: PlanMemory, overlap: Bool, storage: TeacherStorage
    ) throws(DeviceError) {
        self.overlap = overlap
        self.storage = storage
        studentQueue = engine.queue
        self.engine = overlap ? try engine.second : engine
        self.batches = overlap ? BatchPool(self.engine) : batches
        self.memory = overlap ? PlanMemory(self.engine, advice: memory.advice) : memory
    }

    subscript(index: Int) -> DeviceNetwork? {
        get { networks[index] }
        set { networks[index] = newValue }
    }

    func network(_ index: Int) throws(InputError) -> DeviceNetwork {
        try ExecutorInputs.prepared(networks[index], "teacher")
    }

    /// - Parameter shape: per image, [channels, height, width].
    func plan(_ index: Int, batch: Int, shape: [Int]) throws -> NetworkPlan {
        try network(index).plan(batch: batch, mode: .inference, input: try batches.buffers(batch, shape: shape).images)
    }

    /// Enqueues the gathering of a batch on the teachers' queue.
    func gather(_ selection: BatchSelection, from table: DeviceImageTable, for network: Network) throws -> BatchBuffers {
        if let copied { try engine.queue.wait(for: copied) }
        return try batches.gather(selection, from: table, for: network)
    }

    /// The same, and a copy for the student, whose queue it is enqueued on.
    func gather(
        _ selection: BatchSelection, from table: DeviceImageTable, for network: Network, copyingTo student: BatchBuffers
    ) throws {
        let own = try gather(selection, from: table, for: network)
        // Only here: a batch that no loss reads would bring the turn back to logits that one has still to read.
        turn = 1 - turn
        try studentQueue.wait(for: engine.queue)
        try student.copy(own)
        copied = try studentQueue.marker()
        // What the next batch waits for must be on its way, whatever becomes of this step.
        try studentQueue.flush()
    }

    /// Where a plan's logits are for the student's loss to read: where the plan leaves them, unless it may run again before that.
    func logits(of plan: NetworkPlan, _ index: Int) throws(DeviceError) -> DeviceSlice {
        guard overlap else { return plan.output }
        return DeviceSlice(try keptLogits(index, count: plan.output.count, turn: turn), count: plan.output.count)
    }

    /// After a plan's forward pass.
    func keepLogits(of plan: NetworkPlan, _ index: Int) throws(DeviceError) {
        guard overlap else { return }
        let (from, to) = (plan.output, try logits(of: plan, index))
        try engine.queue.copy(Float.self, from: from.buffer, at: from.offset, to: to.buffer, count: from.count)
    }

    /// Lets the student's queue wait for the logits.
    func awaitLogits() throws(DeviceError) {
        if overlap { try studentQueue.wait(for: engine.queue) }
    }

    /// Makes what a batch needs, so that no step allocates.
    func prepareLogits(_ index: Int, count: Int) throws(DeviceError) {
        guard overlap else { return }
        for turn in 0..<2 { _ = try keptLogits(index, count: count, turn: turn) }
    }

    private func keptLogits(_ index: Int, count: Int, turn: Int) throws(DeviceError) -> Buffer {
        let key = KeptKey(teacher: index, count: count, turn: turn)
        if let buffer = kept[key] { return buffer }
        let buffer = try engine.makeBuffer(count, label: "teacher logits")
        kept[key] = buffer
        return buffer
    }
}
