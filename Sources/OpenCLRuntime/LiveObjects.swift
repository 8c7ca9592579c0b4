import Synchronization

/// How many OpenCL objects this process holds, by kind. Leak tests compare two of these: LeakSanitizer is of no use here,
/// because it blames the compilers inside the drivers.
public struct LiveObjects: Sendable, Equatable {
    public var contexts = 0
    public var queues = 0
    public var buffers = 0
    public var programs = 0
    public var kernels = 0
    public var events = 0
    /// Blocks of the host's memory that buffers lie in.
    public var hostBlocks = 0

    /// No objects.
    public init() {}

    public var total: Int { contexts + queues + buffers + programs + kernels + events + hostBlocks }

    /// The counts of this moment, over all contexts of the process.
    public static var now: LiveObjects {
        var now = LiveObjects()
        now.contexts = Kind.contexts.load()
        now.queues = Kind.queues.load()
        now.buffers = Kind.buffers.load()
        now.programs = Kind.programs.load()
        now.kernels = Kind.kernels.load()
        now.events = Kind.events.load()
        now.hostBlocks = Kind.hostBlocks.load()
        return now
    }

    /// The counter of one kind.
    final class Kind: Sendable {
        private let count = Atomic<Int>(0)

        static let contexts = Kind()
        static let queues = Kind()
        static let buffers = Kind()
        static let programs = Kind()
        static let kernels = Kind()
        static let events = Kind()
        static let hostBlocks = Kind()

        func load() -> Int { count.load(ordering: .relaxed) }
        func created() { count.add(1, ordering: .relaxed) }
        func released() { count.subtract(1, ordering: .relaxed) }
    }
}
