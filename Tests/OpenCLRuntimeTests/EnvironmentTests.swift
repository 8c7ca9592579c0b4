import OpenCLRuntime
import Testing

@Suite struct EnvironmentTests {
    @Test func everyVariableIsParsed() throws {
        let settings = try Environment.Settings(parsing: [
            "RLD_DEVICE": "0:1", "RLD_DEBUG": "3", "RLD_SYNC": "1", "RLD_KERNEL_DIR": "/k", "RLD_BUILD_OPTIONS": "-Werror",
            "RLD_MAX_ALLOCATION": "1048576", "RLD_REQUIRE_DEVICE": "true", "RLD_PROFILE": "GPU",
            "RLD_ASSERT_COMPILE": "0", "PATH": "/bin", "WORLD_X": "1",
        ])
        var expected = Environment.Settings()
        expected.device = "0:1"
        expected.debug = 3
        expected.synchronous = true
        expected.kernelDirectory = "/k"
        expected.buildOptions = "-Werror"
        expected.maxAllocation = 1 << 20
        expected.requireDevice = true
        expected.profile = .gpu
        #expect(settings == expected)
    }

    @Test func emptyMeansNotSet() throws {
        #expect(try Environment.Settings(parsing: ["RLD_DEVICE": "", "RLD_DEBUG": ""]) == Environment.Settings())
    }

    @Test func everyVariableSaysWhatItDoes() {
        for variable in Environment.Variable.allCases {
            #expect(variable.rawValue.hasPrefix("RLD_"))
            #expect(!variable.effect.isEmpty)
        }
    }

    @Test func unknownNameSuggestsTheNearest() {
        let error = #expect(throws: DeviceError.self) { try Environment.Settings(parsing: ["RLD_DEVCE": "0"]) }
        #expect(error?.code == .badEnvironment)
        #expect(error?.message.contains("RLD_DEVCE is unknown; did you mean RLD_DEVICE?") == true)
    }

    @Test(arguments: [
        ("RLD_DEBUG", "5"), ("RLD_DEBUG", "x"), ("RLD_SYNC", "2"), ("RLD_PROFILE", "tpu"), ("RLD_MAX_ALLOCATION", "0"),
        ("RLD_MAX_ALLOCATION", "1 GiB"),
    ])
    func impossibleValues(name: String, value: String) {
        let error = #expect(throws: DeviceError.self) { try Environment.Settings(parsing: [name: value]) }
        #expect(error?.code == .badEnvironment)
        #expect(error?.message.hasPrefix("\(name)='\(value)' cannot be") == true)
    }
}
