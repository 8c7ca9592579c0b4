import OpenCLRuntime

/// `kernels/loss_batch.cl`: what is done once per batch beside a loss kernel, in one program.
extension ProgramCache {
    /// Work-items of the one work-group that sums over a batch.
    var lossBatchItems: Int { min(64, context.device.maxWorkGroupSize) }

    func lossBatchKernel(_ function: String) throws(DeviceError) -> Kernel {
        try kernel("loss_batch.cl", function, defines: [("LOCAL_SIZE", "\(lossBatchItems)")])
    }
}
