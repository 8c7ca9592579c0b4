import COpenCL
import Foundation

/// Host memory of writes that the device may not have read yet: freed when its event is over, bounded in size.
package final class PendingWrites {
    /// What is being written, freed with this object.
    package final class Block {
        let memory: UnsafeMutableRawBufferPointer

        package init(_ size: Int) { memory = .allocate(byteCount: size, alignment: 64) }

        deinit { memory.deallocate() }
    }

    private struct Entry {
        let event: Event
        let block: Block
        /// What is written to.
        let label: String
    }

    /// Bytes of a block at most. An array up to this size is copied, and the write returns at once; a larger one is written in place,
    /// and the write waits.
    static let largestCopy = 4 << 20
    /// No more than this is ever held: then the oldest write is waited for.
    static let most = 64 << 20

    private var entries: [Entry] = []
    package private(set) var bytes = 0
    /// Times that the host had to wait for room.
    private(set) var waits = 0

    package init() {}

    /// Frees what is over, then as many of the oldest as are needed to make room; nothing if there is room.
    /// Commands of an in-order queue end in order, so the first that is not over ends the search.
    /// - Throws: if one of them failed, which is then no longer held.
    package func makeRoom(for wanted: Int) throws(DeviceError) {
        var done = 0
        defer { entries.removeFirst(done) }
        for entry in entries {
            // What the driver does not tell the end of may still be read.
            var status = entry.event.executionStatus ?? CL_QUEUED
            if status > CL_COMPLETE {
                if bytes + wanted <= Self.most { break }
                waits += 1
                status = entry.event.wait()
                // The device may still read what could not be waited for.
                if status != 0, !entry.event.isOver { throw Self.failure(of: entry, status) }
            }
            bytes -= entry.block.memory.count
            done += 1
            if status < CL_COMPLETE { throw Self.failure(of: entry, status) }
        }
    }

    package func append(_ event: Event, _ block: Block, to label: String) {
        entries.append(Entry(event: event, block: block, label: label))
        bytes += block.memory.count
    }

    /// Frees everything. Only after the queue has finished.
    /// - Throws: if one of the writes failed.
    package func clear() throws(DeviceError) {
        defer {
            entries.removeAll(keepingCapacity: true)
            bytes = 0
        }
        for entry in entries {
            if let status = entry.event.executionStatus, status < CL_COMPLETE { throw Self.failure(of: entry, status) }
        }
    }

    /// Never frees what it holds: the device may read it for as long as the process lives.
    func abandon() {
        for entry in entries { _ = Unmanaged.passRetained(entry.block) }
        entries = []
    }

    private static func failure(of entry: Entry, _ status: Int32) -> DeviceError {
        DeviceError(
            status: CLStatus(rawValue: status), or: .transferFailed,
            message: "an earlier write of \(entry.block.memory.count) bytes to buffer '\(entry.label)'")
    }
}
