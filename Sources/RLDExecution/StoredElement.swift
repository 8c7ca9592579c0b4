/// How an element lies in device memory. Arithmetic is float32 whatever is stored; half needs no half arithmetic of the device.
package enum StoredElement: Int, Sendable, Hashable {
    case float16 = 2
    case float32 = 4

    /// Bytes of one.
    var size: Int { rawValue }

    /// Largest error by which storing a value of float32 rounds it; values stay far from 65504.
    package func rounding(of value: Double) -> Double { self == .float16 ? max(0x1p-11 * abs(value), 0x1p-25) : 0 }
}

extension DeviceSlice {
    /// What a kernel of the forward pass (`kernels/common/storage.clh`) is built with for what it reads, adds and writes; nothing
    /// where all of it is float32, so that programs are shared.
    static func storageDefines(x: DeviceSlice, residual: DeviceSlice? = nil, y: DeviceSlice) -> [(String, String)] {
        [("X_HALF", x), ("RESIDUAL_HALF", residual), ("Y_HALF", y)].filter { $0.1?.element == .float16 }.map { ($0.0, "1") }
    }
}
