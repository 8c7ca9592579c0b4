import Foundation

/// Host memory of writes that the device may not have read yet: freed when its event is over, bounded in size.
final class PendingWrites {
    /// What is being written, freed with this object.
    final class Block {
        let memory: UnsafeMutableRawBufferPointer

        init(_ size: Int) { memory = .allocate(byteCount: size, alignment: 64) }

        deinit { memory.deallocate() }
    }

    /// Bytes of a block at most. An array up to this size is copied, and the write returns at once; a larger one is written in place,
    /// and the write waits.
    static let largestCopy = 4 << 20
    /// No more than this is ever held: then the oldest write is waited for.
    static let most = 64 << 20

    private var entries: [(event: Event, block: Block)] = []
    private(set) var bytes = 0
    /// Times that the host had to wait for room.
    private(set) var waits = 0

    var isEmpty: Bool { entries.isEmpty }

    /// Frees what is over, then as many of the oldest as are needed to make room; nothing if there is room.
    /// Commands of an in-order queue end in order, so the first that is not over ends the search.
    func makeRoom(for wanted: Int) -> Int32 {
        var done = 0
        var status: Int32 = 0
        for entry in entries {
            if !entry.event.isOver {
                if bytes + wanted <= Self.most { break }
                waits += 1
                status = entry.event.wait()
                if status != 0 { break }
            }
            bytes -= entry.block.memory.count
            done += 1
        }
        entries.removeFirst(done)
        return status
    }

    func append(_ event: Event, _ block: Block) {
        entries.append((event, block))
        bytes += block.memory.count
    }

    /// Frees everything. Only after the queue has finished.
    func clear() {
        entries.removeAll(keepingCapacity: true)
        bytes = 0
    }
}
