import OpenCLRuntime
import RLDGraph

/// Collects the steps of a plan with the values that each reads and writes, then places the values by liveness and turns
/// the steps into launches.
final class PlanBuilder {
    /// A value in planned memory.
    struct Value: Hashable {
        fileprivate let index: Int
    }

    /// Where the values of a finished plan lie.
    struct Memory {
        fileprivate let arenas: [Buffer]
        fileprivate let placements: [MemoryPlan.Placement]
        fileprivate let counts: [Int]
        fileprivate let bound: [Int: DeviceSlice]
        fileprivate let guardElements: Int

        subscript(value: Value) -> DeviceSlice {
            if let slice = bound[value.index] { return slice }
            let place = placements[value.index]
            return DeviceSlice(arenas[place.arena], offset: place.offset + guardElements, count: counts[value.index])
        }

        var bytes: Int { arenas.reduce(0) { $0 + $1.bytes } }

        /// How many guard elements around values were overwritten; 0 without guard zones.
        func damagedGuards(_ queue: CommandQueue) throws(DeviceError) -> Int {
            guard guardElements > 0 else { return 0 }
            var damaged = 0
            for (index, arena) in arenas.enumerated() {
                let bits = try queue.read(UInt32.self, from: arena, count: arena.bytes / 4)
                for (value, place) in placements.enumerated() where place.arena == index && bound[value] == nil {
                    let end = place.offset + guardElements + counts[value]
                    damaged += bits[place.offset..<place.offset + guardElements].count { $0 != PlanBuilder.sentinel }
                    damaged += bits[end..<end + guardElements].count { $0 != PlanBuilder.sentinel }
                }
            }
            return damaged
        }
    }

    /// A quiet NaN that no kernel computes: fills guard zones, so that a read outside a value poisons the result and a write
    /// outside it is seen.
    static let sentinel: UInt32 = 0x7FC0_DEAD

    typealias Emitter = (Memory) throws(DeviceError) -> [Launch]

    private var counts: [Int] = []
    private var firstUse: [Int] = []
    private var lastUse: [Int] = []
    private var pinned: Set<Int> = []
    private var bound: [Int: DeviceSlice] = [:]
    private var emitters: [Emitter] = []
    private var phaseEnds: [Int] = []
    private let guardElements: Int

    /// - Parameter guardElements: sentinels on both sides of every value, which then shares its memory with no other; for tests.
    init(guardElements: Int) { self.guardElements = guardElements }

    func value(_ count: Int) -> Value {
        counts.append(count)
        firstUse.append(Int.max)
        lastUse.append(-1)
        return Value(index: counts.count - 1)
    }

    /// Keeps a value alive through the whole plan: it is read or written from outside.
    func pin(_ value: Value) { pinned.insert(value.index) }

    /// Gives a value a place outside planned memory.
    func bind(_ value: Value, to slice: DeviceSlice) {
        bound[value.index] = slice
        counts[value.index] = 0
    }

    /// Adds a step. Its launches are made once memory is placed.
    func step(reads: [Value], writes: [Value], _ emit: @escaping Emitter) {
        for value in reads + writes {
            firstUse[value.index] = min(firstUse[value.index], emitters.count)
            lastUse[value.index] = max(lastUse[value.index], emitters.count)
        }
        emitters.append(emit)
    }

    /// Ends a phase (forward, backward): its launches can be replayed apart from the others.
    func endPhase() { phaseEnds.append(emitters.count) }

    /// Forgets the steps. They hold what made them, and that holds this builder: without this neither would ever go.
    func discard() { emitters = [] }

    /// Elements that the plan needs, without allocating anything.
    func plan(arenaLimit: Int) throws(InputError) -> MemoryPlan {
        try MemoryPlan(
            counts.indices.map { index in
                guardElements > 0 || pinned.contains(index)
                    ? MemoryPlan.Request(count: counts[index] + 2 * guardElements, firstUse: 0, lastUse: emitters.count)
                    : MemoryPlan.Request(count: counts[index], firstUse: firstUse[index], lastUse: lastUse[index])
            }, arenaLimit: arenaLimit)
    }

    /// Makes the launches, one list per phase.
    /// - Parameter arenas: the plan's, each at least as large as planned.
    func build(_ plan: MemoryPlan, arenas: [Buffer], queue: CommandQueue) throws(DeviceError) -> (Memory, [[Launch]]) {
        if guardElements > 0 {
            for arena in arenas { try queue.write([UInt32](repeating: Self.sentinel, count: arena.bytes / 4), to: arena) }
        }
        let memory = Memory(
            arenas: arenas, placements: plan.placements, counts: counts, bound: bound, guardElements: guardElements)
        var phases: [[Launch]] = []
        var start = 0
        for end in phaseEnds {
            var launches: [Launch] = []
            for emit in emitters[start..<end] { launches += try emit(memory) }
            phases.append(launches)
            start = end
        }
        return (memory, phases)
    }
}
