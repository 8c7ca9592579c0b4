import OpenCLRuntime

/// What the building blocks over rows share: kernels with one work-group per row, on one engine.
struct RowKernels {
    let engine: DeviceEngine
    let classes: Int
    private let localSize: Int
    private let defines: [(String, String)]

    /// - Throws: `.shapeMismatch` for fewer than one class or 2^24 and more, whose indices float32 does not hold.
    init(_ engine: DeviceEngine, classes: Int) throws(DeviceError) {
        guard classes > 0, classes < 1 << 24 else {
            throw DeviceError(.shapeMismatch, "rows of \(classes) classes, expected 1 ..< 2^24")
        }
        self.engine = engine
        self.classes = classes
        let wanted = classes <= 256 ? 64 : classes <= 4096 ? 128 : 256
        localSize = engine.profile == .cpu ? 1 : min(wanted, engine.device.maxWorkGroupSize)
        defines = engine.profile.rowDefines(localSize: localSize, device: engine.device)
    }

    func kernel(_ file: String, _ name: String) throws(DeviceError) -> Kernel {
        try engine.programs.kernel(file, name, defines: defines, options: engine.profile.rowOptions(engine.device))
    }

    /// - Parameter reduces: the kernel's last argument is local memory for reductions over a row.
    func enqueue(_ kernel: Kernel, rows: Int, _ arguments: [KernelArgument], reduces: Bool = true) throws(DeviceError) {
        guard rows > 0 else { return }
        try kernel.setArguments(arguments + (reduces ? [.local(16 * localSize)] : []))
        try engine.queue.enqueue(kernel, global: [rows * localSize], local: [localSize])
    }

    /// Elements of so many rows.
    /// - Throws: `.shapeMismatch` for a negative number of them, or more than a kernel counts.
    func size(_ rows: Int) throws(DeviceError) -> Int {
        guard rows >= 0, rows <= Int(Int32.max) else {
            throw DeviceError(.shapeMismatch, "\(rows) rows, expected 0 to 2^31 - 1")
        }
        return rows * classes
    }

    /// Throws for a temperature that float32 cannot compute with, as of a fused loss.
    func check(temperature: Double) throws(DeviceError) {
        guard !(1e-3...1e3).contains(temperature) else { return }
        throw DeviceError(.shapeMismatch, "temperature \(temperature), expected 1e-3 to 1e3")
    }

    /// Throws unless each slice holds so many elements.
    func check(_ slices: [(name: String, slice: DeviceSlice, count: Int)]) throws(DeviceError) {
        for (name, slice, count) in slices { try slice.check(name, holds: count) }
    }
}
