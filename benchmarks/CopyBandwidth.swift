import OpenCLRuntime
import RLDExecution

/// The yardstick of every share: how fast the device copies.
enum CopyBandwidth {
    private static let bytes = 256_000_000

    /// GB/s between two buffers of 256 MB, bytes read plus bytes written. Both ways there are, the better one counts: a plain
    /// kernel, and the driver's own copy.
    static func measure(_ engine: DeviceEngine, effort: BenchmarkSession.Effort) throws -> Double {
        let count = bytes / 4
        let source = try Buffer(engine.context, bytes: bytes, label: "copy source")
        let target = try Buffer(engine.context, bytes: bytes, label: "copy target")
        try engine.queue.fill(source, Float(1))
        try engine.queue.fill(target, Float(0))
        let width = engine.profile == .cpu ? 16 : 4
        let kernel = try engine.programs.kernel("copy.cl", "copy_elements", defines: [("VECTOR", "\(width)")])
        try kernel.setArgument(0, UInt64(count))
        try kernel.setArgument(1, source)
        try kernel.setArgument(2, UInt64(0))
        try kernel.setArgument(3, target)
        try kernel.setArgument(4, UInt64(0))
        let local = min(256, kernel.maxWorkGroupSize)
        let items = (count / width + local - 1) / local * local
        let times = try BenchmarkSession.measure(engine, effort: effort) {
            try engine.queue.enqueue(kernel, global: [items], local: [local])
        }
        var best = times.device.p50
        // Transfers leave no launch record: timed on the host, between two finishes, which 256 MB make negligible.
        let clock = ContinuousClock()
        var copies: [Double] = []
        for _ in 0..<max(3, times.runs / 4) {
            let start = clock.now
            try engine.queue.copy(Float.self, from: source, to: target, count: count)
            try engine.queue.finish()
            copies.append(seconds(start.duration(to: clock.now)))
        }
        best = min(best, Spread(copies).p50)
        return 2 * Double(bytes) / best / 1e9
    }
}
