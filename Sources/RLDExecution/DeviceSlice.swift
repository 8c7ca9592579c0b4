import OpenCLRuntime

/// A range of 4-byte elements in a device buffer.
package struct DeviceSlice {
    package let buffer: Buffer
    /// In elements.
    package let offset: Int
    /// In elements.
    package let count: Int

    package init(_ buffer: Buffer, offset: Int = 0, count: Int? = nil) {
        self.buffer = buffer
        self.offset = offset
        self.count = count ?? (buffer.bytes / 4 - offset)
    }

    package func slice(_ start: Int, _ count: Int) -> DeviceSlice {
        DeviceSlice(buffer, offset: offset + start, count: count)
    }
}

/// One argument of a kernel, in the kernels' conventions.
enum KernelArgument {
    /// `int`.
    case int(Int)
    /// `ulong`.
    case long(Int)
    /// `float`.
    case float(Double)
    /// A buffer followed by a `ulong` element offset.
    case slice(DeviceSlice)
    /// A buffer alone.
    case buffer(Buffer)
}

/// One prepared piece of work: its arguments are set, replaying it only enqueues it.
package struct Launch {
    enum Work {
        case kernel(Kernel, global: [Int], local: [Int]?)
        case product(MatrixProduct)
    }
    /// The node that it belongs to, for errors and traces.
    let node: String
    let work: Work
}
