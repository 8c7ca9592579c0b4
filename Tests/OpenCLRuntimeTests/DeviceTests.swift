import Foundation
import OpenCLRuntime
import TestSupport
import Testing

@Suite struct DeviceTests {
    @Test func withoutDevicesTheErrorSaysWhatToInstall() {
        for text in [nil, "0", "gpu"] as [String?] {
            let error = #expect(throws: DeviceError.self) { try Device.select(text, from: []) }
            #expect(error?.code == .noDevice)
            #expect(error?.message.contains("pocl-opencl-icd") == true)
            #expect(error?.message.contains("--device reference") == true)
        }
    }

    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func factsArePlausible() throws {
        let device = try TestDevice.device()
        #expect(!device.name.isEmpty && !device.platformName.isEmpty && device.version.hasPrefix("OpenCL "))
        #expect(device.isCPU || device.isGPU)
        #expect(device.computeUnits > 0 && device.maxWorkGroupSize > 0 && device.nativeFloatWidth > 0)
        #expect(device.maxAllocation > 0 && device.maxAllocation <= device.globalMemory)
        #expect(device.localMemory >= 16 << 10)
        #expect(device.extensions.contains("cl_khr_byte_addressable_store"))
        #expect(device.limited(maxAllocation: 1 << 20).maxAllocation == 1 << 20)
    }

    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func selectionByIndexPlatformAndName() throws {
        let devices = try Device.all()
        for device in devices {
            #expect(try Device.select("\(device.index)").index == device.index)
            #expect(try Device.select("\(device.platformIndex):\(device.indexInPlatform)").index == device.index)
            #expect(try Device.select(device.name.uppercased()).name == device.name)
            #expect(try Device.select(String(device.platformName.prefix(4))).index >= 0)
        }
        if let gpu = devices.first(where: \.isGPU) { #expect(try Device.best().isGPU, "\(gpu)") }
    }

    @Test(
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"),
        arguments: ["no such device", "99", "0:99", "", "-1"])
    func unknownDevicesListTheKnown(text: String) throws {
        let error = #expect(throws: DeviceError.self) { try Device.select(text) }
        #expect(error?.code == .unknownDevice)
        #expect(error?.message.contains(try TestDevice.device().name) == true)
    }

    #if compiler(>=6.2)
    // Each in a process of its own: drivers and the runtime read the environment once.

    @Test func noPlatformIsAnEmptyListAndASelectionError() async {
        await #expect(processExitsWith: .success) {
            setenv("OCL_ICD_VENDORS", "/nonexistent/", 1)
            unsetenv("OCL_ICD_FILENAMES")
            unsetenv("RLD_DEVICE")
            let devices = try Device.all()
            #expect(devices.isEmpty)
            let error = #expect(throws: DeviceError.self) { try Device.best() }
            #expect(error?.code == .noDevice)
        }
    }

    @Test(.enabled(if: (try? Device.select("portable computing")) != nil, "PoCL is not installed"))
    func severalDevices() async {
        await #expect(processExitsWith: .success) {
            setenv("POCL_DEVICES", "basic pthread", 1)
            setenv("RLD_DEVICE", "0:1", 1)
            let devices = try Device.all().filter { $0.platformName == "Portable Computing Language" }
            #expect(devices.count == 2)
            for device in devices {
                #expect(try Device.select("\(device.index)").index == device.index)
                #expect(try Device.select("\(device.platformIndex):\(device.indexInPlatform)").index == device.index)
            }
            // A part of a name, in any case, finds the first device that has it; PoCL names both by what drives them.
            for device in devices {
                let driver = try #require(device.name.split(separator: "-").first)
                #expect(try Device.select(driver.uppercased()).name.hasPrefix(driver))
            }
            let chosen = try Device.select(nil)
            #expect(chosen.platformIndex == 0 && chosen.indexInPlatform == 1)
        }
    }

    /// A process that another one of ours started finds what that one has set, and lists what it lists.
    @Test(.enabled(if: (try? Device.select("portable computing"))?.callingThread != nil, "no PoCL 3.1, or POCL_DEVICES is set"))
    func theCallingThreadIsNotListedInProcessesOfOursEither() async {
        await #expect(processExitsWith: .success) {
            #expect(getenv("POCL_DEVICES").map { String(cString: $0) } == "pthread basic")
            let devices = try Device.all().filter { $0.platformName == "Portable Computing Language" }
            #expect(devices.count == 1 && devices.first?.callingThread != nil)
        }
    }

    /// PoCL ends the process where a kernel gets a buffer of another context, so that this is a test of its own process.
    @Test(.enabled(if: (try? Device.select("portable computing")) != nil, "PoCL is not installed"))
    func buffersStayOnTheirDevice() async {
        await #expect(processExitsWith: .success) {
            setenv("POCL_DEVICES", "basic pthread", 1)
            let devices = try Device.all().filter { $0.platformName == "Portable Computing Language" }
            let (one, two) = (try Context(devices[0]), try Context(devices[1]))
            let foreign = try Buffer(one, bytes: 16, label: "foreign")
            let own = try Buffer(two, bytes: 16, label: "own")
            let queue = try CommandQueue(two)
            let program = try Program(
                two, name: "own.cl", source: "__kernel void set(__global float *x) { x[get_global_id(0)] = 1; }", options: "")
            let kernel = try Kernel(program, "set")
            let uses: [(String, DeviceError.Code, () throws -> Void)] = [
                ("argument 0 of kernel 'set'", .launchFailed, { try kernel.setArgument(0, foreign) }),
                ("writing", .transferFailed, { try queue.write([1, 2] as [Float], to: foreign) }),
                ("reading", .transferFailed, { _ = try queue.read(Float.self, from: foreign, count: 1) }),
                ("filling", .transferFailed, { try queue.fill(foreign, Float(0)) }),
                ("copying from", .transferFailed, { try queue.copy(Float.self, from: foreign, to: own, count: 1) }),
                ("copying to", .transferFailed, { try queue.copy(Float.self, from: own, to: foreign, count: 1) }),
            ]
            for (action, code, use) in uses {
                let error = #expect(throws: DeviceError.self) { try use() }
                #expect(error?.code == code)
                #expect(error?.message.contains(action) == true && error?.message.contains("buffer 'foreign' on") == true)
            }
            try kernel.setArgument(0, own)
            try queue.enqueue(kernel, global: [4])
            #expect(try queue.read(Float.self, from: own, count: 4) == [1, 1, 1, 1])
        }
    }

    /// Exit tests run in processes of their own, whose driver starts after the variable is set.
    @Test(.enabled(if: (try? Device.select("portable computing")) != nil, "PoCL is not installed"))
    func driversThreadsStayOnTheirProcessors() async {
        await #expect(processExitsWith: .success) {
            unsetenv("POCL_AFFINITY")
            let process = try text("/proc/self/status", line: "Cpus_allowed_list")
            let processors = ProcessInfo.processInfo.processorCount
            let context = try Context(Device.select("portable computing"))
            let threads = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").map {
                try text("/proc/self/task/\($0)/status", line: "Cpus_allowed_list")
            }
            if process == (processors == 1 ? "0" : "0-\(processors - 1)") {
                #expect(Set((0..<context.device.computeUnits).map { "\($0)" }).isSubset(of: threads))
            } else {
                #expect(threads.allSatisfy { $0 == process })
            }
        }
    }

    @Test(.enabled(if: (try? Device.select("portable computing")) != nil, "PoCL is not installed"))
    func driversThreadsDoNotInterruptTheirHost() async {
        await #expect(processExitsWith: .success) {
            let batch: Int32 = 3
            let context = try Context(Device.select("portable computing"))
            let policies = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/task").map {
                sched_getscheduler(try #require(pid_t($0)))
            }
            #expect(policies.count { $0 == batch } >= context.device.computeUnits)
            #expect(sched_getscheduler(0) == SCHED_OTHER)
        }
    }

    @Test func badEnvironmentStopsEveryWayToADevice() async {
        await #expect(processExitsWith: .success) {
            setenv("RLD_DEVIZE", "0", 1)
            for attempt in [{ _ = try Device.all() }, { _ = try Device.best() }, { try Environment.check() }]
                as [() throws -> Void]
            {
                let error = #expect(throws: DeviceError.self) { try attempt() }
                #expect(error?.code == .badEnvironment)
            }
        }
    }

    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func maxAllocationOfTheEnvironmentHolds() async {
        await #expect(processExitsWith: .success) {
            setenv("RLD_MAX_ALLOCATION", "1000", 1)
            let device = try Device.select(nil)
            #expect(device.maxAllocation == 1000)
            let context = try Context(device)
            _ = try Buffer(context, bytes: 1000, label: "fits")
            let error = #expect(throws: DeviceError.self) { _ = try Buffer(context, bytes: 1001, label: "weights") }
            #expect(error?.code == .outOfMemory)
        }
    }

    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func buildsAfterTheSteadyStateFailOnRequest() async {
        await #expect(processExitsWith: .success) {
            setenv("RLD_ASSERT_COMPILE", "1", 1)
            let context = try Context(try Device.select(nil))
            let cache = ProgramCache(context) { _ in "__kernel void nothing() {}" }
            _ = try cache.kernel("x.cl", "nothing")
            context.counters.markSteadyState()
            _ = try cache.kernel("x.cl", "nothing")
            let error = #expect(throws: DeviceError.self) { _ = try cache.kernel("y.cl", "nothing") }
            #expect(error?.code == .buildFailed)
            #expect(error?.message.contains("y.cl") == true)
        }
    }

    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func kernelsAreReadFromAFolderOnRequest() async {
        await #expect(processExitsWith: .success) {
            let folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
            try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
            defer { try? FileManager.default.removeItem(at: folder) }
            try "#include \"b.clh\"\n__kernel void f() {}".write(
                to: folder.appendingPathComponent("a.cl"), atomically: true, encoding: .utf8)
            try "__kernel void g() {}".write(to: folder.appendingPathComponent("b.clh"), atomically: true, encoding: .utf8)
            setenv("RLD_KERNEL_DIR", folder.path, 1)
            let cache = ProgramCache(try Context(try Device.select(nil))) { _ in nil }
            _ = try cache.kernel("a.cl", "f")
            _ = try cache.kernel("a.cl", "g")
            let error = #expect(throws: DeviceError.self) { _ = try cache.kernel("none.cl", "f") }
            #expect(error?.message.contains("RLD_KERNEL_DIR") == true)
        }
    }
    #endif
}

/// What a file says behind a name and a colon.
private func text(_ path: String, line name: String) throws -> String {
    let lines = try String(contentsOfFile: path, encoding: .utf8).split(separator: "\n")
    let line = lines.first { $0.hasPrefix(name + ":") } ?? ""
    return line.dropFirst(name.count + 1).trimmingCharacters(in: .whitespaces)
}
