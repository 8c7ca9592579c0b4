import CCLBlast
import COpenCL
import OpenCLRuntime
import Testing

@Suite struct StatusTests {
    @Test func namesFollowTheHeaders() {
        #expect(CLStatus(rawValue: CL_SUCCESS).name == "CL_SUCCESS")
        #expect(CLStatus(rawValue: CL_OUT_OF_RESOURCES).name == "CL_OUT_OF_RESOURCES")
        #expect(CLStatus(rawValue: CL_INVALID_WORK_GROUP_SIZE).name == "CL_INVALID_WORK_GROUP_SIZE")
        #expect(CLStatus(rawValue: CL_INVALID_DEVICE_PARTITION_COUNT).name == "CL_INVALID_DEVICE_PARTITION_COUNT")
        #expect(CLStatus(rawValue: CL_PLATFORM_NOT_FOUND_KHR).name == "CL_PLATFORM_NOT_FOUND_KHR")
        #expect(CLStatus(rawValue: CLBlastInsufficientMemoryTemp.rawValue).name == "CLBlastInsufficientMemoryTemp")
        #expect(CLStatus(rawValue: CLBlastInvalidLeadDimB.rawValue).name == "CLBlastInvalidLeadDimB")
        #expect(CLStatus(rawValue: CLBlastNoHalfPrecision.rawValue).name == "CLBlastNoHalfPrecision")
        #expect(CLStatus(rawValue: CLBlastInvalidVectorScalar.rawValue).name == "CLBlastInvalidVectorScalar")
    }

    @Test func everyCodeOfOpenCLHasAName() {
        let codes = Array(-19...0) + Array(-68 ... -30)
        for code in codes.map(Int32.init) {
            #expect(CLStatus(rawValue: code).name.hasPrefix("CL_"), "\(code)")
        }
        for code in Array(-1022 ... -1007) + [-1024] + Array(-2050 ... -2039) {
            #expect(CLStatus(rawValue: Int32(code)).name.hasPrefix("CLBlast"), "\(code)")
        }
        #expect(Set(CLStatus.known.map(\.name)).count == CLStatus.known.count)
    }

    @Test func unknownCodesKeepTheirNumber() {
        #expect(CLStatus(rawValue: -9876).name == "status -9876")
        #expect(CLStatus(rawValue: -9876).advice == nil)
        #expect(CLStatus.outOfHostMemory.description == "CL_OUT_OF_HOST_MEMORY (-6)")
    }

    @Test func commonCodesSayWhatToDo() {
        #expect(CLStatus.platformNotFound.advice?.contains("pocl-opencl-icd") == true)
        #expect(CLStatus.platformNotFound.advice?.contains("OCL_ICD_VENDORS") == true)
        #expect(CLStatus.memoryObjectAllocationFailure.advice?.contains("smaller batch") == true)
    }

    @Test func memoryAndLossHaveCodesOfTheirOwn() {
        func code(_ status: Int32) -> DeviceError.Code? {
            do throws(DeviceError) {
                try DeviceError.check(status, .launchFailed, "running k")
                return nil
            } catch { return error.status?.advice == nil ? nil : error.code }
        }
        #expect(code(CL_MEM_OBJECT_ALLOCATION_FAILURE) == .outOfMemory && code(CL_OUT_OF_HOST_MEMORY) == .outOfMemory)
        #expect([CL_DEVICE_NOT_AVAILABLE, CL_INVALID_COMMAND_QUEUE, -9999].map(code) == [.deviceLost, .deviceLost, .deviceLost])
        #expect(code(CL_OUT_OF_RESOURCES) == .launchFailed && code(CL_SUCCESS) == nil)
        // The same wherever a call fails, each status with its advice and what the compiler said.
        for (status, expected) in [(-4, .outOfMemory), (-6, .outOfMemory), (-36, .deviceLost), (-11, .buildFailed)]
            as [(Int32, DeviceError.Code)]
        {
            let status = CLStatus(rawValue: status)
            let error = DeviceError(status: status, or: .buildFailed, message: "building x.cl", buildLog: "x.cl:3: no")
            #expect(error.code == expected && error.status == status && error.message == "building x.cl", "\(status)")
            #expect(error.description.contains(status.advice ?? "-") && error.buildLog == "x.cl:3: no", "\(status)")
        }
    }

    @Test func errorsShowMessageStatusAdviceAndLog() {
        let error = DeviceError(.buildFailed, "building x.cl", status: .buildProgramFailure, buildLog: "x.cl:3: no")
        let expected = "building x.cl: CL_BUILD_PROGRAM_FAILURE (-11); the build log names file and line\nx.cl:3: no"
        #expect(error.description == expected)
    }
}
