import OpenCLRuntime
import RLDGraph

/// Collects the steps of a plan with the values that each reads and writes, then places the values by liveness and turns
/// the steps into launches.
package final class PlanBuilder {
    /// A value in planned memory.
    package struct Value: Hashable {
        fileprivate let index: Int
        /// How its elements are stored.
        let element: StoredElement
    }

    /// Where the values of a finished plan lie.
    package struct Memory {
        fileprivate let arenas: [Buffer]
        fileprivate let placements: [MemoryPlan.Placement]
        /// Of each value, in words of 4 bytes.
        fileprivate let counts: [Int]
        fileprivate let elements: [Int]
        fileprivate let bound: [Int: DeviceSlice]
        fileprivate let guardElements: Int
        /// Of the step whose launches are made now.
        fileprivate var declared: Declared?

        package subscript(value: Value) -> DeviceSlice {
            declared?.look(value.index)
            if let slice = bound[value.index] { return slice }
            let place = placements[value.index]
            return DeviceSlice(
                arenas[place.arena], offset: (place.offset + guardElements) * (4 / value.element.size),
                count: elements[value.index], element: value.element)
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

    /// The values that a step said it reads and writes. The memory of any other may hold something else by then.
    fileprivate final class Declared {
        private let values: Set<Int>
        private(set) var hasMissed = false

        init(_ values: Set<Int>) { self.values = values }

        func look(_ value: Int) { hasMissed = hasMissed || !values.contains(value) }
    }

    /// A quiet NaN that no kernel computes: fills guard zones, so that a read outside a value poisons the result and a write
    /// outside it is seen.
    static let sentinel: UInt32 = 0x7FC0_DEAD

    package typealias Emitter = (Memory) throws(DeviceError) -> [Launch]

    private var counts: [Int] = []
    private var elements: [Int] = []
    private var firstUse: [Int] = []
    private var lastUse: [Int] = []
    private var pinned: Set<Int> = []
    private var bound: [Int: DeviceSlice] = [:]
    private var steps: [(values: Set<Int>, emit: Emitter)] = []
    private var phaseEnds: [Int] = []
    private var nodeStarts: [(node: Network.NodeID, phase: Int, emitter: Int)] = []
    private let guardElements: Int

    /// - Parameter guardElements: sentinels on both sides of every value, which then shares its memory with no other; for tests.
    package init(guardElements: Int) { self.guardElements = guardElements }

    package func value(_ count: Int, _ element: StoredElement = .float32) -> Value {
        counts.append(ceilDivide(count * element.size, 4))
        elements.append(count)
        firstUse.append(Int.max)
        lastUse.append(-1)
        return Value(index: counts.count - 1, element: element)
    }

    /// Keeps a value alive through the whole plan: it is read or written from outside.
    func pin(_ value: Value) { pinned.insert(value.index) }

    /// Gives a value a place outside planned memory.
    func bind(_ value: Value, to slice: DeviceSlice) {
        bound[value.index] = slice
        counts[value.index] = 0
    }

    /// Adds a step. Its launches are made once memory is placed.
    package func step(reads: [Value], writes: [Value], _ emit: @escaping Emitter) {
        for value in reads + writes {
            firstUse[value.index] = min(firstUse[value.index], steps.count)
            lastUse[value.index] = max(lastUse[value.index], steps.count)
        }
        steps.append((Set((reads + writes).map(\.index)), emit))
    }

    /// Says whose steps follow.
    func begin(_ node: Network.NodeID) { nodeStarts.append((node, phaseEnds.count, steps.count)) }

    /// Ends a phase (forward, backward): its launches can be replayed apart from the others.
    package func endPhase() { phaseEnds.append(steps.count) }

    /// Forgets the steps. They hold what made them, and that holds this builder: without this neither would ever go.
    func discard() { steps = [] }

    /// Elements that the plan needs, without allocating anything.
    package func plan(arenaLimit: Int) throws(InputError) -> MemoryPlan {
        try MemoryPlan(
            counts.indices.map { index in
                guardElements > 0 || pinned.contains(index)
                    ? MemoryPlan.Request(count: counts[index] + 2 * guardElements, firstUse: 0, lastUse: steps.count)
                    : MemoryPlan.Request(count: counts[index], firstUse: firstUse[index], lastUse: lastUse[index])
            }, arenaLimit: arenaLimit)
    }

    /// The launches of one node in one phase.
    package struct Section {
        let node: Network.NodeID
        let launches: Range<Int>
    }

    /// A phase's launches, and whose they are.
    package struct Phase {
        var launches: [Launch] = []
        var sections: [Section] = []
    }

    /// Makes the launches, one list per phase.
    /// - Parameter arenas: the plan's, each at least as large as planned.
    /// - Throws: `.failed` for a step that uses a value which it did not declare: its memory is another's by then.
    package func build(_ plan: MemoryPlan, arenas: [Buffer], queue: CommandQueue) throws(DeviceError) -> (Memory, [Phase]) {
        if guardElements > 0 {
            for arena in arenas { try queue.write([UInt32](repeating: Self.sentinel, count: arena.bytes / 4), to: arena) }
        }
        let memory = Memory(
            arenas: arenas, placements: plan.placements, counts: counts, elements: elements, bound: bound,
            guardElements: guardElements)
        var phases: [Phase] = []
        var start = 0
        var nodes = nodeStarts[...]
        for (index, end) in phaseEnds.enumerated() {
            var phase = Phase()
            // Where each emitter's launches begin, to find the sections by.
            var first: [Int] = []
            for step in steps[start..<end] {
                first.append(phase.launches.count)
                let declared = Declared(step.values)
                var view = memory
                view.declared = declared
                phase.launches += try step.emit(view)
                guard !declared.hasMissed else {
                    throw DeviceError(
                        .failed,
                        "a step of '\(phase.launches.last?.node ?? "")' uses a value that it does not say it reads or writes")
                }
            }
            first.append(phase.launches.count)
            while let here = nodes.first, here.phase == index {
                nodes.removeFirst()
                let next = nodes.first.flatMap { $0.phase == index ? $0.emitter : nil } ?? end
                phase.sections.append(
                    Section(node: here.node, launches: first[here.emitter - start]..<first[next - start]))
            }
            phases.append(phase)
            start = end
        }
        return (memory, phases)
    }
}
