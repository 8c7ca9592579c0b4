import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods

/// Median and spread of repeated measurements.
public struct Spread: Sendable, Equatable {
    public var p50: Double
    public var p20: Double
    public var p80: Double

    /// Nearest-rank percentiles of at least one value.
    package init(_ values: [Double]) {
        let sorted = values.sorted()
        func at(_ share: Double) -> Double {
            sorted.isEmpty ? .nan : sorted[min(sorted.count - 1, Int((share * Double(sorted.count - 1)).rounded()))]
        }
        (p50, p20, p80) = (at(0.5), at(0.2), at(0.8))
    }

    /// The same of `f` of every value, for an increasing or decreasing f.
    package func map(_ f: (Double) -> Double) -> Spread {
        let ends = [f(p20), f(p80)].sorted()
        var result = self
        (result.p50, result.p20, result.p80) = (f(p50), ends[0], ends[1])
        return result
    }
}

/// What timing one case gave.
public struct BenchmarkResult: Sendable {
    public var name: String
    public var provider: String
    public var mode: String
    public var shape: String
    public var runs: Int
    /// Seconds to build the kernels and fill the buffers, first run included: not part of any other figure.
    public var setup: Double
    /// Of these the OpenCL compiler's, for our own kernels; CLBlast's are in `setup` alone.
    public var building: Double
    /// Worst |error| / bound of the check before timing; nil without one.
    public var worstError: Double?
    /// Seconds from the first launch's start to the last one's end, by device events.
    public var device: Spread
    /// Seconds from the first enqueue to the return of finish, on the host.
    public var wall: Spread
    /// Launches of one run.
    public var launches: Int
    /// Most bytes of device memory that the case held at once.
    public var memory: Int
    /// When each launch of the last timed run was queued and ran.
    public var records: [LaunchRecord]
    /// GB/s; nil where the case counts no bytes.
    public var bandwidth: Spread? = nil
    /// GFLOP/s; nil where the case counts none.
    public var rate: Spread? = nil
    /// Images that a run trains on; 0 where it trains on none.
    public var images = 0
    /// The case's target, if it is missed.
    public var gap: String? = nil

    /// By wall time; nil where nothing is trained on.
    public var imagesPerSecond: Spread? { images > 0 ? wall.map { Double(images) / $0 } : nil }
}

/// Times cases on one device: checked first, then run until the figures are steady.
public final class BenchmarkSession {
    package let engine: DeviceEngine
    /// Lowest number of runs and of seconds per case; a case stops at `longest` seconds whatever it has.
    public struct Effort: Sendable {
        public var runs: Int
        public var seconds: Double
        public var longest: Double

        public init(runs: Int, seconds: Double, longest: Double) {
            (self.runs, self.seconds, self.longest) = (runs, seconds, longest)
        }

        /// For groups of many short cases.
        public static let brief = Effort(runs: 10, seconds: 0.3, longest: 4)
        public static let full = Effort(runs: 20, seconds: 1, longest: 8)
        /// For a look: the figures scatter.
        public static let quick = Effort(runs: 5, seconds: 0.1, longest: 1)
    }
    public let effort: Effort
    /// Whether wall times are taken of runs of their own, whose launches are not timed: that makes some drivers slower.
    private let timesWallApart: Bool
    private var measuredCopy: Double?
    private var measuredPeak: Double?

    /// - Parameters:
    ///   - tuning: what the device's is if nil.
    ///   - precision: of the products of convolutions and linear layers.
    ///   - timesWallApart: off where device times are all that is wanted.
    public init(
        _ device: Device, profile: KernelProfile?, effort: Effort, tuning: ChosenTuning? = nil, precision: Precision = .float32,
        timesWallApart: Bool = true
    ) throws {
        engine = try DeviceEngine(device, profile: profile, profiling: true, tuning: tuning, precision: precision)
        self.effort = effort
        self.timesWallApart = timesWallApart
    }

    public var device: Device { engine.device }
    public var profile: KernelProfile { engine.profile }
    public var tuning: ChosenTuning { engine.tuning }

    /// GB/s of a copy between two buffers of 256 MB, read and written bytes counted; measured once per session.
    public func copyBandwidth() throws -> Double {
        if let measuredCopy { return measuredCopy }
        let copy = try CopyBandwidth.measure(engine, effort: effort)
        measuredCopy = copy
        return copy
    }

    /// GFLOP/s of multiply-adds between registers in float32; measured once per session.
    public func arithmeticPeak() throws -> Double {
        if let measuredPeak { return measuredPeak }
        let peak = try ArithmeticPeak(on: engine)
        try peak.enqueue()
        let worst = try peak.check() / 1e-6
        guard worst <= 1 else { throw BenchmarkError.wrong("multiply-adds between registers", worst) }
        // Not the median: a peak is what the device can do when nothing else is on it.
        let rate = peak.flops / (try Self.measure(engine, effort: effort, peak.enqueue).device.p20) / 1e9
        measuredPeak = rate
        return rate
    }

    /// Checks and times one case.
    /// - Parameter checked: compare with the reference first.
    /// - Throws: `BenchmarkError.wrong` if its result is not the reference's.
    package func run(_ benchmark: any BenchmarkCase, checked: Bool = true) throws -> BenchmarkResult {
        let clock = ContinuousClock()
        let started = clock.now
        let counters = engine.context.counters
        let (held, built) = (counters.allocatedBytes, counters.buildingSeconds)
        let prepared = try benchmark.prepare(on: engine)
        try prepared.enqueue()
        try engine.finish()
        let setup = seconds(started.duration(to: clock.now))
        let memory = counters.allocatedBytes - held
        let worst = checked ? try prepared.check() : nil
        if let worst, !(worst <= 1) { throw BenchmarkError.wrong("\(benchmark.name) \(benchmark.shape)", worst) }
        let times = try Self.measure(engine, effort: effort, wallApart: timesWallApart, prepared.enqueue)
        let building = counters.buildingSeconds - built
        let copy = benchmark.bytes > 0 ? try copyBandwidth() : 0
        let bandwidth = benchmark.bytes > 0 ? times.device.map { benchmark.bytes / $0 / 1e9 } : nil
        return BenchmarkResult(
            name: benchmark.name, provider: benchmark.provider, mode: benchmark.mode, shape: benchmark.shape, runs: times.runs,
            setup: setup, building: building, worstError: worst,
            device: times.device, wall: times.wall, launches: times.records.count, memory: memory,
            records: times.records, bandwidth: bandwidth,
            rate: benchmark.flops > 0 ? times.device.map { benchmark.flops / $0 / 1e9 } : nil, images: benchmark.images,
            gap: bandwidth.flatMap { benchmark.target(profile: profile)?.gap(bandwidth: $0.p50, copy: copy) })
    }

    /// What a run times in which a program is built does not count, nor do the runs before it, which did without that program.
    static func measure(
        _ engine: DeviceEngine, effort: Effort, wallApart: Bool = false, _ enqueue: () throws -> Void
    ) throws -> (device: Spread, wall: Spread, runs: Int, records: [LaunchRecord]) {
        let clock = ContinuousClock()
        let counters = engine.context.counters
        for _ in 0..<2 { try enqueue() }
        try engine.finish()
        _ = try engine.drainProfile()
        var device: [Double] = []
        var wall: [Double] = []
        var records: [LaunchRecord] = []
        var began = clock.now
        while true {
            let built = counters.programsBuilt
            func timeWall() throws {
                let start = clock.now
                try enqueue()
                try engine.finish()
                wall.append(seconds(start.duration(to: clock.now)))
            }
            if wallApart { try enqueue() } else { try timeWall() }
            records = try engine.drainProfile()
            let first = records.map(\.start).min() ?? 0
            let last = records.map(\.end).max() ?? 0
            device.append(Double(max(last, first) - first) / 1e9)
            if wallApart { try engine.untimed(timeWall) }
            guard counters.programsBuilt == built else {
                (device, wall, began) = ([], [], clock.now)
                continue
            }
            let total = seconds(began.duration(to: clock.now))
            if (wall.count >= effort.runs && total >= effort.seconds) || total >= effort.longest { break }
        }
        guard records.isEmpty || device.contains(where: { $0 > 0 }) else {
            throw DeviceError(.unsupported, "the driver's clock on \(engine.device) is too coarse to time launches by")
        }
        return (Spread(device), Spread(wall), wall.count, records)
    }
}

/// A benchmark that must not report a time.
public enum BenchmarkError: Error, CustomStringConvertible {
    /// A case whose result differs from the reference by so many times its bound.
    case wrong(String, Double)

    public var description: String {
        switch self {
        case .wrong(let what, let ratio): "\(what): the result is wrong by \(ratio) times its bound; nothing was timed"
        }
    }
}

func seconds(_ duration: Duration) -> Double {
    let (whole, attoseconds) = duration.components
    return Double(whole) + Double(attoseconds) * 1e-18
}
