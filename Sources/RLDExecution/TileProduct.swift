import OpenCLRuntime
import RLDMethods

/// What multiplies in the tiles of convolutions and linear layers on the gpu profile; the numbers are TF32 of
/// `kernels/common/tile_product.clh`.
package enum TileProduct: Int, Sendable {
    case float32 = 0
    /// tf32 on the matrix units of an NVIDIA device.
    case matrixUnits = 1
    /// The same in portable code: slow, for tests and `rld doctor` on other devices.
    case emulation = 2

    package var precision: Precision { self == .float32 ? .float32 : .tf32 }

    /// float32 adds none, so that its programs stay what they are.
    var defines: [(String, String)] { self == .float32 ? [] : [("TF32", "\(rawValue)")] }

    /// How tiles are compiled: defines beside these, and options. A compute unit's 65,536 registers are three work-groups' of 128 items
    /// with 160 each, four groups' of 128 or two of 256 with 128; unasked, a compiler takes up to 178.
    func compilation(on device: Device, items: Int) -> (defines: [(String, String)], options: String) {
        if self == .emulation { return (defines, device.optionsOfChecks) }
        // In tf32 tiles of 64 channels hold as many sums in half as many items; of the smallest nothing is to be had but spills.
        let registers = self == .float32 || items > 128 ? 128 : 160
        guard self == .matrixUnits || items >= 128 else { return (defines, "") }
        let limit = RegisterLimit(registers, on: device)
        return (defines + limit.defines, limit.options)
    }

    /// - Parameter emulated: take the emulation, whatever the device has.
    /// - Throws: `.unsupported` where the device cannot do what is asked for.
    init(_ precision: Precision, on device: Device, profile: KernelProfile, emulated: Bool) throws(DeviceError) {
        guard precision == .tf32 else {
            self = .float32
            return
        }
        guard profile == .gpu else {
            throw DeviceError(
                .unsupported,
                "precision tf32: \(device.name) computes with the cpu kernels, which have float32 only; give precision=float32")
        }
        guard emulated || device.hasMatrixUnits else {
            let found = device.computeCapability.map(String.init).joined(separator: ".")
            throw DeviceError(
                .unsupported,
                "precision tf32 needs the matrix units of an NVIDIA GPU of compute capability 8.0 or more; \(device.name) "
                    + (found.isEmpty ? "is none that is known to have them" : "has \(found)")
                    + "; give precision=float32, or another --device")
        }
        self = emulated ? .emulation : .matrixUnits
    }
}

extension Device {
    /// Whether there are tf32 matrix units that the kernels know how to reach.
    package var hasMatrixUnits: Bool { (computeCapability.first ?? 0) >= 8 }
}
