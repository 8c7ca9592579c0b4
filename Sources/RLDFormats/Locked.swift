import Foundation

/// A value that threads change in turn. Behind a lock of the system, which ThreadSanitizer knows; Synchronization's Mutex it takes
/// for a race.
package final class Locked<Value>: @unchecked Sendable {
    private let lock = NSLock()
    private var value: Value

    package init(_ value: Value) { self.value = value }

    package func withLock<Result>(_ body: (inout Value) throws -> Result) rethrows -> Result {
        lock.lock()
        defer { lock.unlock() }
        return try body(&value)
    }
}
