/// Where values live: offsets in a few arenas, so that values whose lifetimes do not overlap share memory.
public struct MemoryPlan: Sendable, Equatable {
    /// One value to place: `count` elements, alive from `firstUse` to `lastUse` inclusive.
    public struct Request: Sendable, Equatable {
        public var count: Int
        public var firstUse: Int
        public var lastUse: Int

        public init(count: Int, firstUse: Int, lastUse: Int) {
            self.count = count
            self.firstUse = firstUse
            self.lastUse = lastUse
        }
    }

    public struct Placement: Sendable, Equatable {
        public var arena: Int
        /// In elements, a multiple of the alignment.
        public var offset: Int
    }

    /// One per request, in the order of the requests.
    public let placements: [Placement]
    /// Elements of each arena.
    public let arenaCounts: [Int]

    public var totalCount: Int { arenaCounts.reduce(0, +) }

    /// Places values greedily, largest first, each at the lowest free offset of the first arena that has room: within a few
    /// per cent of the liveness bound for chains like these networks.
    /// - Parameters:
    ///   - arenaLimit: most elements of one arena (a device's largest allocation).
    ///   - addressLimit: most elements that values may share an arena within: libraries count elements in 32 bits. A larger value
    ///     begins its arena.
    ///   - alignment: of offsets, in elements.
    /// - Throws: `InputError` if one value alone exceeds the limit.
    public init(_ requests: [Request], arenaLimit: Int, addressLimit: Int = Int(Int32.max), alignment: Int = 64)
        throws(InputError)
    {
        var placed: [(request: Int, placement: Placement)] = []
        var placements = Array(repeating: Placement(arena: 0, offset: 0), count: requests.count)
        var arenas: [Int] = []

        for index in requests.indices.sorted(by: { (requests[$0].count, $1) > (requests[$1].count, $0) }) {
            let request = requests[index]
            guard request.count <= arenaLimit else {
                throw InputError(
                    "memory plan",
                    "one value needs \(request.count * 4) bytes, the device allocates at most \(arenaLimit * 4) at once",
                    advice: "use a smaller batch")
            }
            var arena = 0
            while true {
                let neighbours = placed.filter {
                    $0.placement.arena == arena && requests[$0.request].firstUse <= request.lastUse
                        && request.firstUse <= requests[$0.request].lastUse
                }.map { (start: $0.placement.offset, end: $0.placement.offset + requests[$0.request].count) }
                    .sorted { $0.start < $1.start }
                var offset = 0
                for neighbour in neighbours {
                    if offset + request.count <= neighbour.start { break }
                    offset = max(offset, (neighbour.end + alignment - 1) / alignment * alignment)
                }
                if offset + request.count <= (offset == 0 ? arenaLimit : min(arenaLimit, addressLimit)) {
                    placements[index] = Placement(arena: arena, offset: offset)
                    placed.append((index, placements[index]))
                    if arena == arenas.count { arenas.append(0) }
                    arenas[arena] = max(arenas[arena], offset + request.count)
                    break
                }
                arena += 1
            }
        }
        self.placements = placements
        self.arenaCounts = arenas
    }
}
