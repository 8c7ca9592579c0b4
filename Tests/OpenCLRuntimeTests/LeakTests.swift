import Foundation
import KernelSources
import OpenCLRuntime
import TestSupport
import Testing

#if compiler(>=6.2)
@Suite struct LeakTests {
    /// In a process of its own, where nothing else makes objects.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func everyObjectIsReleased() async {
        await #expect(processExitsWith: .success) {
            for _ in 0..<3 {
                do {
                    let context = try Context(try Device.select(nil))
                    let queue = try CommandQueue(context, profiling: true)
                    let cache = ProgramCache(context, source: KernelSources.source)
                    let kernel = try cache.kernel("copy.cl", "copy_elements")
                    let buffer = try Buffer(context, bytes: 4 * 32, label: "x")
                    try queue.write([Float](repeating: 1, count: 32), to: buffer)
                    try kernel.setArgument(0, 16)
                    try kernel.setArgument(1, buffer)
                    try kernel.setArgument(2, 0)
                    try kernel.setArgument(3, buffer)
                    try kernel.setArgument(4, 16)
                    try queue.enqueue(kernel, global: [4])
                    #expect(throws: DeviceError.self) { try Kernel(kernel.program, "none") }
                    let error = #expect(throws: DeviceError.self) {
                        try Program(context, name: "x", source: "nonsense", options: "")
                    }
                    let saved = try #require(error?.message.split(separator: " ").last)
                    try FileManager.default.removeItem(atPath: String(saved))
                    #expect(throws: DeviceError.self) { try Buffer(context, bytes: -1, label: "x") }
                    let live = LiveObjects.now
                    let counts = [live.contexts, live.queues, live.buffers, live.programs, live.kernels, live.events]
                    #expect(counts == [1, 1, 1, 1, 1, 2] && live.hostBlocks == 0)
                    let large = try Buffer(context, bytes: 5 << 20, label: "large")
                    #expect(LiveObjects.now.hostBlocks == (context.device.isPoCL && context.device.isCPU ? 1 : 0))
                    try queue.fill(large, Float(1))
                }
                #expect(LiveObjects.now == LiveObjects())
                #expect(LiveObjects.now.total == 0)
            }
        }
    }

    /// Contexts of one device that live at the same time are the driver's one, with its programs; counters are each one's own.
    @Test(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
    func contextsShareTheDriversAndItsPrograms() async {
        await #expect(processExitsWith: .success) {
            func objects() -> [Int] { [LiveObjects.now.contexts, LiveObjects.now.programs, LiveObjects.now.kernels] }
            for _ in 0..<2 {
                do {
                    var first: ProgramCache? = ProgramCache(try Context(try Device.select(nil)), source: KernelSources.source)
                    let second = ProgramCache(try Context(try Device.select(nil)), source: KernelSources.source)
                    #expect(objects() == [1, 0, 0])
                    _ = try first?.kernel("copy.cl", "copy_elements")
                    #expect(second.context.counters.programsBuilt == 0)
                    let kernel = try second.kernel("copy.cl", "copy_elements")
                    #expect(objects() == [1, 1, 1] && second.context.counters.programsBuilt == 1)
                    _ = try second.kernel("copy.cl", "copy_elements", options: "-cl-opt-disable")
                    #expect(objects() == [1, 2, 1], "other options, another program")
                    first = nil
                    #expect(objects() == [1, 2, 1])
                    let buffer = try Buffer(second.context, bytes: 4 * 4, label: "x")
                    let queue = try CommandQueue(second.context)
                    try queue.write([1, 2, 3, 4] as [Float], to: buffer)
                    for (index, value) in [(0, 2), (2, 0), (4, 2)] { try kernel.setArgument(index, value) }
                    for index in [1, 3] { try kernel.setArgument(index, buffer) }
                    try queue.enqueue(kernel, global: [1])
                    #expect(try queue.read(Float.self, from: buffer, count: 4) == [1, 2, 1, 2])
                }
                #expect(LiveObjects.now == LiveObjects())
            }
        }
    }
}
#endif
