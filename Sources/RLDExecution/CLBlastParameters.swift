import CCLBlast
import COpenCL
import Foundation
import OpenCLRuntime
import Synchronization

/// CLBlast's parameters for single precision. CLBlast keeps them per device and process: engines on one device share them.
enum CLBlastParameters {
    /// What each device has been given, by its handle.
    private static let inUse = Mutex<[UInt: [String: [String: Int]]]>([:])

    /// Gives CLBlast the parameters of some kernels; the others stay as they are. Does nothing where they are in use already:
    /// each change makes CLBlast forget its programs.
    /// - Throws: `.blasFailed` for a kernel or a parameter that CLBlast does not know, or one that is missing.
    static func use(_ parameters: [String: [String: Int]], on device: Device) throws(DeviceError) {
        let key = UInt(bitPattern: device.handle)
        // One kernel after the other, so that a refusal leaves a record of what is really in use.
        for (kernel, values) in parameters.sorted(by: { $0.key < $1.key }) {
            let known = inUse.withLock { $0[key]?[kernel] == values }
            if known { continue }
            try override(device, kernel, values)
            inUse.withLock { $0[key, default: [:]][kernel] = values }
        }
    }

    private static func override(_ device: Device, _ kernel: String, _ parameters: [String: Int]) throws(DeviceError) {
        let ordered = parameters.sorted { $0.key < $1.key }
        let names = ordered.map { strdup($0.key) }
        defer { for name in names { free(name) } }
        var pointers = names.map { UnsafePointer($0) }
        let values = ordered.map { size_t($0.value) }
        let status = CLBlastOverrideParameters(
            device.handle, kernel, CLBlastPrecisionSingle, ordered.count, &pointers, values)
        try DeviceError.check(
            status.rawValue, .blasFailed,
            "CLBlast refused the parameters of \(kernel) for \(device.name): \(parameters.sorted { $0.key < $1.key })")
    }
}
