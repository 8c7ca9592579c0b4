import RLDGraph

/// The header of a .npy file (NumPy Enhancement Proposal 1): a Python dictionary of element type, order and shape.
struct NumPyHeader: Equatable {
    let type: ElementType
    let isBigEndian: Bool
    /// Whether the first index runs fastest.
    let isFortranOrder: Bool
    let shape: [Int]

    static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)
    static let maximumBytes = 1 << 16
    /// NumPy's own limit.
    static let maximumDimensions = 64

    private static let kinds: [String: ElementType] = [
        "f8": .float64, "f4": .float32, "f2": .float16, "i8": .int64, "i4": .int32, "i2": .int16, "i1": .int8, "u8": .uint64,
        "u4": .uint32, "u2": .uint16, "u1": .uint8, "b1": .bool,
    ]

    /// - Parameter text: the dictionary, padding included.
    init(_ text: [UInt8], path: String) throws(InputError) {
        var parser = LiteralParser(text)
        guard let members = parser.dictionary() else {
            throw InputError(path, "its NumPy header is no dictionary of descr, fortran_order and shape")
        }
        guard case .string(let descr)? = members["descr"] else {
            throw InputError(
                unsupported: true, path, "is a NumPy array of records, not of numbers",
                advice: "store each field as an array of its own")
        }
        guard let mark = descr.first, "<>|=".contains(mark), let type = Self.kinds[String(descr.dropFirst())] else {
            throw InputError(
                unsupported: true, path, "holds NumPy elements of type \(quoted(descr))",
                advice: "readable are \(Self.kinds.keys.sorted().joined(separator: ", "))")
        }
        guard case .truth(let isFortranOrder)? = members["fortran_order"], case .tuple(let shape)? = members["shape"],
            members.count == 3
        else {
            throw InputError(path, "its NumPy header is no dictionary of descr, fortran_order and shape")
        }
        self.type = type
        self.isFortranOrder = isFortranOrder
        self.shape = shape
        isBigEndian = mark == ">" && type.byteCount > 1
    }

    /// The header bytes of a little-endian array in C order, magic and padding to 64 bytes included; nil for a type that NumPy
    /// lacks.
    /// - Precondition: no more dimensions than NumPy has.
    static func bytes(type: ElementType, shape: [Int]) -> [UInt8]? {
        guard let kind = kinds.first(where: { $0.value == type })?.key else { return nil }
        let extents = shape.count == 1 ? "\(shape[0])," : shape.map(String.init).joined(separator: ", ")
        let mark = type.byteCount == 1 ? "|" : "<"
        var text = Array("{'descr': '\(mark)\(kind)', 'fortran_order': False, 'shape': (\(extents)), }".utf8)
        text += Array(repeating: UInt8(ascii: " "), count: 63 - (10 + text.count) % 64) + [0x0A]
        return magic + [1, 0, UInt8(text.count & 0xFF), UInt8(text.count >> 8)] + text
    }
}

/// Reads the few Python literals that a NumPy header is made of.
private struct LiteralParser {
    enum Value {
        case string(String)
        case truth(Bool)
        case tuple([Int])
        /// A list: the fields of a record.
        case other
    }

    private let text: [UInt8]
    private var position = 0

    init(_ text: [UInt8]) { self.text = text }

    private var next: UInt8? { position < text.count ? text[position] : nil }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        while let byte = next, byte == 0x20 || byte == 0x0A || byte == 0x0D || byte == 0x09 { position += 1 }
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    mutating func dictionary() -> [String: Value]? {
        guard take("{") else { return nil }
        var members: [String: Value] = [:]
        while !take("}") {
            guard let key = string(), take(":"), let value = value(), members.updateValue(value, forKey: key) == nil else {
                return nil
            }
            // The fields of a record are of no interest: such arrays are not read.
            if case .other = value { return members }
            guard take(",") || next == UInt8(ascii: "}") else { return nil }
        }
        _ = take("\n")
        return position == text.count ? members : nil
    }

    private mutating func value() -> Value? {
        if let string = string() { return .string(string) }
        if take("(") { return tuple() }
        if take("[") { return .other }
        for (word, truth) in [("True", true), ("False", false)] where text[position...].starts(with: word.utf8) {
            position += word.utf8.count
            return .truth(truth)
        }
        return nil
    }

    private mutating func string() -> String? {
        for quote in ["'", "\""] as [Unicode.Scalar] where take(quote) {
            let start = position
            while let byte = next, byte != UInt8(ascii: quote) { position += 1 }
            let inner = String(validating: text[start..<position], as: UTF8.self)
            return take(quote) ? inner : nil
        }
        return nil
    }

    private mutating func tuple() -> Value? {
        var items: [Int] = []
        while !take(")") {
            guard let number = number(), items.count < NumPyHeader.maximumDimensions else { return nil }
            items.append(number)
            guard take(",") || next == UInt8(ascii: ")") else { return nil }
        }
        return .tuple(items)
    }

    private mutating func number() -> Int? {
        while next == 0x20 { position += 1 }
        let start = position
        while let byte = next, (0x30...0x39).contains(byte) { position += 1 }
        let digits = text[start..<position]
        // Python 2 wrote long numbers with an L.
        if next == UInt8(ascii: "L") { position += 1 }
        return Int(String(decoding: digits, as: UTF8.self))
    }
}
