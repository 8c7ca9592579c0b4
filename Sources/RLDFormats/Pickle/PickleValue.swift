/// What a pickle builds. Containers are held by the reader and named by an index, so that values which contain themselves, or
/// are nested without end, cost nothing to copy or to free.
enum PickleValue: Equatable {
    case none
    case bool(Bool)
    case integer(Int)
    /// A whole number beyond 64 bits, little-endian two's complement.
    case largeInteger([UInt8])
    case float(Double)
    case string(String)
    case bytes([UInt8])
    case list(Int)
    case tuple(Int)
    case dictionary(Int)
    case storage(Int)
    case tensor(Int)
    case array(Int)
    /// The element type of an array, by NumPy's name.
    case arrayType(String)
    case global(PickleGlobal)
    /// Something that no tensor needs and that is harmless to skip, by its name.
    case object(String)

    /// What messages call it.
    var kind: String {
        switch self {
        case .none: "None"
        case .bool: "a truth value"
        case .integer, .largeInteger: "a whole number"
        case .float: "a number"
        case .string: "a string"
        case .bytes: "bytes"
        case .list: "a list"
        case .tuple: "a tuple"
        case .dictionary: "a dictionary"
        case .storage: "a storage"
        case .tensor: "a tensor"
        case .array: "an array"
        case .arrayType: "the type of an array"
        case .global(let global): "the class or function \(global.name)"
        case .object(let name): "an object of \(name)"
        }
    }
}

/// An array of NumPy: shape and elements of one of unsigned bytes in C order; other arrays are not read, and stay empty.
struct ByteArray: Equatable {
    var shape: [Int] = []
    var bytes: [UInt8]?
}

/// A piece of memory that tensors view, as a checkpoint declares it.
struct TorchStorage: Hashable {
    let key: String
    /// Nil for untyped bytes.
    let type: ElementType?
    /// Elements, or bytes when untyped.
    let count: Int
    /// Where a view of a larger storage begins, in elements (PyTorch before 0.4).
    var viewOffset = 0
}

/// A tensor as a checkpoint declares it: a view of a storage that was checked to lie inside it.
struct TorchTensor: Equatable {
    let storage: TorchStorage
    let type: ElementType
    let view: StridedView

    init(storage: TorchStorage, type: ElementType, offset: Int, shape: [Int], strides: [Int]) throws(StridedView.Failure) {
        let (bytes, overflow) = storage.count.multipliedReportingOverflow(by: storage.type?.byteCount ?? 1)
        guard !overflow else { throw StridedView.Failure(problem: "lies in a storage of \(storage.count) elements") }
        view = try StridedView(
            offset: offset, shape: shape, strides: strides, available: bytes / type.byteCount, type: type)
        self.storage = storage
        self.type = type
    }
}
