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
