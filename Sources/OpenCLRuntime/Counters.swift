import Synchronization

/// What happened in one context so far. Tests and `rld bench` gate on these rather than on time: they are the same on every machine.
public final class Counters: Sendable {
    private let launchCount = Atomic<Int>(0)
    private let allocationCount = Atomic<Int>(0)
    private let currentBytes = Atomic<Int>(0)
    private let mostBytes = Atomic<Int>(0)
    private let programCount = Atomic<Int>(0)
    private let kernelCount = Atomic<Int>(0)
    private let buildNanoseconds = Atomic<Int64>(0)
    private let synchronisationCount = Atomic<Int>(0)
    private let steady = Atomic<Bool>(false)

    init() {}

    /// Kernel launches, those of CLBlast included (a routine of several launches counts as one).
    public var launches: Int { launchCount.load(ordering: .relaxed) }
    /// Buffers created.
    public var allocations: Int { allocationCount.load(ordering: .relaxed) }
    /// Bytes of the buffers that exist now.
    public var allocatedBytes: Int { currentBytes.load(ordering: .relaxed) }
    /// The most that `allocatedBytes` has been.
    public var peakBytes: Int { mostBytes.load(ordering: .relaxed) }
    /// Programs built, or taken from another context of the device that had built them.
    public var programsBuilt: Int { programCount.load(ordering: .relaxed) }
    /// Seconds that building them took.
    public var buildingSeconds: Double { Double(buildNanoseconds.load(ordering: .relaxed)) * 1e-9 }
    /// Kernel objects created.
    public var kernelsCreated: Int { kernelCount.load(ordering: .relaxed) }
    /// Times the host waited for the device: blocking reads, large writes, `finish`.
    public var hostSynchronisations: Int { synchronisationCount.load(ordering: .relaxed) }

    /// True between `markSteadyState()` and `markSteadyState(false)`.
    public var isSteadyState: Bool { steady.load(ordering: .relaxed) }

    /// Says that everything needed is built: under `RLD_ASSERT_COMPILE=1` a later build fails.
    public func markSteadyState(_ steady: Bool = true) {
        self.steady.store(steady, ordering: .relaxed)
    }

    func launched() { launchCount.add(1, ordering: .relaxed) }
    func builtProgram(in time: Duration) {
        programCount.add(1, ordering: .relaxed)
        let (seconds, attoseconds) = time.components
        buildNanoseconds.add(seconds * 1_000_000_000 + attoseconds / 1_000_000_000, ordering: .relaxed)
    }
    func createdKernel() { kernelCount.add(1, ordering: .relaxed) }
    func synchronised() { synchronisationCount.add(1, ordering: .relaxed) }

    func allocated(_ bytes: Int) {
        allocationCount.add(1, ordering: .relaxed)
        mostBytes.max(currentBytes.add(bytes, ordering: .relaxed).newValue, ordering: .relaxed)
    }

    func freed(_ bytes: Int) { currentBytes.subtract(bytes, ordering: .relaxed) }
}
