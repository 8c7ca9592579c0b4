import COpenCL
import Foundation

/// A compiled program. Programs of one source and the same options are compiled once for all contexts of a device that live.
public final class Program: Sendable {
    public let context: Context
    /// File it came from, for messages.
    public let name: String
    /// What the compiler said although it succeeded: warnings.
    public let buildLog: String
    /// Whether it is for `CommandQueue.runNow` alone.
    let onCallingThread: Bool

    /// The driver context's, which the context keeps alive.
    // Never assigned again; OpenCL's calls on programs may come from any thread.
    package nonisolated(unsafe) let handle: OpaquePointer

    /// Compiles a source for the context's device. A source that does not compile is saved to a file that the error names.
    public convenience init(_ context: Context, name: String, source: String, options: String) throws(DeviceError) {
        try self.init(context, name: name, source: source, options: options, onCallingThread: false)
    }

    /// - Parameter onCallingThread: for the device's calling thread, which it must have.
    init(_ context: Context, name: String, source: String, options: String, onCallingThread: Bool) throws(DeviceError) {
        let settings = Environment.settings
        if settings.assertCompile, context.counters.isSteadyState {
            throw DeviceError(
                .buildFailed,
                "RLD_ASSERT_COMPILE: \(name) [\(options)] is built after the steady state was reached; prepare it before")
        }
        if settings.debug >= 4 { StandardError.print("source of \(name) [\(options)]\n\(source)") }
        let started = ContinuousClock.now

        let compiled: DriverContext.Compiled
        do {
            compiled = try context.driver.program(
                .init(source: source, options: options, onCallingThread: onCallingThread))
        } catch {
            // Other failures are not the source's.
            let isOfSource = [CL_BUILD_PROGRAM_FAILURE, CL_COMPILE_PROGRAM_FAILURE].contains(error.status.rawValue)
            throw DeviceError(
                status: error.status, or: .buildFailed,
                message: "building \(name) with options '\(options)' on \(context.device)"
                    + (isOfSource ? "; source saved to \(Self.save(source, name))" : ""),
                buildLog: error.log)
        }
        self.context = context
        self.name = name
        self.onCallingThread = onCallingThread
        handle = compiled.handle
        buildLog = compiled.log
        context.counters.builtProgram(in: started.duration(to: .now))
        if settings.debug >= 2 {
            let warnings = buildLog.isEmpty ? "" : "\n\(buildLog)"
            StandardError.print("built \(name) [\(options)] in \(started.duration(to: .now))\(warnings)")
        }
    }

    /// Saves a source that did not build, and says where (or that it could not be saved).
    private static func save(_ source: String, _ name: String) -> String {
        let stem = name.map { $0.isLetter || $0.isNumber || $0 == "." ? $0 : "_" }
        let unique = UUID().uuidString.prefix(8)
        let file = FileManager.default.temporaryDirectory.appendingPathComponent("rld-\(unique)-\(String(stem))")
        do {
            try source.write(to: file, atomically: true, encoding: .utf8)
            return file.path
        } catch {
            return "no file (\(error.localizedDescription))"
        }
    }
}
