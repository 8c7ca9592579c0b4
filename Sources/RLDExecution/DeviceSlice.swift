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

    /// Whether it begins at a multiple of four elements.
    var isQuad: Bool { offset % 4 == 0 }

    public func slice(_ start: Int, _ count: Int) -> DeviceSlice {
        DeviceSlice(buffer, offset: offset &+ start, count: count, element: element)
    }

    /// Throws unless it lies within its buffer and holds at least `count` elements. Kernels trust these numbers: nothing past a buffer's
    /// end may be reachable.
    func check(_ name: String, holds count: Int, of element: StoredElement = .float32) throws(DeviceError) {
        let capacity = buffer.bytes / element.size
        guard count >= 0, self.count >= count, offset >= 0, count <= capacity, offset <= capacity - count else {
            throw DeviceError(
                .shapeMismatch,
                "\(name): \(self.count) elements at \(offset) of buffer '\(buffer.label)', which holds \(capacity), expected \(count)"
            )
        }
    }
}

extension DeviceSlice: Equatable {
    /// Whether both are the same range of the same buffer.
    public static func == (one: DeviceSlice, other: DeviceSlice) -> Bool {
        one.buffer === other.buffer && one.offset == other.offset && one.count == other.count && one.element == other.element
    }
}

/// A batch of a training step with a loss of one's own, between the student's forward and backward pass.
public struct StudentBatch {
    public let rows: Int
    public let classes: Int
    /// The student's, in training mode, [rows, classes].
    public let logits: DeviceSlice
    /// [rows], int32.
    public let labels: DeviceSlice
    /// d loss / d logits, [rows, classes]: to be written.
    public let gradient: DeviceSlice
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
    /// `ulong`: where something begins in such a buffer, in elements.
    case offset(Int)
    /// Local memory, in bytes.
    case local(Int)

    /// Whether it points at elements stored as half.
    var isHalf: Bool { if case .slice(let slice) = self { slice.element == .float16 } else { false } }

    /// Whether what it points at begins at a multiple of four elements.
    var isQuad: Bool {
        switch self {
        case .slice(let slice): slice.isQuad
        case .offset(let offset): offset % 4 == 0
        case .int, .long, .float, .buffer, .local: true
        }
    }
}

/// Sets a kernel's arguments one after the other.
struct ArgumentSetter {
    private let kernel: Kernel
    private var next = 0

    init(_ kernel: Kernel) { self.kernel = kernel }

    mutating func value<T: BitwiseCopyable>(_ value: T) throws(DeviceError) {
        try kernel.setArgument(next, value)
        next += 1
    }

    mutating func buffer(_ buffer: Buffer) throws(DeviceError) {
        try kernel.setArgument(next, buffer)
        next += 1
    }

    mutating func slice(_ buffer: Buffer, _ offset: Int = 0) throws(DeviceError) {
        try self.buffer(buffer)
        try value(UInt64(offset))
    }

    mutating func localMemory(_ bytes: Int) throws(DeviceError) {
        try kernel.setLocalMemory(next, bytes)
        next += 1
    }
}

extension Kernel {
    /// Sets all arguments, in order.
    func setArguments(_ arguments: [KernelArgument]) throws(DeviceError) {
        var setter = ArgumentSetter(self)
        for argument in arguments {
            switch argument {
            case .int(let value): try setter.value(Int32(value))
            case .long(let value), .offset(let value): try setter.value(UInt64(value))
            case .float(let value): try setter.value(Float(value))
            case .buffer(let buffer): try setter.buffer(buffer)
            case .local(let bytes): try setter.localMemory(bytes)
            case .slice(let slice): try setter.slice(slice.buffer, slice.offset)
            }
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
