import OpenCLRuntime

/// `kernels/loss_batch.cl`: what is done once per batch beside a loss kernel, in one program.
extension ProgramCache {
    /// The kernel that sums over a batch, and the work-items of its one work-group: fewer where a device does not run as many of it. On
    /// a cpu one: a thread runs them in turn anyway, and compilers mistake barriers inside loops (PoCL 7.1 gives other sums).
    func lossReduceKernel(_ profile: KernelProfile) throws(DeviceError) -> (kernel: Kernel, items: Int) {
        let wanted = profile == .cpu ? 1 : min(64, context.device.maxWorkGroupSize)
        let kernel = try lossBatchKernel("loss_reduce_rows", items: wanted)
        guard kernel.maxWorkGroupSize < wanted else { return (kernel, wanted) }
        let items = kernel.maxWorkGroupSize
        return (try lossBatchKernel("loss_reduce_rows", items: items), items)
    }

    /// - Parameter items: those of `lossReduceKernel`.
    func lossBatchKernel(_ function: String, items: Int) throws(DeviceError) -> Kernel {
        try kernel("loss_batch.cl", function, defines: [("LOCAL_SIZE", "\(items)")])
    }
}
