import OpenCLRuntime
import RLDExecution

/// What is not a network operation: losses, the gathering of batches, the optimiser, the yardstick of benchmarks.
extension DeviceChecks {
    package static func trainingChecks(tiny: Bool, engine: DeviceEngine) -> [Check] {
        let yardstick = Check(name: "multiply-adds between registers") { engine in
            let peak = try ArithmeticPeak(on: engine, rounds: tiny ? 3 : 40, items: tiny ? 3 : nil)
            try peak.enqueue()
            var worst = Worst()
            // Every step rounds as the host's does.
            worst.add(try peak.check() / 1e-6, "sums")
            return CheckResult(worst)
        }
        return lossChecks(tiny: tiny) + [yardstick] + (tiny ? [] : matrixChecks()) + stepChecks(tiny: tiny)
    }

    /// Writes past the end of a buffer on purpose: a checker that watches the device must complain.
    public static func plantFault(_ device: Device) throws {
        let engine = try DeviceEngine(device)
        let kernel = try engine.programs.kernel("planted_fault.cl", "planted_fault")
        let buffer = try Buffer(engine.context, bytes: 16, label: "planted fault")
        try kernel.setArgument(0, UInt64(4))
        try kernel.setArgument(1, buffer)
        try engine.queue.enqueue(kernel, global: [4])
        try engine.queue.finish()
    }
}
