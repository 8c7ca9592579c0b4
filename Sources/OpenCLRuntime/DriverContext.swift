import COpenCL
import Foundation

/// The driver's context of a device and what was compiled in it: one per device and process, for as long as a `Context` needs it.
///
/// Drivers keep their compiler by context, and compile a source anew in each: PoCL 3.1 takes 0.7 s to load what kernels are linked
/// with, and 30 to 70 ms for a program that lies in its cache.
final class DriverContext: @unchecked Sendable {
    /// A source and the options that it is compiled with.
    struct ProgramKey: Hashable {
        let source: String
        let options: String
        /// For the device's calling thread, whose compiler works for itself.
        let onCallingThread: Bool
    }

    /// A program that was compiled, and what the compiler said of it. The handle lives as long as the context.
    struct Compiled {
        let handle: OpaquePointer
        let log: String
    }

    /// Why a source did not compile.
    struct Failure: Error {
        let status: CLStatus
        var log = ""
    }

    let handle: OpaquePointer

    private let device: OpaquePointer
    private let callingThread: OpaquePointer?
    private let name: String
    /// Guards `programs`.
    private let lock = NSLock()
    private var programs: [ProgramKey: Compiled] = [:]

    /// The context of a device: the one that lives, or a new one.
    static func of(_ device: Device) throws(DeviceError) -> DriverContext {
        living.lock.lock()
        defer { living.lock.unlock() }
        if let context = living.contexts[device.handle]?.context { return context }
        let context = try DriverContext(device)
        living.contexts[device.handle] = Living.Entry(context: context)
        return context
    }

    private init(_ device: Device) throws(DeviceError) {
        var identifiers: [OpaquePointer?] = [device.handle] + (device.callingThread.map { [$0] } ?? [])
        var status: Int32 = 0
        let handle = clCreateContext(nil, cl_uint(identifiers.count), &identifiers, nil, nil, &status)
        guard let handle, status == 0 else {
            throw DeviceError(status: CLStatus(rawValue: status), or: .failed, message: "creating a context on \(device)")
        }
        self.handle = handle
        self.device = device.handle
        callingThread = device.callingThread
        name = "\(device)"
        LiveObjects.Kind.contexts.created()
    }

    deinit {
        for program in programs.values {
            StandardError.released(clReleaseProgram(program.handle), "a program of \(name)")
            LiveObjects.Kind.programs.released()
        }
        StandardError.released(clReleaseContext(handle), "the context on \(name)")
        LiveObjects.Kind.contexts.released()
    }

    /// A program of this context, compiled at the first request.
    func program(_ key: ProgramKey) throws(Failure) -> Compiled {
        lock.lock()
        defer { lock.unlock() }
        if let known = programs[key] { return known }
        var status: Int32 = 0
        let created = key.source.withCString { text in
            var text: UnsafePointer<CChar>? = text
            return clCreateProgramWithSource(handle, 1, &text, nil, &status)
        }
        guard let program = created, status == 0 else { throw Failure(status: CLStatus(rawValue: status)) }
        var device: OpaquePointer? = key.onCallingThread ? callingThread : device
        status = clBuildProgram(program, 1, &device, key.options, nil, nil)
        let log = DeviceQuery.string { size, target, needed in
            clGetProgramBuildInfo(program, device, cl_program_build_info(CL_PROGRAM_BUILD_LOG), size, target, needed)
        }
        guard status == 0 else {
            clReleaseProgram(program)
            throw Failure(status: CLStatus(rawValue: status), log: log)
        }
        let compiled = Compiled(handle: program, log: log)
        programs[key] = compiled
        LiveObjects.Kind.programs.created()
        return compiled
    }

    /// The contexts that live, by their devices.
    private final class Living: @unchecked Sendable {
        struct Entry {
            weak var context: DriverContext?
        }

        let lock = NSLock()
        var contexts: [OpaquePointer: Entry] = [:]
    }

    private static let living = Living()
}
