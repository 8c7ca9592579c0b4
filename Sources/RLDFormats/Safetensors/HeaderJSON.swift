/// What a JSON text holds. Unlike Foundation's, objects keep their order and their duplicate keys, and integers keep all bits:
/// a format's header must be judged by what is written in it.
enum HeaderJSON: Equatable {
    case object([Member])
    case array([HeaderJSON])
    case string(String)
    /// A number without sign, fraction or exponent that fits 64 bits.
    case integer(UInt64)
    /// true, false, null and every other number: nothing that a header needs.
    case other

    struct Member: Equatable {
        let key: String
        let value: HeaderJSON
    }

    /// Why a text is not JSON, and where.
    struct Failure: Error, CustomStringConvertible {
        let problem: String
        let byte: Int
        var description: String { "\(problem) at byte \(byte)" }
    }

    /// Parses a whole text; blanks may follow the value, nothing else.
    static func parse(_ bytes: [UInt8]) throws(Failure) -> HeaderJSON {
        var parser = Parser(bytes: bytes)
        let value = try parser.value(depth: 0)
        parser.skipBlanks()
        if parser.position < bytes.count { throw parser.failure("unexpected text after the value") }
        return value
    }
}

private struct Parser {
    let bytes: [UInt8]
    var position = 0
    private static let maximumDepth = 32

    init(bytes: [UInt8]) { self.bytes = bytes }

    func failure(_ problem: String) -> HeaderJSON.Failure { HeaderJSON.Failure(problem: problem, byte: position) }

    private var next: UInt8? { position < bytes.count ? bytes[position] : nil }

    mutating func skipBlanks() {
        while let byte = next, [0x20, 0x0A, 0x0D, 0x09].contains(byte) { position += 1 }
    }

    mutating func value(depth: Int) throws(HeaderJSON.Failure) -> HeaderJSON {
        guard depth < Self.maximumDepth else { throw failure("nested deeper than \(Self.maximumDepth) levels") }
        skipBlanks()
        switch next {
        case UInt8(ascii: "{"): return .object(try object(depth: depth))
        case UInt8(ascii: "["): return .array(try array(depth: depth))
        case UInt8(ascii: "\""): return .string(try string())
        case UInt8(ascii: "t"): return try word("true")
        case UInt8(ascii: "f"): return try word("false")
        case UInt8(ascii: "n"): return try word("null")
        case .some(UInt8(ascii: "0")...UInt8(ascii: "9")), UInt8(ascii: "-"): return try number()
        case nil: throw failure("the text ends where a value should be")
        default: throw failure("no value")
        }
    }

    private mutating func take(_ character: Unicode.Scalar) -> Bool {
        guard next == UInt8(ascii: character) else { return false }
        position += 1
        return true
    }

    private mutating func expect(_ character: Unicode.Scalar) throws(HeaderJSON.Failure) {
        skipBlanks()
        guard take(character) else { throw failure("no '\(character)'") }
    }

    private mutating func object(depth: Int) throws(HeaderJSON.Failure) -> [HeaderJSON.Member] {
        try expect("{")
        skipBlanks()
        var members: [HeaderJSON.Member] = []
        if take("}") { return members }
        while true {
            skipBlanks()
            let key = try string()
            try expect(":")
            members.append(HeaderJSON.Member(key: key, value: try value(depth: depth + 1)))
            skipBlanks()
            if take("}") { return members }
            try expect(",")
        }
    }

    private mutating func array(depth: Int) throws(HeaderJSON.Failure) -> [HeaderJSON] {
        try expect("[")
        skipBlanks()
        var values: [HeaderJSON] = []
        if take("]") { return values }
        while true {
            values.append(try value(depth: depth + 1))
            skipBlanks()
            if take("]") { return values }
            try expect(",")
        }
    }

    private mutating func word(_ word: String) throws(HeaderJSON.Failure) -> HeaderJSON {
        guard bytes[position...].starts(with: word.utf8) else { throw failure("no value") }
        position += word.utf8.count
        return .other
    }

    private mutating func number() throws(HeaderJSON.Failure) -> HeaderJSON {
        let negative = take("-")
        let start = position
        var magnitude: UInt64? = 0
        try digits { digit in
            let (tenfold, overflow) = (magnitude ?? 0).multipliedReportingOverflow(by: 10)
            let (sum, carry) = tenfold.addingReportingOverflow(digit)
            magnitude = magnitude == nil || overflow || carry ? nil : sum
        }
        if position - start > 1, bytes[start] == UInt8(ascii: "0") { throw failure("a number with a leading zero") }
        var plain = true
        if take(".") {
            plain = false
            try digits { _ in }
        }
        if take("e") || take("E") {
            plain = false
            _ = take("+") || take("-")
            try digits { _ in }
        }
        guard plain, !negative, let magnitude else { return .other }
        return .integer(magnitude)
    }

    private mutating func digits(_ body: (UInt64) -> Void) throws(HeaderJSON.Failure) {
        let start = position
        while let byte = next, (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte) {
            body(UInt64(byte - UInt8(ascii: "0")))
            position += 1
        }
        if position == start { throw failure("no digit") }
    }

    private mutating func string() throws(HeaderJSON.Failure) -> String {
        guard take("\"") else { throw failure("no string") }
        var text: [UInt8] = []
        while let byte = next {
            position += 1
            switch byte {
            case UInt8(ascii: "\""):
                guard let string = String(validating: text, as: UTF8.self) else { throw failure("a string that is not UTF-8") }
                return string
            case UInt8(ascii: "\\"): text += Array(String(try escaped()).utf8)
            case 0..<0x20: throw failure("a control character in a string")
            default: text.append(byte)
            }
        }
        throw failure("a string without end")
    }

    private mutating func escaped() throws(HeaderJSON.Failure) -> Unicode.Scalar {
        guard let byte = next else { throw failure("a string without end") }
        position += 1
        switch Unicode.Scalar(byte) {
        case "\"", "\\", "/": return Unicode.Scalar(byte)
        case "b": return "\u{8}"
        case "f": return "\u{C}"
        case "n": return "\n"
        case "r": return "\r"
        case "t": return "\t"
        case "u":
            let unit = try hexadecimal()
            if let scalar = Unicode.Scalar(unit) { return scalar }
            // A high surrogate needs its low one.
            guard (0xD800..<0xDC00).contains(unit), take("\\"), take("u") else { throw failure("half a surrogate pair") }
            let low = try hexadecimal()
            guard (0xDC00..<0xE000).contains(low),
                let scalar = Unicode.Scalar(0x10000 + (unit - 0xD800) << 10 + (low - 0xDC00))
            else { throw failure("half a surrogate pair") }
            return scalar
        default: throw failure("an unknown escape")
        }
    }

    private mutating func hexadecimal() throws(HeaderJSON.Failure) -> UInt32 {
        var value: UInt32 = 0
        for _ in 0..<4 {
            guard let byte = next, let digit = Character(Unicode.Scalar(byte)).hexDigitValue else {
                throw failure("an escape that is not four hexadecimal digits")
            }
            value = value << 4 | UInt32(digit)
            position += 1
        }
        return value
    }
}

/// A JSON string literal. Control characters of every kind and Unicode's line ends are escaped: it stays one line wherever it is
/// shown.
func jsonLiteral(_ text: String) -> String {
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"": result += "\\\""
        case "\\": result += "\\\\"
        case "\0"..<" ", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}":
            let digits = String(scalar.value, radix: 16)
            result += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
        default: result.unicodeScalars.append(scalar)
        }
    }
    return result + "\""
}
