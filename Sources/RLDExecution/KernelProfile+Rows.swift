import OpenCLRuntime

/// What kernels are built with for a profile.
extension KernelProfile {
    /// What a kernel over rows is built with (kernels/common/row.clh).
    /// - Parameter localSize: work-items per row.
    func rowDefines(localSize: Int, device: Device) -> [(String, String)] {
        switch self {
        case .cpu: [("PROFILE_CPU", "1"), ("ROW_WIDTH", device.nativeFloatWidth >= 16 ? "16" : "8")]
        case .gpu: [("PROFILE_GPU", "1"), ("LOCAL_SIZE", "\(localSize)")]
        }
    }

    /// Elements per work-item of elementwise kernels.
    var elementsPerItem: Int { self == .cpu ? 4096 : 1 }

    /// Output channels that one work-item packs at a time.
    func packingLanes(_ registers: RegisterTiles) -> Int { self == .cpu ? registers.lanes : 1 }

    /// Compiler options of kernels over rows: those of the gpu profile run on a CPU only to be checked.
    func rowOptions(_ device: Device) -> String { self == .gpu ? device.optionsOfChecks : "" }
}

extension Device {
    /// Compiler options of kernels that on this device only run to be checked, on little data. PoCL 3.1 takes 3 s to compile such a
    /// kernel for a CPU, without its optimiser 1 s; other drivers need not be good at what they are rarely asked for (PoCL 6.0 ends in
    /// LLVM, 7.1 gives other numbers, Intel's 2026.22 got standardised MLKD wrong).
    var optionsOfChecks: String { isPoCL && isCPU && driverVersion.hasPrefix("3.") ? "-cl-opt-disable" : "" }
}
