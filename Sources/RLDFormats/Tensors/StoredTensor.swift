import RLDGraph

/// A named tensor as files hold it: typed elements in little-endian bytes, row-major. Conversions between files keep every bit
/// where the type stays.
public struct StoredTensor: Sendable, Equatable {
    public var name: String
    public let type: ElementType
    /// Extents, outermost first; empty for a scalar.
    public let shape: [Int]
    /// Little-endian elements, row-major.
    public let bytes: [UInt8]

    /// - Precondition: the bytes fill the shape.
    init(name: String, type: ElementType, shape: [Int], bytes: [UInt8]) {
        precondition(type.byteCount(shape: shape) == bytes.count, "\(bytes.count) bytes for \(type) \(shape)")
        self.name = name
        self.type = type
        self.shape = shape
        self.bytes = bytes
    }

    public var count: Int { bytes.count / type.byteCount }

    // MARK: - Values

    /// The values, row-major. Every type converts exactly, except whole numbers beyond 2^53, which are an error.
    /// - Parameter source: the file, for messages.
    public func doubles(source: String) throws(InputError) -> [Double] {
        switch type {
        case .float64: return decode(bytes) { (word: UInt64) in Double(bitPattern: word) }
        case .float32, .float16, .bfloat16: return decodeFloats().map(Double.init)
        default:
            let values = try int64s(source: source)
            if let large = values.first(where: { $0.magnitude > 1 << 53 }) {
                throw InputError(source, "tensor \(quoted(name)) holds \(large), which no Double holds exactly")
            }
            return values.map(Double.init)
        }
    }

    /// The values, row-major; float64 and large whole numbers are rounded to nearest.
    public func floats(source: String) throws(InputError) -> [Float] {
        switch type {
        case .float32, .float16, .bfloat16: decodeFloats()
        case .float64: decode(bytes) { (word: UInt64) in Float(Double(bitPattern: word)) }
        default: try int64s(source: source).map(Float.init)
        }
    }

    /// The values of an integer or boolean tensor, row-major; other types are an error.
    public func int64s(source: String) throws(InputError) -> [Int64] {
        switch type {
        case .int64: return decode(bytes) { (word: Int64) in word }
        case .int32: return decode(bytes) { (word: Int32) in Int64(word) }
        case .int16: return decode(bytes) { (word: Int16) in Int64(word) }
        case .int8: return decode(bytes) { (word: Int8) in Int64(word) }
        case .uint32: return decode(bytes) { (word: UInt32) in Int64(word) }
        case .uint16: return decode(bytes) { (word: UInt16) in Int64(word) }
        case .uint8: return bytes.map(Int64.init)
        case .uint64:
            let words = decode(bytes) { (word: UInt64) in word }
            if let large = words.first(where: { $0 > Int64.max }) {
                throw InputError(source, "tensor \(quoted(name)) holds \(large), which is beyond the largest I64")
            }
            return words.map(Int64.init)
        case .bool:
            if let wrong = bytes.first(where: { $0 > 1 }) {
                throw InputError(source, "tensor \(quoted(name)) is BOOL and holds \(wrong), expected 0 or 1")
            }
            return bytes.map(Int64.init)
        case .float64, .float32, .float16, .bfloat16:
            throw InputError(source, "tensor \(quoted(name)) is \(type.rawValue), expected whole numbers such as I64")
        }
    }

    /// The tensor with its shape, in Double.
    public func tensor(source: String) throws(InputError) -> Tensor {
        Tensor(shape: shape, values: try doubles(source: source))
    }

    private func decodeFloats() -> [Float] {
        switch type {
        case .float16: decode(bytes) { (word: UInt16) in Float(Float16(bitPattern: word)) }
        case .bfloat16: decode(bytes) { (word: UInt16) in Float(bitPattern: UInt32(word) << 16) }
        default: decode(bytes) { (word: UInt32) in Float(bitPattern: word) }
        }
    }

    // MARK: - From values

    /// Values rounded to a type, to nearest even.
    /// - Parameter source: the file to be written, for messages.
    /// - Throws: for a finite value that the type cannot hold, a fraction as a whole number, and extents beyond any memory.
    public init(_ name: String, _ tensor: Tensor, as type: ElementType, source: String) throws(InputError) {
        try Self.check(name, shape: tensor.shape, as: type, source: source)
        let values = tensor.values
        func check(_ isLost: (Double, Int) -> Bool) throws(InputError) {
            for (index, value) in values.enumerated() where isLost(value, index) {
                throw InputError(source, "tensor \(quoted(name)): value \(value) at \(index) does not fit \(type.rawValue)")
            }
        }
        func whole<Word: FixedWidthInteger>(_: Word.Type) throws(InputError) -> [UInt8] {
            try check { value, _ in Word(exactly: value) == nil }
            return encode(values.map { Word($0) })
        }
        let bytes: [UInt8]
        switch type {
        case .float64: bytes = encode(values.map(\.bitPattern))
        case .float32:
            let floats = values.map(Float.init)
            try check { $0.isFinite && !floats[$1].isFinite }
            bytes = encode(floats.map(\.bitPattern))
        case .float16:
            let halves = values.map(Float16.init)
            try check { $0.isFinite && !halves[$1].isFinite }
            bytes = encode(halves.map(\.bitPattern))
        case .bfloat16:
            let words = values.map(bfloat16Bits)
            try check { $0.isFinite && words[$1] & 0x7F80 == 0x7F80 }
            bytes = encode(words)
        case .int64: bytes = try whole(Int64.self)
        case .int32: bytes = try whole(Int32.self)
        case .int16: bytes = try whole(Int16.self)
        case .int8: bytes = try whole(Int8.self)
        case .uint64: bytes = try whole(UInt64.self)
        case .uint32: bytes = try whole(UInt32.self)
        case .uint16: bytes = try whole(UInt16.self)
        case .uint8: bytes = try whole(UInt8.self)
        case .bool:
            try check { value, _ in value != 0 && value != 1 }
            bytes = values.map { $0 == 0 ? 0 : 1 }
        }
        self.init(name: name, type: type, shape: tensor.shape, bytes: bytes)
    }

    /// Throws for a shape of which a type has no tensor: an empty one may have any extents whose bytes are a number, and a wider
    /// type has more of them.
    static func check(_ name: String, shape: [Int], as type: ElementType, source: String) throws(InputError) {
        guard type.byteCount(shape: shape) == nil else { return }
        throw InputError(source, "tensor \(quoted(name)): no memory holds \(type.rawValue) of shape \(shapeText(shape))")
    }

    /// The same values in another type; nothing changes when the type stays.
    public func converted(to type: ElementType, source: String) throws(InputError) -> StoredTensor {
        type == self.type ? self : try StoredTensor(name, tensor(source: source), as: type, source: source)
    }
}

/// The bfloat16 nearest to a Double, ties to even. From the Double itself: going through Float would round twice.
private func bfloat16Bits(_ value: Double) -> UInt16 {
    if value.isNaN { return 0x7FC0 }
    // Round to odd at 24 bits keeps what the last rounding needs to know.
    let nearest = Float(value)
    var bits = nearest.bitPattern
    if Double(nearest) != value, nearest.isFinite, bits & 1 == 0 {
        bits = abs(Double(nearest)) > abs(value) ? bits - 1 : bits | 1
    }
    let rounded = bits + 0x7FFF + (bits >> 16) & 1
    return UInt16(truncatingIfNeeded: rounded >> 16)
}

/// Little-endian bytes.
func encode<Word: FixedWidthInteger>(_ words: [Word]) -> [UInt8] {
    words.map(\.littleEndian).withUnsafeBytes { Array($0) }
}

func decode<Word: FixedWidthInteger, Value>(_ bytes: [UInt8], _ convert: (Word) -> Value) -> [Value] {
    let size = MemoryLayout<Word>.size
    return bytes.withUnsafeBytes { raw in
        (0..<raw.count / size).map { index in
            convert(Word(littleEndian: raw.loadUnaligned(fromByteOffset: index * size, as: Word.self)))
        }
    }
}

/// Elements of `size` bytes with their bytes in the other order.
func swappingBytes(_ bytes: [UInt8], size: Int) -> [UInt8] {
    guard size > 1 else { return bytes }
    var result = bytes
    for start in stride(from: 0, to: bytes.count - size + 1, by: size) {
        for i in 0..<size { result[start + i] = bytes[start + size - 1 - i] }
    }
    return result
}
