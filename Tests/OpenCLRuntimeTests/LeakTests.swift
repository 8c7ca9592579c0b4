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
                    #expect(counts == [1, 1, 1, 1, 1, 2])
                }
                #expect(LiveObjects.now == LiveObjects())
                #expect(LiveObjects.now.total == 0)
            }
        }
    }
}
#endif
