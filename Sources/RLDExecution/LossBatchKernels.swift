import OpenCLRuntime

/// `kernels/loss_batch.cl`: what is done once per batch beside a loss kernel, in one program.
extension ProgramCache {
    /// Work-items of the one work-group that sums over a batch; fewer where a device does not run as many of its kernels.
    func lossBatchItems() throws(DeviceError) -> Int {
        let wanted = min(64, context.device.maxWorkGroupSize)
        return min(wanted, try lossBatchKernel("loss_reduce_rows", items: wanted).maxWorkGroupSize)
    }

    func lossBatchKernel(_ function: String) throws(DeviceError) -> Kernel {
        try lossBatchKernel(function, items: lossBatchItems())
    }

    private func lossBatchKernel(_ function: String, items: Int) throws(DeviceError) -> Kernel {
        try kernel("loss_batch.cl", function, defines: [("LOCAL_SIZE", "\(items)")])
    }
}
