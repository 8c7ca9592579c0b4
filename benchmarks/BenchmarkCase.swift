import OpenCLRuntime
import RLDExecution

/// One thing to time on a device: what it is called, what it moves, and how it is made ready.
package protocol BenchmarkCase {
    /// What runs, for example a method's id.
    var name: String { get }
    /// Who computes it; `rld` but for what it is compared with.
    var provider: String { get }
    /// What a run covers: `loss and gradient`, `forward`, `step` ...
    var mode: String { get }
    /// Sizes, for example `8192x1000`.
    var shape: String { get }
    /// Bytes that one run moves at least; 0 where bandwidth says nothing.
    var bytes: Double { get }
    /// Floating-point operations of one run; 0 where their rate says nothing.
    var flops: Double { get }
    /// Images that one run trains on; 0 where that says nothing.
    var images: Int { get }
    /// What the project asks of this case on this kind of device; nil: nothing.
    func target(profile: KernelProfile) -> BenchmarkTarget?
    /// Buffers filled and kernels built; none of it is timed as a run.
    func prepare(on engine: DeviceEngine) throws -> any BenchmarkRun
}

/// A case made ready on one device.
package protocol BenchmarkRun {
    /// Worst |error| / bound against the reference, on what one run gave. More than 1 is wrong, and nothing is timed then.
    func check() throws -> Double
    /// Enqueues one run and returns at once.
    func enqueue() throws
}

extension BenchmarkCase {
    package var provider: String { "rld" }
    package var flops: Double { 0 }
    package var images: Int { 0 }
    package func target(profile: KernelProfile) -> BenchmarkTarget? { nil }
}

/// A lowest rate that a case is held to.
public struct BenchmarkTarget: Sendable, Equatable {
    /// GB/s that must be reached; nil: no fixed rate.
    public var bandwidth: Double?
    /// Share of the copy bandwidth that must be reached; nil: none.
    public var share: Double?

    public init(bandwidth: Double? = nil, share: Double? = nil) {
        self.bandwidth = bandwidth
        self.share = share
    }

    /// What is missing, in words; nil when the target is met.
    public func gap(bandwidth found: Double, copy: Double) -> String? {
        let wanted = max(bandwidth ?? 0, (share ?? 0) * copy)
        guard found < wanted else { return nil }
        let reason = share.map { "\(Int(100 * $0)) % of the copy bandwidth is " } ?? ""
        return "\(rounded(found)) GB/s, \(reason)\(rounded(wanted)) GB/s wanted: \(rounded(100 * (1 - found / wanted))) % short"
    }

    private func rounded(_ value: Double) -> Double { (value * 10).rounded() / 10 }
}
