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

        subscript(value: Value) -> DeviceSlice {
            if let slice = bound[value.index] { return slice }
            let place = placements[value.index]
            return DeviceSlice(arenas[place.arena], offset: place.offset, count: counts[value.index])
        }

        var bytes: Int { arenas.reduce(0) { $0 + $1.bytes } }
    }

    typealias Emitter = (Memory) throws(DeviceError) -> [Launch]

    private var counts: [Int] = []
    private var firstUse: [Int] = []
    private var lastUse: [Int] = []
    private var pinned: Set<Int> = []
    private var bound: [Int: DeviceSlice] = [:]
    private var emitters: [Emitter] = []
    private var phaseEnds: [Int] = []

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

    /// Elements that the plan needs, without allocating anything.
    func plan(arenaLimit: Int) throws(InputError) -> MemoryPlan {
        try MemoryPlan(
            counts.indices.map { index in
                pinned.contains(index)
                    ? MemoryPlan.Request(count: counts[index], firstUse: 0, lastUse: emitters.count)
                    : MemoryPlan.Request(count: counts[index], firstUse: firstUse[index], lastUse: lastUse[index])
            }, arenaLimit: arenaLimit)
    }

    /// Allocates and makes the launches, one list per phase.
    func build(_ plan: MemoryPlan, engine: DeviceEngine, label: String) throws(DeviceError) -> (Memory, [[Launch]]) {
        var arenas: [Buffer] = []
        for count in plan.arenaCounts { arenas.append(try engine.makeBuffer(count, label: label)) }
        let memory = Memory(arenas: arenas, placements: plan.placements, counts: counts, bound: bound)
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
