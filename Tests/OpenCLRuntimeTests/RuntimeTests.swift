import COpenCL
import Foundation
import KernelSources
import KernelText
import OpenCLRuntime
import TestSupport
import Testing

/// Everything that needs a device. Each test has a context of its own, and with it counters of its own.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
struct RuntimeTests {
    let context: Context
    let queue: CommandQueue
    let cache: ProgramCache

    init() throws {
        context = try Context(try TestDevice.device())
        queue = try CommandQueue(context)
        cache = ProgramCache(context, source: KernelSources.source)
    }

    private func error(_ body: () throws -> Void) -> DeviceError? {
        #expect(throws: DeviceError.self, performing: body)
    }

    private func numbers(_ count: Int, from start: Int = 0) -> [Float] {
        (0..<count).map { Float(start + $0) }
    }

    // MARK: - Buffers and transfers

    @Test func roundTripsWithOffsets() throws {
        let buffer = try Buffer(context, bytes: 4 * 20, label: "numbers")
        try queue.fill(buffer, Float(-1))
        try queue.write(numbers(5, from: 10), to: buffer, at: 3)
        let expected = [-1, -1, -1, 10, 11, 12, 13, 14] + [Float](repeating: -1, count: 12)
        #expect(try queue.read(Float.self, from: buffer, count: 20) == expected)
        #expect(try queue.read(Float.self, from: buffer, at: 6, count: 3) == [13, 14, -1])
        try queue.fill(buffer, Int32(7), at: 18, count: 1)
        #expect(try queue.read(Int32.self, from: buffer, at: 18, count: 1) == [7])

        let other = try Buffer(context, bytes: 4 * 4, label: "other")
        try queue.fill(other, UInt8(0))
        try queue.copy(Float.self, from: buffer, at: 3, to: other, at: 1, count: 3)
        #expect(try queue.read(Float.self, from: other, count: 4) == [0, 10, 11, 12])
        // Nothing to do is fine, at the very end too.
        try queue.write([Float](), to: other, at: 4)
        try queue.fill(other, Float(9), at: 4)
        try queue.copy(Float.self, from: buffer, to: other, count: 0)
        #expect(try queue.read(Float.self, from: other, at: 4, count: 0).isEmpty)
        #expect(try queue.read(Float.self, from: other, count: 4) == [0, 10, 11, 12])
    }

    @Test func rangesOutsideABufferAreErrors() throws {
        let buffer = try Buffer(context, bytes: 4 * 8, label: "small")
        let attempts: [() throws -> Void] = [
            { try queue.write(numbers(9), to: buffer) },
            { try queue.write(numbers(1), to: buffer, at: 8) },
            { try queue.write(numbers(1), to: buffer, at: -1) },
            { _ = try queue.read(Float.self, from: buffer, at: 1, count: 8) },
            { _ = try queue.read(Float.self, from: buffer, at: 1, count: Int.max) },
            { _ = try queue.read(Double.self, from: buffer, count: 5) },
            { _ = try queue.read(Float.self, from: buffer, count: -1) },
            { try queue.fill(buffer, Float(0), at: 9) },
            { try queue.fill(buffer, Float(0), at: 4, count: 5) },
            { try queue.copy(Float.self, from: buffer, at: 4, to: buffer, count: 5) },
        ]
        for attempt in attempts {
            let error = error(attempt)
            #expect(error?.code == .shapeMismatch)
            #expect(error?.message.contains("'small'") == true)
        }
    }

    @Test func impossibleBuffers() throws {
        let tooLarge = error { _ = try Buffer(context, bytes: context.device.maxAllocation + 1, label: "table") }
        #expect(tooLarge?.code == .outOfMemory)
        #expect(tooLarge?.message.contains("'table'") == true)
        #expect(tooLarge?.message.contains("\(context.device.maxAllocation)") == true)
        #expect(error { _ = try Buffer(context, bytes: 0, label: "empty") }?.code == .shapeMismatch)
        #expect(context.counters.allocations == 0)
    }

    /// A buffer that lies in memory of ours is let go before the device has come to the commands that use it.
    @Test func buffersOfQueuedCommandsStayAlive() throws {
        let count = 3 << 20
        let target = try Buffer(context, bytes: 4 * count, label: "target")
        for round in 0..<4 {
            var source: Buffer? = try Buffer(context, bytes: 4 * count, label: "source")
            if let source {
                try queue.fill(source, Float(round))
                try queue.copy(Float.self, from: source, to: target, count: count)
            }
            source = nil
            // What comes next may get the same memory.
            let other = try Buffer(context, bytes: 4 * count, label: "other")
            try queue.fill(other, Float(-1))
            #expect(try queue.read(Float.self, from: target, count: count).allSatisfy { $0 == Float(round) })
        }
    }

    @Test func arraysOfPendingWritesStayAlive() throws {
        // The arrays are gone, and their memory is used again, before the queue is flushed.
        let count = 1 << 14
        let buffer = try Buffer(context, bytes: 4 * count * 16, label: "blocks")
        for block in 0..<16 {
            try queue.write(numbers(count, from: block * count), to: buffer, at: block * count)
        }
        let values = try queue.read(Float.self, from: buffer, count: count * 16)
        #expect(values == numbers(count * 16))
        #expect(queue.pendingWriteBytes == 0)
    }

    @Test func valuesAreMadeWhereTheDeviceReadsThem() throws {
        // Two portions and a part of one, behind what is there.
        let count = 5 << 19
        let buffer = try Buffer(context, bytes: 4 * (count + 3), label: "values")
        try queue.fill(buffer, Float(-1))
        var portions: [Range<Int>] = []
        try queue.write(Float.self, count: count, to: buffer, at: 3) { range, values in
            portions.append(range)
            for i in range { values[i - range.lowerBound] = Float(i) }
        }
        #expect(portions == [0..<1 << 20, 1 << 20..<2 << 20, 2 << 20..<count])
        #expect(context.counters.hostSynchronisations == 0)
        #expect(try queue.read(Float.self, from: buffer, count: count + 3) == [-1, -1, -1] + numbers(count))
        try queue.write(Float.self, count: 0, to: buffer, at: count + 3) { _, _ in Issue.record("there is nothing to make") }
        let tooMany = error { try queue.write(Float.self, count: count, to: buffer, at: 4) { _, _ in Issue.record("no room") } }
        #expect(tooMany?.message.contains("values") == true)
        #expect(queue.pendingWriteBytes == 0)
    }

    @Test func pendingWritesAreBoundedAndLargeOnesWait() throws {
        let count = 1 << 20
        let buffer = try Buffer(context, bytes: 4 * count * 2, label: "large")
        let values = numbers(count)
        for _ in 0..<40 {
            try queue.write(values, to: buffer, at: 5)
            #expect(queue.pendingWriteBytes <= 64 << 20)
        }
        // Of 160 MB at most those wait that a slow device has not taken yet.
        let waits = context.counters.hostSynchronisations
        #expect(waits <= 2)
        try queue.write(numbers(count * 2), to: buffer)
        #expect(context.counters.hostSynchronisations == waits + 1)
        #expect(queue.pendingWriteBytes == 0)
        #expect(try queue.read(Float.self, from: buffer, at: count * 2 - 1, count: 1) == [Float(count * 2 - 1)])
    }

    /// A write that failed after it was enqueued is told once, and its memory is let go.
    @Test func failuresOfPendingWritesAreTold() throws {
        func event(_ state: Int32) throws -> Event {
            var status: Int32 = 0
            let handle = try #require(clCreateUserEvent(context.handle, &status))
            let event = Event(adopting: handle)
            #expect(clSetUserEventStatus(handle, state) == 0)
            return event
        }
        let writes = PendingWrites()
        for (bytes, state) in [(8, CL_COMPLETE), (16, CL_OUT_OF_RESOURCES), (32, CL_COMPLETE)] {
            writes.append(try event(state), PendingWrites.Block(bytes), to: "table")
        }
        #expect(writes.bytes == 56)
        let failed = error { try writes.makeRoom(for: 1) }
        #expect(failed?.code == .transferFailed && failed?.status?.rawValue == CL_OUT_OF_RESOURCES)
        #expect(failed?.message.contains("16 bytes") == true && failed?.message.contains("'table'") == true)
        #expect(writes.bytes == 32)
        try writes.makeRoom(for: 1)
        #expect(writes.bytes == 0)
        // The same where the queue has finished.
        writes.append(try event(CL_MEM_OBJECT_ALLOCATION_FAILURE), PendingWrites.Block(8), to: "table")
        #expect(error { try writes.clear() }?.code == .outOfMemory)
        #expect(writes.bytes == 0)
        try writes.clear()
    }

    // MARK: - Programs and kernels

    @Test(arguments: KernelSources.names)
    func everyKernelFileCompilesAlone(file: String) throws {
        let program = try cache.program(file)
        // Of the source: what a compiler says of its own optimisations names no line.
        let warnings = program.buildLog.split(separator: "\n").filter { $0.contains("warning:") && !$0.contains("<unknown>:0:0") }
        #expect(warnings.isEmpty, "\(program.buildLog)")
    }

    @Test(arguments: [1, 3, 4, 5, 63, 64, 65, 1000], ["4", "16"])
    func copyKernel(count: Int, width: String) throws {
        let kernel = try cache.kernel("copy.cl", "copy_elements", defines: [("VECTOR", width)])
        let source = try Buffer(context, bytes: 4 * (count + 7), label: "source")
        let target = try Buffer(context, bytes: 4 * (count + 6), label: "target")
        try queue.write(numbers(count + 7), to: source)
        try queue.fill(target, Float.nan)
        try kernel.setArgument(0, count)
        try kernel.setArgument(1, source)
        try kernel.setArgument(2, 7)
        try kernel.setArgument(3, target)
        try kernel.setArgument(4, 3)
        let perItem = try #require(Int(width))
        try queue.enqueue(kernel, global: [(count + perItem - 1) / perItem + 2])
        let values = try queue.read(Float.self, from: target, count: count + 6)
        #expect(Array(values[3..<(3 + count)]) == numbers(count, from: 7))
        #expect(values[..<3].allSatisfy(\.isNaN) && values[(3 + count)...].allSatisfy(\.isNaN))
    }

    @Test(arguments: [1, 2, 3, 5, 31, 32, 33, 63, 64, 65, 100, 255, 256])
    func reductions(group: Int) throws {
        let size = min(group, context.device.maxWorkGroupSize)
        let source = """
            #include "common/reduce.clh"
            __kernel void reduce(__global const float *values, __global float *results, __local float *scratch)
            {
                const float value = values[get_global_id(0)];
                const float sum = reduce_sum(value, scratch);
                const float largest = reduce_max(value, scratch);
                results[get_global_id(0) * 2] = sum;
                results[get_global_id(0) * 2 + 1] = largest;
            }
            """
        let text = try KernelText.expand("test.cl") { name in
            name == "test.cl" ? source : try String(contentsOf: kernelsFolder.appendingPathComponent(name), encoding: .utf8)
        }
        let kernel = try Kernel(try Program(context, name: "test.cl", source: text, options: ""), "reduce")
        let values = (0..<(size * 3)).map { Float(($0 * 37) % 101) - 50 }
        let input = try Buffer(context, bytes: 4 * values.count, label: "values")
        let output = try Buffer(context, bytes: 8 * values.count, label: "results")
        try queue.write(values, to: input)
        try kernel.setArgument(0, input)
        try kernel.setArgument(1, output)
        try kernel.setLocalMemory(2, 4 * size)
        try queue.enqueue(kernel, global: [values.count], local: [size])
        let results = try queue.read(Float.self, from: output, count: values.count * 2)
        for (item, _) in values.enumerated() {
            let rows = values[(item / size * size)..<(item / size * size + size)]
            #expect(results[item * 2] == rows.reduce(0, +))
            #expect(results[item * 2 + 1] == rows.max())
        }
    }

    @Test func badSourceGivesLogAndSavedSource() throws {
        let source = "__kernel void broken() { this is no C; }"
        let error = try #require(error { _ = try Program(context, name: "broken.cl", source: source, options: "") })
        #expect(error.code == .buildFailed)
        #expect(error.status == .buildProgramFailure)
        #expect(error.buildLog?.contains("error") == true)
        let path = try #require(error.message.split(separator: " ").last.map(String.init))
        #expect(try String(contentsOfFile: path, encoding: .utf8) == source)
        try FileManager.default.removeItem(atPath: path)
        #expect(context.counters.programsBuilt == 0)
    }

    @Test func programsAreBuiltOnce() throws {
        let first = try cache.kernel("copy.cl", "copy_elements", defines: [("VECTOR", "8"), ("A", "1")])
        let second = try cache.kernel("copy.cl", "copy_elements", defines: [("A", "1"), ("VECTOR", "8")])
        #expect(first !== second)
        #expect(first.program === second.program)
        #expect(context.counters.programsBuilt == 1)
        _ = try cache.kernel("copy.cl", "copy_elements")
        #expect(context.counters.programsBuilt == 2)
    }

    @Test func filesOfABundleAreOneProgram() throws {
        let files = [
            "all.cl": "#include \"a.cl\"\n#include \"b.cl\"\n", "a.cl": "kernel void a(global int *x) { x[0] = SIZE; }\n",
            "b.cl": "kernel void b(global int *x) { x[0] = 3; }\n",
        ]
        let bundle = ProgramCache.Bundle(file: "all.cl", defines: ["SIZE": "5"])
        let cache = ProgramCache(context, bundle: bundle) { name in
            try? KernelText.expand(name) { try #require(files[$0]) }
        }
        let a = try cache.kernel("a.cl", "a", defines: [("SIZE", "5")])
        #expect(try cache.kernel("b.cl", "b").program === a.program)
        let other = try cache.kernel("a.cl", "a", defines: [("SIZE", "6")])
        #expect(other.program !== a.program, "another value than the bundle's")
        #expect(try cache.kernel("b.cl", "b", options: "-cl-opt-disable").program.name == "b.cl")
        let buffer = try Buffer(context, bytes: 4, label: "x")
        for (kernel, value) in [(a, 5), (other, 6)] as [(Kernel, Int32)] {
            try kernel.setArgument(0, buffer)
            try queue.enqueue(kernel, global: [1])
            #expect(try queue.read(Int32.self, from: buffer, count: 1) == [value])
        }
    }

    @Test func missingFilesAndKernels() throws {
        #expect(error { _ = try cache.kernel("none.cl", "f") }?.message.contains("none.cl") == true)
        let error = error { _ = try cache.kernel("copy.cl", "none") }
        #expect(error?.code == .buildFailed)
        #expect(error?.message.contains("'none'") == true)
    }

    @Test func wrongArgumentsAndSizesNameTheKernel() throws {
        let kernel = try cache.kernel("copy.cl", "copy_elements")
        #expect(kernel.argumentCount == 5)
        let attempts: [() throws -> Void] = [
            { try kernel.setArgument(5, 1) },
            { try kernel.setArgument(-1, 1) },
            { try kernel.setArgument(0, Float(1)) },
            { try kernel.setLocalMemory(0, context.device.localMemory + 1) },
            { try queue.enqueue(kernel, global: []) },
            { try queue.enqueue(kernel, global: [0]) },
            { try queue.enqueue(kernel, global: [1, 1, 1, 1]) },
            { try queue.enqueue(kernel, global: [10], local: [4]) },
            { try queue.enqueue(kernel, global: [8], local: [4, 1]) },
            { try queue.enqueue(kernel, global: [1 << 20], local: [1 << 20]) },
        ]
        for (index, attempt) in attempts.enumerated() {
            let error = error(attempt)
            #expect(error?.code == .launchFailed, "attempt \(index)")
            #expect(error?.message.contains("copy_elements") == true)
        }
        #expect(context.counters.launches == 0)
    }

    @Test("work-groups of open launches divide them: one of three sizes on a CPU, up to 256 items on a GPU")
    func openWorkGroups() {
        func group(_ global: [Int], most: Int = 1024, onCPU: Bool) -> [Int]? {
            Kernel.workGroup(for: global, most: most, onCPU: onCPU)
        }
        #expect(group([640, 3], onCPU: true) == [64, 1] && group([24], onCPU: true) == [8])
        #expect(group([2145, 64], onCPU: true) == [1, 1] && group([64], most: 8, onCPU: true) == [8])
        #expect(group([1 << 20], onCPU: false) == [256] && group([1 << 20], most: 100, onCPU: false) == [64])
        #expect(group([48, 1024], onCPU: false) == [48, 4] && group([58, 32, 8], onCPU: false) == [58, 4, 1])
        #expect(group([2145], onCPU: false) == [195] && group([33, 16], onCPU: false) == [33, 4])
        #expect(group([257], onCPU: false) == nil && group([257, 512], onCPU: false) == [1, 256])
        for columns in 1...1100 {
            let rows = Kernel.workGroupRows(beside: columns)
            let local = group([columns, 3 * rows.most], onCPU: false) ?? []
            #expect(local.count == 2 && local[1] == rows.most && local.reduce(1, *) >= 64, "\(columns)")
            #expect(rows.least <= rows.most)
        }
        #expect(group([], onCPU: true) == nil)
    }

    @Test func externalCallsAreCountedAndTheirStatusNamed() throws {
        try queue.enqueueExternal("product") { queue, _ in queue.pointee == nil ? -36 : 0 }
        #expect(context.counters.launches == 1)
        let error = error { try queue.enqueueExternal("product") { _, _ in -1011 } }
        #expect(error?.code == .blasFailed)
        #expect(error?.status?.name == "CLBlastInsufficientMemoryA")
        #expect(self.error { try queue.enqueueExternal("product") { _, _ in -4 } }?.code == .outOfMemory)
    }

    @Test func launchesAreTimedOnRequest() throws {
        let timed = try CommandQueue(context, profiling: true)
        let kernel = try cache.kernel("copy.cl", "copy_elements")
        let buffer = try Buffer(context, bytes: 4 * 64, label: "x")
        try timed.fill(buffer, Float(1))
        try kernel.setArgument(0, 16)
        try kernel.setArgument(1, buffer)
        try kernel.setArgument(2, 0)
        try kernel.setArgument(3, buffer)
        try kernel.setArgument(4, 32)
        for index in 0..<2100 { try timed.enqueue(kernel, global: [4], label: index == 0 ? "first" : nil) }
        let records = try timed.profile
        #expect(records.count == 2100)
        #expect(records.map(\.label).prefix(2) == ["first", "copy_elements"])
        #expect(records.allSatisfy { $0.queued <= $0.start && $0.start <= $0.end })
        #expect(try timed.drainProfile() == records)
        #expect(try timed.drainProfile().isEmpty)
        #expect(try queue.profile.isEmpty)
        #expect(context.counters.launches == 2100)
    }

    /// A driver that does not say when a launch ran gives no times to compute with.
    @Test func launchesWithoutTimesAreAnError() throws {
        let timed = try CommandQueue(context, profiling: true)
        try timed.enqueueExternal("unknown", isOneLaunch: true) { [context] _, event in
            var status: Int32 = 0
            event?.pointee = clCreateUserEvent(context.handle, &status)
            return status != 0 ? status : clSetUserEventStatus(event?.pointee, CL_COMPLETE)
        }
        let error = error { _ = try timed.drainProfile() }
        #expect(error?.code == .unsupported && error?.message.contains("'unknown'") == true)
        #expect(try timed.drainProfile().isEmpty)
    }

    // MARK: - Life and counting

    @Test func countersFollowBuffers() throws {
        let counters = context.counters
        do {
            let first = try Buffer(context, bytes: 100, label: "a")
            let second = try Buffer(context, bytes: 50, label: "b")
            #expect(counters.allocatedBytes == first.bytes + second.bytes)
        }
        _ = try Buffer(context, bytes: 10, label: "c")
        #expect(counters.allocatedBytes == 0)
        #expect(counters.peakBytes == 150)
        #expect(counters.allocations == 3)
        try queue.finish()
        #expect(counters.hostSynchronisations == 1)
    }

    @Test func kernelsKeepTheirBuffersAlive() throws {
        let kernel = try cache.kernel("copy.cl", "copy_elements")
        let target = try Buffer(context, bytes: 16, label: "target")
        weak var watched: Buffer?
        do {
            let source = try Buffer(context, bytes: 16, label: "source")
            watched = source
            try queue.write(numbers(4), to: source)
            try kernel.setArgument(1, source)
        }
        #expect(watched != nil)
        try kernel.setArgument(0, 4)
        try kernel.setArgument(2, 0)
        try kernel.setArgument(3, target)
        try kernel.setArgument(4, 0)
        try queue.enqueue(kernel, global: [1])
        #expect(try queue.read(Float.self, from: target, count: 4) == [0, 1, 2, 3])
        try kernel.setArgument(1, target)
        #expect(watched == nil)
    }
}
