import RLDGraph

/// What CIFAR's Python files hold: a dictionary with byte arrays, lists and strings.
///
/// A pickle is a program for a stack machine that can name and call any Python function. Nothing is called here: two shapes of
/// call are known by name, NumPy's rebuilding of an array and Python 3's way to write bytes in protocol 2, everything else ends
/// the reading. Work is bounded by the input's size.
package struct ArrayPickle {
    package indirect enum Value {
        case none
        case integer(Int)
        /// Text and byte strings alike: Python 2 wrote both as the same thing.
        case bytes([UInt8])
        case list(Reference)
        case tuple([Value])
        case dictionary(Reference)
        case global(String)
        /// An array of bytes: set once its state is known.
        case array(Reference)
        case mark

        var text: String? { if case .bytes(let bytes) = self { String(decoding: bytes, as: UTF8.self) } else { nil } }
        var integer: Int? { if case .integer(let value) = self { value } else { nil } }
        var items: [Value]? {
            switch self {
            case .list(let reference): reference.items
            case .tuple(let items): items
            default: nil
            }
        }
        /// Shape and bytes of an array of unsigned bytes.
        var array: (shape: [Int], bytes: [UInt8])? {
            if case .array(let reference) = self, let bytes = reference.bytes { (reference.shape, bytes) } else { nil }
        }
    }

    /// Lists, dictionaries and arrays are filled after they are put on the stack and remembered.
    package final class Reference {
        /// Of a dictionary keys and values in turn.
        var items: [Value] = []
        var shape: [Int] = []
        var bytes: [UInt8]?
    }

    private let name: String
    private let input: [UInt8]
    private var position = 0
    private var stack: [Value] = []
    private var memo: [Int: Value] = [:]

    /// The dictionary that a pickle holds, by its keys.
    /// - Parameter name: stands for the file in messages.
    package static func dictionary(_ bytes: [UInt8], named name: String) throws(InputError) -> [String: Value] {
        var pickle = ArrayPickle(name: name, input: bytes)
        guard case .dictionary(let reference) = try pickle.run() else {
            throw InputError(name, "is a pickle, but of no dictionary")
        }
        var result: [String: Value] = [:]
        for index in stride(from: 0, to: reference.items.count - 1, by: 2) {
            if let key = reference.items[index].text { result[key] = reference.items[index + 1] }
        }
        return result
    }

    private init(name: String, input: [UInt8]) {
        self.name = name
        self.input = input
    }

    private func failure(_ problem: String) -> InputError { InputError(name, "\(problem) (a pickle, at byte \(position))") }

    private mutating func run() throws(InputError) -> Value {
        while true {
            let code = Unicode.Scalar(try take(1)[0])
            switch code {
            case "\u{80}": _ = try take(1)
            case "\u{95}": _ = try take(8)
            case ".": return try pop()
            case "(": stack.append(.mark)
            case "N": stack.append(.none)
            case "\u{88}", "\u{89}": stack.append(.integer(code == "\u{88}" ? 1 : 0))
            case "K": stack.append(.integer(try number(1)))
            case "M": stack.append(.integer(try number(2)))
            case "J": stack.append(.integer(Int(Int32(truncatingIfNeeded: try number(4)))))
            case "I":
                guard let value = Int(try line()) else { throw failure("holds a number that is none") }
                stack.append(.integer(value))
            case "\u{8A}":
                let bytes = try take(try number(1))
                guard bytes.count <= 8 else { throw failure("holds a number that is too large") }
                let negative = (bytes.last ?? 0) & 0x80 != 0
                stack.append(.integer(bytes.reversed().reduce(negative ? -1 : 0) { $0 << 8 | Int($1) }))
            case "G":
                _ = try take(8)
                stack.append(.none)
            case "U", "C", "\u{8C}": stack.append(.bytes(try take(try number(1))))
            case "T", "B", "X": stack.append(.bytes(try take(try number(4))))
            case "\u{8D}", "\u{8E}": stack.append(.bytes(try take(try number(8))))
            case "]": stack.append(.list(Reference()))
            case "}": stack.append(.dictionary(Reference()))
            case ")": stack.append(.tuple([]))
            case "t": stack.append(.tuple(try popToMark()))
            case "l", "d":
                let reference = Reference()
                reference.items = try popToMark()
                stack.append(code == "l" ? .list(reference) : .dictionary(reference))
            case "\u{85}", "\u{86}", "\u{87}":
                let count = Int(code.value) - 0x84
                guard stack.count >= count else { throw failure("takes from an empty stack") }
                let items = Array(stack.suffix(count))
                stack.removeLast(count)
                stack.append(.tuple(items))
            case "a":
                let value = try pop()
                try append([value])
            case "s":
                let value = try pop()
                let key = try pop()
                try append([key, value])
            case "e", "u":
                let items = try popToMark()
                try append(items)
            case "q": memo[try number(1)] = stack.last
            case "r": memo[try number(4)] = stack.last
            case "\u{94}": memo[memo.count] = stack.last
            case "p": memo[Int(try line()) ?? -1] = stack.last
            case "h": stack.append(try recall(try number(1)))
            case "j": stack.append(try recall(try number(4)))
            case "g": stack.append(try recall(Int(try line()) ?? -1))
            case "c": stack.append(.global("\(try line()).\(try line())"))
            case "\u{93}":
                let (attribute, module) = (try pop(), try pop())
                stack.append(.global("\(module.text ?? "?").\(attribute.text ?? "?")"))
            case "R": try reduce()
            case "b": try build()
            case "0": _ = try pop()
            default: throw failure("has the instruction \(code.value), which no CIFAR file needs")
            }
            guard stack.count < 1 << 22 else { throw failure("is larger than any CIFAR file") }
        }
    }

    private mutating func take(_ count: Int) throws(InputError) -> [UInt8] {
        guard count >= 0, count <= input.count - position else { throw failure("is truncated") }
        defer { position += count }
        return Array(input[position..<position + count])
    }

    private mutating func number(_ bytes: Int) throws(InputError) -> Int {
        let value = try take(bytes).reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        guard value <= UInt64(input.count) || bytes < 8 else { throw failure("is truncated") }
        return Int(value)
    }

    private mutating func line() throws(InputError) -> String {
        guard let end = input[position...].firstIndex(of: 0x0A) else { throw failure("is truncated") }
        defer { position = end + 1 }
        return String(decoding: input[position..<end], as: UTF8.self)
    }

    private mutating func pop() throws(InputError) -> Value {
        guard let value = stack.popLast() else { throw failure("takes from an empty stack") }
        return value
    }

    private mutating func popToMark() throws(InputError) -> [Value] {
        guard let mark = stack.lastIndex(where: { if case .mark = $0 { true } else { false } }) else {
            throw failure("lacks a mark")
        }
        let items = Array(stack[(mark + 1)...])
        stack.removeSubrange(mark...)
        return items
    }

    private func recall(_ key: Int) throws(InputError) -> Value {
        guard let value = memo[key] else { throw failure("recalls what it never stored") }
        return value
    }

    private func append(_ items: [Value]) throws(InputError) {
        switch stack.last {
        case .list(let reference), .dictionary(let reference): reference.items += items
        default: throw failure("adds to what is no list")
        }
    }

    private mutating func reduce() throws(InputError) {
        let arguments = try pop().items ?? []
        guard case .global(let name) = try pop() else { throw failure("calls what is no function") }
        switch name {
        case "numpy.core.multiarray._reconstruct", "numpy._core.multiarray._reconstruct": stack.append(.array(Reference()))
        case "numpy.dtype":
            // "u1": unsigned bytes; other arrays are read as unknown.
            stack.append(arguments.first?.text.map { .bytes(Array($0.utf8)) } ?? .none)
        case "_codecs.encode":
            // Bytes, written as text whose code points are the bytes.
            guard let text = arguments.first?.text else { throw failure("encodes what is no text") }
            var bytes: [UInt8] = []
            for scalar in text.unicodeScalars {
                guard scalar.value < 256 else { throw failure("encodes a character that is no byte") }
                bytes.append(UInt8(scalar.value))
            }
            stack.append(.bytes(bytes))
        case "__builtin__.bytes", "builtins.bytes": stack.append(.bytes([]))
        default: throw failure("calls \(name), which no CIFAR file needs")
        }
    }

    /// The state of an array: version, shape, type, whether columns come first, bytes.
    private mutating func build() throws(InputError) {
        let state = try pop().items ?? []
        guard case .array(let reference) = stack.last, state.count == 5 else { return }
        let shape = (state[1].items ?? []).compactMap(\.integer)
        guard state[2].text == "u1", state[3].integer == 0, case .bytes(let bytes) = state[4] else {
            throw failure("holds an array that is not of unsigned bytes, row by row")
        }
        guard shape.reduce(1, { $0.multipliedReportingOverflow(by: $1).partialValue }) == bytes.count else {
            throw failure("holds an array of shape \(shape) with \(bytes.count) bytes")
        }
        reference.shape = shape
        reference.bytes = bytes
    }
}
