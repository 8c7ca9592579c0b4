import RLDGraph
import Testing

@Suite("Memory plan") struct MemoryPlanTests {
    @Test func valuesThatLiveTogetherNeverOverlap() throws {
        for seed in UInt64(0)..<50 {
            let requests = (0..<60).map { i in
                let counter = UInt64(i) * 3
                let first = CounterRandom.integer(below: 40, seed: seed, stream: 0, counter: counter)
                return MemoryPlan.Request(
                    count: 1 + CounterRandom.integer(below: 1000, seed: seed, stream: 0, counter: counter + 1), firstUse: first,
                    lastUse: first + CounterRandom.integer(below: 10, seed: seed, stream: 0, counter: counter + 2))
            }
            let limit = 3000
            let plan = try MemoryPlan(requests, arenaLimit: limit, alignment: 16)
            #expect(plan.arenaCounts.allSatisfy { $0 <= limit })
            for (i, a) in requests.enumerated() {
                let p = plan.placements[i]
                #expect(p.offset % 16 == 0 && p.offset + a.count <= plan.arenaCounts[p.arena])
                for (j, b) in requests.enumerated().dropFirst(i + 1) {
                    let q = plan.placements[j]
                    let together = a.firstUse <= b.lastUse && b.firstUse <= a.lastUse
                    let apart = p.arena != q.arena || p.offset + a.count <= q.offset || q.offset + b.count <= p.offset
                    #expect(!together || apart, "values \(i) and \(j) share memory")
                }
            }
        }
    }

    @Test func aChainNeedsTwoValues() throws {
        // Each value is read by the next step only: two places serve ten values.
        let requests = (0..<10).map { MemoryPlan.Request(count: 64, firstUse: $0, lastUse: $0 + 1) }
        #expect(try MemoryPlan(requests, arenaLimit: 1 << 20).totalCount == 128)
    }

    @Test func valuesShareAnArenaOnlyWhereAllOfThemCanBeAddressed() throws {
        let requests = [90, 40, 30, 300].map { MemoryPlan.Request(count: $0, firstUse: 0, lastUse: 1) }
        let plan = try MemoryPlan(requests, arenaLimit: 1000, addressLimit: 128, alignment: 1)
        for (request, placement) in zip(requests, plan.placements) {
            #expect(placement.offset == 0 || placement.offset + request.count <= 128)
        }
        // Alone, a larger one begins its arena.
        #expect(plan.placements[3].offset == 0 && plan.arenaCounts[plan.placements[3].arena] == 300)
        #expect(plan.placements[0].arena == plan.placements[2].arena && plan.placements[1].arena != plan.placements[0].arena)
        #expect(try MemoryPlan(requests, arenaLimit: 1000, alignment: 1).arenaCounts == [460])
    }

    @Test func oneValueBeyondTheLimitIsAnError() {
        #expect(throws: InputError.self) {
            try MemoryPlan([MemoryPlan.Request(count: 100, firstUse: 0, lastUse: 0)], arenaLimit: 99)
        }
    }
}
