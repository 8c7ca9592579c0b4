import OpenCLRuntime

/// Multiply-adds between registers, nothing else: the rate that every GFLOP/s is a share of.
package final class ArithmeticPeak {
    private static let chains = 12
    private static let (first, factor, addend): (Float, Float, Float) = (1, 0.5, 1)

    private let engine: DeviceEngine
    private let kernel: Kernel
    private let result: Buffer
    private let rounds: Int
    private let items: Int
    private let local: Int
    private let width: Int

    /// - Parameters:
    ///   - rounds: multiply-adds of each chain, by default so many that every compute unit gets its share; few for simulators.
    ///   - items: work-items; nil for enough to fill the device.
    package init(on engine: DeviceEngine, rounds: Int = 1 << 16, items: Int? = nil) throws(DeviceError) {
        self.engine = engine
        self.rounds = rounds
        // One of the profile's vectors per chain: as wide as the registers on a CPU, a single float on a GPU.
        width = engine.profile == .cpu ? min(16, max(4, engine.device.nativeFloatWidth)) : 1
        kernel = try engine.programs.kernel("multiply_add_peak.cl", "multiply_add_peak", defines: [("VECTOR", "\(width)")])
        local = engine.profile == .cpu ? 1 : min(256, kernel.maxWorkGroupSize)
        let wanted = items ?? (engine.profile == .cpu ? 64 : 16 * local) * engine.device.computeUnits
        self.items = ceilDivide(wanted, local) * local
        result = try engine.makeBuffer(self.items * width, label: "multiply-add peak")
        try kernel.setArguments([
            .int(rounds), .float(Double(Self.first)), .float(Double(Self.factor)), .float(Double(Self.addend)),
            .slice(DeviceSlice(result)),
        ])
    }

    /// Floating-point operations of one run, two per multiply-add.
    package var flops: Double { 2 * Double(Self.chains * rounds) * Double(items * width) }

    package func enqueue() throws(DeviceError) { try engine.queue.enqueue(kernel, global: [items], local: [local]) }

    /// Largest error relative to what the host computes, over all results. Every step is exact or rounds alike on both.
    package func check() throws(DeviceError) -> Double {
        let found = try engine.queue.read(Float.self, from: result, count: items * width)
        let expected = (0..<7).map { start -> Float in
            var sum: Float = 0
            for chain in 0..<Self.chains {
                var value = Self.first + Float(start) + Float(chain)
                for _ in 0..<rounds { value = Self.addend.addingProduct(value, Self.factor) }
                sum += value
            }
            return sum
        }
        var worst = 0.0
        for (index, value) in found.enumerated() {
            let wanted = expected[index / width % 7]
            let error = Double(abs(value - wanted) / abs(wanted))
            if !(error <= worst) { worst = error }
        }
        return worst
    }
}
