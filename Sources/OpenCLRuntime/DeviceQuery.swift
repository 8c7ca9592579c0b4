import COpenCL

/// `clGetDeviceInfo` and `clGetPlatformInfo` in Swift values. A question that a driver does not answer gives the default: a listing
/// of devices must not die of one of them.
struct DeviceQuery {
    let handle: OpaquePointer

    init(_ handle: OpaquePointer) {
        self.handle = handle
    }

    func string(_ parameter: Int32) -> String {
        Self.string { size, target, needed in clGetDeviceInfo(handle, cl_device_info(parameter), size, target, needed) }
    }

    func value<T: BitwiseCopyable>(_ parameter: Int32, _ otherwise: T) -> T {
        var value = otherwise
        let status = clGetDeviceInfo(handle, cl_device_info(parameter), MemoryLayout<T>.size, &value, nil)
        return status == 0 ? value : otherwise
    }

    static func platformName(_ platform: OpaquePointer) -> String {
        string { size, target, needed in clGetPlatformInfo(platform, cl_platform_info(CL_PLATFORM_NAME), size, target, needed) }
    }

    /// The devices of one platform, and the one that only computes on the calling thread of another. One that fails to answer is
    /// passed over, so that the others stay usable.
    static func devices(
        of platform: OpaquePointer, named name: String
    ) -> (listed: [OpaquePointer], callingThread: OpaquePointer?) {
        guard name == Device.poclPlatform else { return (list(platform, name), nil) }
        let offersCallingThread = DriverSettings.offerCallingThread(of: platform)
        let all = DriverSettings.startingPatientThreads { list(platform, name) }
        guard offersCallingThread, all.count == 2,
            let basic = all.first(where: { DeviceQuery($0).string(CL_DEVICE_NAME).hasPrefix("basic") })
        else { return (all, nil) }
        return (all.filter { $0 != basic }, basic)
    }

    private static func list(_ platform: OpaquePointer, _ name: String) -> [OpaquePointer] {
        let all = cl_device_type(CL_DEVICE_TYPE_ALL)
        var count: cl_uint = 0
        var status = clGetDeviceIDs(platform, all, 0, nil, &count)
        var devices = [OpaquePointer?](repeating: nil, count: status == 0 ? Int(count) : 0)
        if !devices.isEmpty { status = clGetDeviceIDs(platform, all, count, &devices, nil) }
        if status != 0, CLStatus(rawValue: status) != .deviceNotFound {
            StandardError.print("platform '\(name)' does not list its devices: \(CLStatus(rawValue: status))")
        }
        return status == 0 ? devices.compactMap { $0 } : []
    }

    /// A string in two calls, the first for its size.
    static func string(_ query: (Int, UnsafeMutableRawPointer?, UnsafeMutablePointer<Int>?) -> Int32) -> String {
        var size = 0
        guard query(0, nil, &size) == 0, size > 0 else { return "" }
        var bytes = [UInt8](repeating: 0, count: size)
        guard query(size, &bytes, nil) == 0 else { return "" }
        // It goes to terminals and into tables.
        let text = String(decoding: bytes.prefix { $0 != 0 }.map { $0 < 32 || $0 == 127 ? 32 : $0 }, as: UTF8.self)
        // Some drivers pad names with spaces.
        return String(text.drop(while: \.isWhitespace).reversed().drop(while: \.isWhitespace).reversed())
    }
}
