import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods

/// How long a training takes from nothing to the end of its first step: context, weights on the device, plans, kernels, the step.
/// The networks' weights themselves come from a file in a training and are made beforehand. Measure while no other context of the device
/// lives: they would share what is compiled.
package struct FirstStep: Sendable {
    package var seconds: Double
    /// Of these the OpenCL compiler's, CLBlast's programs not counted; next to nothing where the driver's cache holds them.
    package var building: Double
    package var programs: Int

    package static func measure(
        _ benchmark: StepBenchmark, device: Device, profile: KernelProfile?, precision: Precision = .float32
    ) throws -> FirstStep {
        let table = benchmark.table
        let states = benchmark.states()
        let start = ContinuousClock.now
        let engine = try DeviceEngine(device, profile: profile, precision: precision)
        let executor = try DeviceExecutor(engine: engine, teacherStorage: benchmark.teacherStorage)
        try StepBenchmarkRun.prepare(executor, benchmark, table, states)
        try executor.trainStep(
            benchmark.selection(1, table: table), method: StepBenchmark.method, warmup: 1, update: StepBenchmark.update)
        try engine.finish()
        let counters = engine.context.counters
        return FirstStep(
            seconds: RLDBenchmarks.seconds(start.duration(to: .now)), building: counters.buildingSeconds,
            programs: counters.programsBuilt)
    }

    package var text: String {
        func digits(_ value: Double) -> Double { (value * 100).rounded() / 100 }
        return "\(digits(seconds)) s, of which \(digits(building)) s building \(programs) programs"
    }
}
