import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDTraining
import TestSupport
import Testing

/// Every operation, reference against device, at awkward sizes, in both kernel profiles, with guard zones; backward runs twice.
@Suite("Operations on a device") struct OperationTests {
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device"), arguments: TestDevice.profiles)
    func everyOperationMatchesTheReference(profile: KernelProfile) throws {
        let results = try DeviceChecks.run(TestDevice.device(), profile: profile)
        #expect(results.count > OperationCase.all.count)
        for result in results {
            #expect(
                result.passed,
                "\(profile) \(result.name): \(result.worst) x bound in \(result.worstTensor), \(result.damagedGuards) guards damaged"
            )
        }
        let worst = results.max { $0.worst < $1.worst }
        print("worst error / bound, \(profile): \(worst?.worst ?? 0) (\(worst?.name ?? ""), \(worst?.worstTensor ?? ""))")
    }

    /// torch.nn.ReLU and ReLU6 at the ends of their ranges: a broken value is not rectified away, and the gradient at an end is 0.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device"), arguments: TestDevice.profiles)
    func rectifiersLetNaNThrough(profile: KernelProfile) throws {
        let images = [Double.nan, -1, 0, -0.0, 0.5, 6, 7, -.infinity, .infinity]
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        for (name, upper) in [("relu", Double.infinity), ("relu6", 6)] {
            let network = Network(name, input: [images.count]) { upper > 6 ? $0.relu($1) : $0.relu6($1) }
            let device = try DeviceNetwork(
                network, state: network.initialState(seed: 1), role: .student, engine: engine, inputGradient: true)
            let plan = try NetworkPlan(device.network, store: device.store, batch: 1, mode: .training, inputGradient: true)
            try plan.write(images)
            try plan.forward()
            let found = try engine.read(plan.output)
            #expect(found[0].isNaN && Array(found[1...]) == images[1...].map { min(max($0, 0), upper) }, "\(name): \(found)")
            try engine.write(Array(repeating: 2, count: images.count), to: try #require(plan.outputGradient))
            try plan.backward()
            let gradient = try engine.read(try #require(plan.gradientOfInput))
            let wanted = images[1...].map { $0 > 0 && ($0 < upper || name == "relu") ? 2.0 : 0 }
            #expect(Array(gradient[1...]) == wanted, "\(name): \(gradient)")
        }
    }

    /// A step that uses a value without saying so would find another one in its memory; it is refused where its launches are made.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device"))
    func stepsSayWhatTheyUse() throws {
        let engine = try DeviceEngine(TestDevice.device())
        let builder = PlanBuilder(guardElements: 0)
        let (a, b, c) = (builder.value(4), builder.value(4), builder.value(4))
        func launch(_ memory: PlanBuilder.Memory, _ used: [PlanBuilder.Value]) -> [Launch] {
            for value in used { _ = memory[value] }
            return []
        }
        builder.step(reads: [a], writes: [b]) { memory throws(DeviceError) in launch(memory, [a, b]) }
        builder.step(reads: [b], writes: [c]) { memory throws(DeviceError) in launch(memory, [a, b, c]) }
        builder.endPhase()
        let plan = try builder.plan(arenaLimit: 1 << 20)
        let arenas = try plan.arenaCounts.map { try engine.makeBuffer($0, label: "arena") }
        let error = #expect(throws: DeviceError.self) { try builder.build(plan, arenas: arenas, queue: engine.queue) }
        #expect(error?.message.contains("uses a value that it does not say it reads or writes") == true)
    }

    /// The tiles of the CPU class that this machine is not: any CPU computes them, only more slowly.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device"))
    func theOtherRegisterTilesMatchTheReference() throws {
        let device = try TestDevice.device()
        let own = try DeviceEngine(device).registers.kind
        let others = RegisterClass.allCases.filter { $0 != own }
        #expect(!others.isEmpty)
        for registers in others {
            let results = try DeviceChecks.run(
                device, profile: .cpu, registers: registers, losses: false, tiny: false, progress: { _ in })
            #expect(results.count > OperationCase.all.count)
            for result in results {
                #expect(
                    result.passed,
                    "\(registers) \(result.name): \(result.worst) x bound in \(result.worstTensor), \(result.damagedGuards) guards damaged"
                )
            }
        }
    }

    /// What a device refuses fails one check; where there is no device any more, no check is left to run.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device"))
    func aRefusalFailsItsCheckAlone() throws {
        let engine = try DeviceEngine(TestDevice.device())
        func check(_ code: DeviceError.Code) throws -> CheckResult {
            try DeviceChecks.Check(name: "refused") { _ in throw DeviceError(code, "why") }.run(engine)
        }
        let result = try check(.buildFailed)
        #expect(!result.passed && result.name == "refused" && result.failure?.contains("why") == true)
        #expect(throws: DeviceError.self) { try check(.deviceLost) }
    }
}
