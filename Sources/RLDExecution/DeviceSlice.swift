import OpenCLRuntime

/// A range of elements in a device buffer: of 4 bytes, but for activations that are stored as half.
public struct DeviceSlice {
    public let buffer: Buffer
    /// In elements.
    public let offset: Int
    /// In elements.
    public let count: Int
    package let element: StoredElement

    /// - Parameter count: all elements after `offset` if nil.
    public init(_ buffer: Buffer, offset: Int = 0, count: Int? = nil) {
        self.init(buffer, offset: offset, count: count ?? (buffer.bytes / 4 - offset), element: .float32)
    }

    package init(_ buffer: Buffer, offset: Int, count: Int, element: StoredElement) {
        (self.buffer, self.offset, self.count, self.element) = (buffer, offset, count, element)
    }

    public func slice(_ start: Int, _ count: Int) -> DeviceSlice {
        DeviceSlice(buffer, offset: offset + start, count: count, element: element)
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
    /// Local memory, in bytes.
    case local(Int)
}

extension Kernel {
    /// Sets all arguments, in order.
    func setArguments(_ arguments: [KernelArgument]) throws(DeviceError) {
        var index = 0
        for argument in arguments {
            switch argument {
            case .int(let value): try setArgument(index, Int32(value))
            case .long(let value): try setArgument(index, UInt64(value))
            case .float(let value): try setArgument(index, Float(value))
            case .buffer(let buffer): try setArgument(index, buffer)
            case .local(let bytes): try setLocalMemory(index, bytes)
            case .slice(let slice):
                try setArgument(index, slice.buffer)
                index += 1
                try setArgument(index, UInt64(slice.offset))
            }
            index += 1
        }
    }
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
