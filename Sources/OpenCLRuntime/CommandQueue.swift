import COpenCL
import Glibc

/// An in-order queue of commands on one device. Not `Sendable`: one queue, one owner.
///
/// Commands run in the order in which they were enqueued, each seeing the results of those before it. The host waits for the device
/// in `read`, `finish`, `profile`, `drainProfile`, a `write` of an array of more than 4 MiB or beyond 64 MiB that are still to be
/// written, and with `RLD_SYNC` after every launch.
public final class CommandQueue {
    public let context: Context
    /// Whether launches are timed. Off in training: some drivers run slower with it.
    public let isProfiling: Bool

    package var handle: OpaquePointer { isUntimed ? untimedHandle ?? ownHandle : ownHandle }
    private let ownHandle: OpaquePointer
    /// Beside one whose launches are timed, for `untimed`.
    private let untimedHandle: OpaquePointer?
    private var isUntimed = false

    private let writes = PendingWrites()
    private let allTimes: LaunchTimes?
    /// Where launches are timed now.
    private var launchTimes: LaunchTimes? { isUntimed ? nil : allTimes }
    private let synchronous: Bool
    private let debug: Int
    /// Whether `finish` looks for the end before it sleeps, and the launch that it looks at.
    private let polls: Bool
    private var lastLaunch: Event?
    /// Whether nothing was enqueued since the last wait for the device.
    private var isIdle = true
    /// For `runNow`; made at the first one.
    private var callingThread: OpaquePointer?

    /// - Parameter profiling: time the launches, for `profile`.
    /// - Throws: `.failed` if the driver refuses; `.outOfMemory`, `.deviceLost`.
    public init(_ context: Context, profiling: Bool = false) throws(DeviceError) {
        let settings = Environment.settings
        let measures = profiling || settings.debug >= 2
        ownHandle = try Self.make(context, measures ? CL_QUEUE_PROFILING_ENABLE : 0)
        do {
            untimedHandle = profiling ? try Self.make(context, 0) : nil
        } catch {
            StandardError.released(clReleaseCommandQueue(ownHandle), "a queue on \(context.device)")
            throw error
        }
        self.context = context
        isProfiling = profiling
        allTimes = measures ? LaunchTimes(keepsRecords: profiling) : nil
        synchronous = settings.synchronous
        debug = settings.debug
        polls = context.device.isPoCL && context.device.isCPU
        LiveObjects.Kind.queues.created()
    }

    private static func make(
        _ context: Context, _ properties: Int32, on device: OpaquePointer? = nil
    ) throws(DeviceError) -> OpaquePointer {
        var status: Int32 = 0
        let handle = clCreateCommandQueue(
            context.handle, device ?? context.device.handle, cl_command_queue_properties(properties), &status)
        guard let handle, status == 0 else {
            throw DeviceError(
                status: CLStatus(rawValue: status), or: .failed, message: "creating a command queue on \(context.device)")
        }
        return handle
    }

    deinit {
        for handle in [ownHandle, untimedHandle, callingThread].compactMap({ $0 }) {
            // What is still queued reads host memory that goes away with this object.
            let status = clFinish(handle)
            if status != 0 {
                StandardError.print("finishing a queue on \(context.device): \(CLStatus(rawValue: status))")
                writes.abandon()
            }
            StandardError.released(clReleaseCommandQueue(handle), "a queue on \(context.device)")
        }
        if debug >= 2 { allTimes?.summary().forEach(StandardError.print) }
        LiveObjects.Kind.queues.released()
    }

    // MARK: - Launches

    /// Launches a kernel with the arguments it holds now.
    /// - Parameters:
    ///   - global: work-items in each of one to three dimensions.
    ///   - local: work-items of a work-group in each; must divide `global`. nil: as `Kernel.workGroup` has it.
    ///   - label: what traces call it; the kernel's name if nil.
    public func enqueue(
        _ kernel: Kernel, global: [Int], local: [Int]? = nil, label: String? = nil
    ) throws(DeviceError) {
        guard (1...3).contains(global.count), global.allSatisfy({ $0 > 0 }) else {
            throw launchError(kernel, global, local, "the global size needs one to three positive numbers")
        }
        if let local {
            guard local.count == global.count, zip(global, local).allSatisfy({ $1 > 0 && $0 % $1 == 0 }) else {
                throw launchError(kernel, global, local, "the local size must divide the global size in every dimension")
            }
            guard kernel.hasFixedWorkGroup || local.reduce(1, *) <= kernel.maxWorkGroupSize else {
                throw launchError(
                    kernel, global, local, "the device allows work-groups of at most \(kernel.maxWorkGroupSize) for this kernel")
            }
        }
        let local = local ?? kernel.workGroup(for: global)
        if debug >= 3 { StandardError.print("launch \(describe(kernel, global, local))") }
        try submit(label ?? kernel.name, .launchFailed, describe(kernel, global, local)) { event in
            clEnqueueNDRangeKernel(handle, kernel.handle, cl_uint(global.count), nil, global, local, 0, nil, event)
        }
    }

    /// Whether `runNow` may run something: the device has a calling thread, and nothing that was enqueued is still to be done.
    package var canRunNow: Bool { isIdle && context.device.callingThread != nil }

    /// Runs a launch of a few microseconds on this thread and returns when it is over, which is sooner than another thread would have
    /// woken for it. Only where `canRunNow`, and of a kernel of `ProgramCache.kernelOnCallingThread`.
    package func runNow(_ kernel: Kernel, global: [Int], local: [Int]) throws(DeviceError) {
        guard canRunNow, kernel.program.onCallingThread else {
            throw launchError(kernel, global, local, "nothing else may be queued, and the kernel must be built for it")
        }
        let queue: OpaquePointer
        if let callingThread {
            queue = callingThread
        } else {
            queue = try Self.make(context, allTimes == nil ? 0 : CL_QUEUE_PROFILING_ENABLE, on: context.device.callingThread)
            callingThread = queue
        }
        if debug >= 3 { StandardError.print("launch \(describe(kernel, global, local)), on the calling thread") }
        var event: OpaquePointer?
        let times = launchTimes
        var status = withUnsafeMutablePointer(to: &event) { event in
            clEnqueueNDRangeKernel(
                queue, kernel.handle, cl_uint(global.count), nil, global, local, 0, nil, times == nil ? nil : event)
        }
        if status == 0 { status = clFinish(queue) }
        if let event { times?.add(kernel.name, Event(adopting: event)) }
        try DeviceError.check(status, .launchFailed, describe(kernel, global, local))
        context.counters.launched()
    }

    /// Runs a library call that enqueues on this queue (CLBlast), with the same counting, tracing, `RLD_SYNC` and errors as a launch.
    /// - Parameters:
    ///   - isOneLaunch: the event is that of all it does; asked where launches are timed.
    ///   - call: gets the queue and, where launches are timed or looked at, a place for the event; returns a status.
    package func enqueueExternal(
        _ label: String, isOneLaunch: @autoclosure () throws(DeviceError) -> Bool = false,
        _ call: (UnsafeMutablePointer<OpaquePointer?>, UnsafeMutablePointer<OpaquePointer?>?) -> Int32
    ) throws(DeviceError) {
        if debug >= 3 { StandardError.print("call \(label)") }
        var queue: OpaquePointer? = handle
        var begin: Event?
        if launchTimes != nil, try !isOneLaunch() { begin = try marker() }
        try submit(label, .blasFailed, "\(label) on \(context.device)", from: begin) { event in call(&queue, event) }
    }

    /// - Parameter begin: over when the call's work begins, for calls of several launches, whose event is that of the last one.
    private func submit(
        _ label: String, _ code: DeviceError.Code, _ describe: @autoclosure () -> String, from begin: Event? = nil,
        _ call: (UnsafeMutablePointer<OpaquePointer?>?) -> Int32
    ) throws(DeviceError) {
        isIdle = false
        if launchTimes != nil || polls {
            var event: OpaquePointer?
            try DeviceError.check(call(&event), code, describe())
            lastLaunch = event.map { Event(adopting: $0) }
            if let lastLaunch { launchTimes?.add(label, lastLaunch, from: begin) }
        } else {
            try DeviceError.check(call(nil), code, describe())
        }
        context.counters.launched()
        if synchronous { try DeviceError.check(clFinish(handle), code, "running \(describe())") }
    }

    // MARK: - Moving bytes

    /// Writes an array into a buffer. Up to 4 MiB the values are copied and the call returns at once; more is written in place,
    /// and the call waits.
    public func write<T: BitwiseCopyable>(_ values: [T], to buffer: Buffer, at elementOffset: Int = 0) throws(DeviceError) {
        let offset = try buffer.byteOffset(T.self, at: elementOffset, count: values.count, in: context, for: "writing")
        guard !values.isEmpty else { return }
        let size = values.count * MemoryLayout<T>.stride
        if size > PendingWrites.largestCopy {
            let status = values.withUnsafeBytes {
                clEnqueueWriteBuffer(handle, buffer.handle, cl_bool(CL_TRUE), offset, size, $0.baseAddress, 0, nil, nil)
            }
            try DeviceError.check(status, .transferFailed, "writing \(size) bytes to buffer '\(buffer.label)'")
            try waited()
            return
        }
        try enqueueWrite(size, to: buffer, at: offset) { block in
            values.withUnsafeBytes { block.copyMemory(from: $0) }
        }
    }

    /// Writes values that are made where the device reads them, some at a time, so that making and taking go side by side. Returns
    /// at once, unless more than 64 MiB would have to wait.
    /// - Parameter fill: initialises the memory of the values of a range.
    public func write<T: BitwiseCopyable>(
        _ type: T.Type, count: Int, to buffer: Buffer, at elementOffset: Int = 0,
        fill: (Range<Int>, UnsafeMutableBufferPointer<T>) -> Void
    ) throws(DeviceError) {
        let offset = try buffer.byteOffset(type, at: elementOffset, count: count, in: context, for: "writing")
        let stride = MemoryLayout<T>.stride
        let most = max(1, PendingWrites.largestCopy / stride)
        for first in Swift.stride(from: 0, to: count, by: most) {
            let range = first..<min(first + most, count)
            try enqueueWrite(range.count * stride, to: buffer, at: offset + first * stride) { block in
                fill(range, block.bindMemory(to: type))
            }
        }
    }

    private func enqueueWrite(
        _ size: Int, to buffer: Buffer, at offset: Int, fill: (UnsafeMutableRawBufferPointer) -> Void
    ) throws(DeviceError) {
        let waits = writes.waits
        try writes.makeRoom(for: size)
        if writes.waits > waits { context.counters.synchronised() }
        let block = PendingWrites.Block(size)
        fill(block.memory)
        isIdle = false
        var event: OpaquePointer?
        let status = clEnqueueWriteBuffer(
            handle, buffer.handle, cl_bool(CL_FALSE), offset, size, block.memory.baseAddress, 0, nil, &event)
        try DeviceError.check(status, .transferFailed, "writing \(size) bytes to buffer '\(buffer.label)'")
        if let event { writes.append(Event(adopting: event), block, to: buffer.label) }
    }

    /// Waits for everything before it and returns `count` elements of a buffer.
    public func read<T: BitwiseCopyable>(
        _ type: T.Type, from buffer: Buffer, at elementOffset: Int = 0, count: Int
    ) throws(DeviceError) -> [T] {
        let offset = try buffer.byteOffset(type, at: elementOffset, count: count, in: context, for: "reading")
        guard count > 0 else { return [] }
        var status: Int32 = 0
        let values = [T](unsafeUninitializedCapacity: count) { target, initialized in
            status = clEnqueueReadBuffer(
                handle, buffer.handle, cl_bool(CL_TRUE), offset, count * MemoryLayout<T>.stride, target.baseAddress, 0, nil, nil)
            initialized = status == 0 ? count : 0
        }
        try DeviceError.check(
            status, .transferFailed,
            "reading \(count) of \(type) from buffer '\(buffer.label)'; RLD_SYNC=1 names a kernel that failed")
        try waited()
        return values
    }

    /// Sets elements of a buffer to one value, on the device.
    /// - Parameter count: all from `elementOffset` on if nil.
    public func fill<T: BitwiseCopyable>(
        _ buffer: Buffer, _ pattern: T, at elementOffset: Int = 0, count: Int? = nil
    ) throws(DeviceError) {
        let size = MemoryLayout<T>.stride
        guard size == MemoryLayout<T>.size, size & (size - 1) == 0, size > 0, size <= 128 else {
            throw DeviceError(
                .shapeMismatch, "filling buffer '\(buffer.label)': a pattern has 1, 2, 4 ... 128 bytes, not \(size)")
        }
        let count = count ?? max(0, buffer.bytes / size - elementOffset)
        let offset = try buffer.byteOffset(T.self, at: elementOffset, count: count, in: context, for: "filling")
        guard count > 0 else { return }
        isIdle = false
        let status = withUnsafeBytes(of: pattern) {
            clEnqueueFillBuffer(handle, buffer.handle, $0.baseAddress, size, offset, count * size, 0, nil, nil)
        }
        try DeviceError.check(status, .transferFailed, "filling \(count * size) bytes of buffer '\(buffer.label)'")
    }

    /// Copies elements from one buffer to another, or within one where the ranges do not overlap, on the device.
    public func copy<T: BitwiseCopyable>(
        _ type: T.Type, from source: Buffer, at sourceOffset: Int = 0, to target: Buffer, at targetOffset: Int = 0, count: Int
    ) throws(DeviceError) {
        let from = try source.byteOffset(type, at: sourceOffset, count: count, in: context, for: "copying from")
        let to = try target.byteOffset(type, at: targetOffset, count: count, in: context, for: "copying to")
        guard count > 0 else { return }
        let size = count * MemoryLayout<T>.stride
        isIdle = false
        let status = clEnqueueCopyBuffer(handle, source.handle, target.handle, from, to, size, 0, nil, nil)
        try DeviceError.check(
            status, .transferFailed, "copying \(size) bytes from buffer '\(source.label)' to '\(target.label)'")
    }

    // MARK: - Waiting

    /// Sends what is queued to the device without waiting.
    public func flush() throws(DeviceError) {
        try DeviceError.check(clFlush(handle), .failed, "flushing the queue on \(context.device)")
    }

    /// Waits until everything queued is done.
    public func finish() throws(DeviceError) {
        if polls { try poll() }
        try DeviceError.check(
            clFinish(handle), .failed, "finishing the queue on \(context.device); RLD_SYNC=1 names a kernel that failed")
        try waited()
    }

    /// Looks for the end for a moment, for work that ends sooner than a sleeping thread wakes: that takes 50 to 150 us on virtual
    /// machines. Other threads may have this processor meanwhile, the driver's among them.
    private func poll() throws(DeviceError) {
        guard !isIdle, let lastLaunch else { return }
        try flush()
        let clock = ContinuousClock()
        let end = clock.now + .microseconds(100)
        while !lastLaunch.isOver, clock.now < end { sched_yield() }
    }

    /// An event that is over when everything enqueued so far is.
    package func marker() throws(DeviceError) -> Event {
        var event: OpaquePointer?
        isIdle = false
        let status = clEnqueueMarkerWithWaitList(handle, 0, nil, &event)
        guard let event, status == 0 else {
            throw DeviceError(
                status: CLStatus(rawValue: status), or: .failed, message: "marking a place in the queue on \(context.device)")
        }
        return Event(adopting: event)
    }

    /// Lets what is enqueued from now on wait, on the device, for an event of another queue of the context, which must have been
    /// flushed since; returns at once.
    package func wait(for event: Event) throws(DeviceError) {
        var handle: OpaquePointer? = event.handle
        isIdle = false
        try DeviceError.check(
            clEnqueueBarrierWithWaitList(self.handle, 1, &handle, nil), .failed,
            "waiting for another queue on \(context.device)")
    }

    /// The same for everything that is enqueued on another queue so far, which is flushed.
    package func wait(for other: CommandQueue) throws(DeviceError) {
        let event = try other.marker()
        try other.flush()
        try wait(for: event)
    }

    private func waited() throws(DeviceError) {
        isIdle = true
        context.counters.synchronised()
        try writes.clear()
    }

    /// Bytes of host memory held for writes that may not be done.
    package var pendingWriteBytes: Int { writes.bytes }

    // MARK: - Profile

    /// Runs `body` with launches that are not timed, as in training, after everything before it; waits for them.
    public func untimed(_ body: () throws -> Void) throws {
        try finish()
        isUntimed = true
        defer { isUntimed = false }
        try body()
        try finish()
    }

    /// Waits, and returns when each launch since the last `drainProfile` ran. Empty unless the queue was made with `profiling`.
    public var profile: [LaunchRecord] {
        get throws(DeviceError) {
            guard isProfiling, let launchTimes else { return [] }
            try finish()
            return try launchTimes.all()
        }
    }

    /// As `profile`, and forgets what it returns: call it between sections to keep memory bounded.
    public func drainProfile() throws(DeviceError) -> [LaunchRecord] {
        guard isProfiling, let launchTimes else { return [] }
        try finish()
        return try launchTimes.drain()
    }

    // MARK: - Messages

    private func describe(_ kernel: Kernel, _ global: [Int], _ local: [Int]?) -> String {
        let group = local.map { "\($0)" } ?? "of the driver's choice"
        return "\(kernel.program.name): \(kernel.name), global \(global), local \(group) on \(context.device)"
    }

    private func launchError(_ kernel: Kernel, _ global: [Int], _ local: [Int]?, _ problem: String) -> DeviceError {
        DeviceError(.launchFailed, "\(describe(kernel, global, local)): \(problem)")
    }
}
