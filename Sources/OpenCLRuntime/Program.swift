import COpenCL
import Foundation

/// A compiled program.
public final class Program: Sendable {
    public let context: Context
    /// File it came from, for messages.
    public let name: String
    /// What the compiler said although it succeeded: warnings.
    public let buildLog: String

    package nonisolated(unsafe) let handle: OpaquePointer

    /// Compiles a source for the context's device. On failure the source is saved to a file that the error names.
    public init(_ context: Context, name: String, source: String, options: String) throws(DeviceError) {
        let settings = Environment.settings
        if settings.assertCompile, context.counters.isSteadyState {
            throw DeviceError(
                .buildFailed,
                "RLD_ASSERT_COMPILE: \(name) [\(options)] is built after the steady state was reached; prepare it before")
        }
        if settings.debug >= 4 { StandardError.print("source of \(name) [\(options)]\n\(source)") }
        let started = ContinuousClock.now

        var status: Int32 = 0
        let created = source.withCString { text in
            var text: UnsafePointer<CChar>? = text
            return clCreateProgramWithSource(context.handle, 1, &text, nil, &status)
        }
        guard let handle = created, status == 0 else {
            throw DeviceError(.buildFailed, "creating program \(name) on \(context.device)", status: CLStatus(rawValue: status))
        }
        var device: OpaquePointer? = context.device.handle
        status = clBuildProgram(handle, 1, &device, options, nil, nil)
        let log = DeviceQuery.string { size, target, needed in
            clGetProgramBuildInfo(handle, device, cl_program_build_info(CL_PROGRAM_BUILD_LOG), size, target, needed)
        }
        guard status == 0 else {
            clReleaseProgram(handle)
            throw DeviceError(
                .buildFailed,
                "building \(name) with options '\(options)' on \(context.device); source saved to \(Self.save(source, name))",
                status: CLStatus(rawValue: status), buildLog: log)
        }
        self.context = context
        self.name = name
        self.handle = handle
        buildLog = log
        context.counters.builtProgram(in: started.duration(to: .now))
        LiveObjects.Kind.programs.created()
        if settings.debug >= 2 {
            StandardError.print("built \(name) [\(options)] in \(started.duration(to: .now))\(log.isEmpty ? "" : "\n\(log)")")
        }
    }

    deinit {
        StandardError.released(clReleaseProgram(handle), "program \(name)")
        LiveObjects.Kind.programs.released()
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
