import OpenCLRuntime
import RLDGraph
import RLDMethods

/// A network compiled for one batch size and mode: a flat list of launches over planned memory, replayed for every batch.
package final class NetworkPlan {
    package enum Mode: Sendable {
        /// Running statistics, nothing kept for a backward pass.
        case inference
        /// Batch statistics, which move the running ones; forward and backward.
        case training
    }

    package let network: Network
    package let batch: Int
    package let mode: Mode
    /// The network's input, [batch, height, width, channels].
    package let input: DeviceSlice
    /// The network's output, [batch, classes].
    package let output: DeviceSlice
    /// d loss / d output, to be written before `backward`; training mode only.
    package let outputGradient: DeviceSlice?
    /// Bytes of activations, gradients and workspaces.
    package let bytes: Int

    let engine: DeviceEngine
    let store: ParameterStore
    let forwardPhase: PlanBuilder.Phase
    let backwardPhase: PlanBuilder.Phase
    let places: Places
    private let visible: [Network.NodeID: DeviceSlice]
    let memory: PlanBuilder.Memory

    /// A plan that is laid out, without memory yet.
    final class Draft {
        fileprivate let lowering: Lowering
        fileprivate let keeping: Set<Network.NodeID>
        fileprivate let inputGradient: Bool
        fileprivate let plan: MemoryPlan
        /// Elements of each arena.
        var arenaCounts: [Int] { plan.arenaCounts }

        /// - Throws: `InputError` if one value exceeds the device's largest allocation, `DeviceError` if the device fails.
        init(
            _ network: Network, store: ParameterStore, batch: Int, mode: Mode, input: DeviceSlice? = nil,
            output: DeviceSlice? = nil, keeping: Set<Network.NodeID> = [], inputGradient: Bool = false,
            storage: TeacherStorage = .float32
        ) throws {
            let engine = store.engine
            var lowering = Lowering(
                network: network, batch: batch, mode: mode, engine: engine, store: store,
                pass: mode == .training ? network.backwardPass(includingInput: inputGradient) : nil,
                storage: mode == .inference ? storage : .float32)
            if let input { lowering.builder.bind(lowering.value(0), to: input) }
            if let output { lowering.builder.bind(lowering.value(network.output), to: output) }
            do {
                try lowering.lower(keeping: keeping)
                plan = try lowering.builder.plan(arenaLimit: engine.allocationLimit / 4)
            } catch {
                lowering.builder.discard()
                throw error
            }
            self.lowering = lowering
            self.keeping = keeping
            self.inputGradient = inputGradient
        }

        deinit { lowering.builder.discard() }
    }

    /// - Parameters:
    ///   - network: what to run; fuse it first (`Network.fusingEpilogues`). Its parameters must be those of the store.
    ///   - input: where the input lies, if it is not to have a place of its own.
    ///   - memory: shared with other plans, whose runs overwrite what this one leaves there; its own if nil.
    ///   - keeping: nodes whose values stay readable (`value(of:)`).
    ///   - inputGradient: also compute d loss / d input; it stays readable (`gradientOfInput`).
    ///   - storage: of the activations of an inference plan.
    /// - Throws: `InputError` if the plan does not fit the device's memory, `DeviceError` if the device fails.
    package convenience init(
        _ network: Network, store: ParameterStore, batch: Int, mode: Mode, input: DeviceSlice? = nil, memory: PlanMemory? = nil,
        keeping: Set<Network.NodeID> = [], inputGradient: Bool = false, storage: TeacherStorage = .float32
    ) throws {
        try self.init(
            Draft(
                network, store: store, batch: batch, mode: mode, input: input, keeping: keeping, inputGradient: inputGradient,
                storage: storage),
            memory: memory)
    }

    /// - Throws: `InputError` if the plan does not fit the device's memory, `DeviceError` if the device fails.
    init(_ draft: Draft, memory shared: PlanMemory?) throws {
        let (lowering, plan) = (draft.lowering, draft.plan)
        network = lowering.network
        batch = lowering.batch
        mode = lowering.mode
        store = lowering.store
        engine = store.engine
        // Guard zones do not bear other plans.
        let pool = engine.guardElements > 0 ? PlanMemory(engine) : shared ?? PlanMemory(engine)
        let needed = pool.missingBytes(plan.arenaCounts)
        // Buffers that are no plan's may take more than the limit.
        let free = max(0, engine.memoryLimit - engine.context.counters.allocatedBytes)
        guard needed <= free else {
            let fitting = free * batch / needed
            throw InputError(
                "batch \(batch)",
                "\(network.id) needs \(needed >> 20) MiB for it, \(engine.device.name) has \(free >> 20) MiB left",
                advice: (fitting > 0 ? "a batch of about \(fitting) would fit" : "use a smaller network or another device")
                    + (pool.advice.isEmpty ? "" : "; \(pool.advice)"))
        }
        let (memory, phases) = try lowering.builder.build(
            plan, arenas: pool.arenas(plan.arenaCounts), queue: engine.queue)
        forwardPhase = phases[0]
        backwardPhase = phases.count > 1 ? phases[1] : PlanBuilder.Phase()
        places = Places(
            values: network.nodes.indices.map { lowering.value($0) },
            gradients: lowering.pass == nil ? [] : network.nodes.indices.map { lowering.gradient($0) })
        input = memory[lowering.value(0)]
        output = memory[lowering.value(network.output)]
        outputGradient = mode == .training ? memory[lowering.gradient(network.output)] : nil
        visible = Dictionary(uniqueKeysWithValues: draft.keeping.map { ($0, memory[lowering.value($0)]) })
        gradientOfInput = draft.inputGradient && mode == .training ? memory[lowering.gradient(0)] : nil
        bytes = plan.totalCount * 4
        self.memory = memory
    }

    /// Bytes of activations, gradients and workspaces that a plan would take, without allocating them.
    /// - Throws: as `init`, but not for memory that is in use.
    package static func plannedBytes(
        _ network: Network, batch: Int, mode: Mode, storage: TeacherStorage = .float32, on engine: DeviceEngine
    ) throws -> Int {
        let pass = mode == .training ? network.backwardPass() : nil
        let store = try ParameterStore(
            network, engine: engine, trainable: mode == .training, needsInputGradient: pass?.nodesGivingInputGradient ?? [])
        return try Draft(network, store: store, batch: batch, mode: mode, storage: storage).plan.totalCount * 4
    }

    /// d loss / d input, [batch, height, width, channels], if it was asked for.
    package let gradientOfInput: DeviceSlice?

    /// Enqueues the forward pass.
    package func forward() throws(DeviceError) {
        if mode == .training { store.countBatch() }
        try engine.replay(forwardPhase.launches)
    }

    /// Enqueues the backward pass; parameter gradients are overwritten in the store.
    package func backward() throws(DeviceError) { try engine.replay(backwardPhase.launches) }

    /// A kept node's value in logical order, [batch] + its shape (NCHW).
    package func value(of node: Network.NodeID) throws(DeviceError) -> [Double] {
        guard let slice = visible[node] else { return [] }
        return Layout.toNCHW(try engine.read(slice), batch: batch, shape: network.nodes[node].shape)
    }

    /// Guard elements that something overwrote; 0 without guard zones (`DeviceEngine.guardElements`).
    package func damagedGuards() throws(DeviceError) -> Int { try memory.damagedGuards(engine.queue) }

    /// Writes a batch of images given in NCHW order.
    package func write(_ images: [Double]) throws(DeviceError) {
        try engine.write(Layout.toNHWC(images, batch: batch, shape: network.inputShape), to: input)
    }
}

/// Reorders whole values on the host; the device keeps channels last.
package enum Layout {
    package static func toNHWC(_ x: [Double], batch: Int, shape: [Int]) -> [Double] {
        reorder(x, batch: batch, shape: shape) { y, x, channelsLast, channelsFirst in y[channelsLast] = x[channelsFirst] }
    }

    package static func toNCHW(_ x: [Double], batch: Int, shape: [Int]) -> [Double] {
        reorder(x, batch: batch, shape: shape) { y, x, channelsLast, channelsFirst in y[channelsFirst] = x[channelsLast] }
    }

    private static func reorder(
        _ x: [Double], batch: Int, shape: [Int], _ move: (inout [Double], [Double], Int, Int) -> Void
    ) -> [Double] {
        guard shape.count == 3 else { return x }
        let (channels, plane) = (shape[0], shape[1] * shape[2])
        var y = x
        for n in 0..<batch {
            for c in 0..<channels {
                for p in 0..<plane { move(&y, x, (n * plane + p) * channels + c, (n * channels + c) * plane + p) }
            }
        }
        return y
    }
}
