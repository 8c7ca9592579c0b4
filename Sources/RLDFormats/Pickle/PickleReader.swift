import RLDGraph

/// Reads one pickle (Python's object serialisation, protocols 0 to 5) as far as PyTorch checkpoints and CIFAR's files need it.
///
/// A pickle is a program for a stack machine that can name and call any Python function. Here names are looked up in
/// `PickleGlobal`'s list and stand for themselves, calls of them build values of this reader, and everything else ends the reading
/// with an error that says what was met. Work and memory are bounded by the size of the input and by the limits below.
struct PickleReader {
    /// What a pickle is read for: what messages say, and how large it may be.
    struct Purpose {
        let content: String
        let file: String
        let advice: String
        let maximumBytes: Int

        static let weights = Purpose(
            content: "weights", file: "checkpoint of weights",
            advice: "save only the weights: torch.save({'model': model.state_dict()}, FILE)", maximumBytes: 1 << 26)
    }

    let purpose: Purpose
    var lists: [[PickleValue]] = []
    var tuples: [[PickleValue]] = []
    /// Keys and values in turn.
    var dictionaries: [[PickleValue]] = []
    var storages: [TorchStorage] = []
    var tensors: [TorchTensor] = []
    var arrays: [ByteArray] = []
    /// Bytes of what calls made out of what was there already: they cost the file next to nothing.
    var copiedBytes = 0
    private var memo: [Int: PickleValue] = [:]
    private var stack: [PickleValue] = []
    private var marks: [Int] = []
    private var cursor: FileCursor
    private let end: Int

    /// Instructions of one pickle; a checkpoint with ten thousand tensors has half a million.
    static let maximumInstructions = 1 << 23
    /// Containers, and values that are remembered or on the stack.
    static let maximumObjects = 1 << 22

    /// - Parameter cursor: at the pickle's first byte.
    init(_ cursor: FileCursor, for purpose: Purpose = .weights) {
        self.cursor = cursor
        self.purpose = purpose
        end = cursor.position + purpose.maximumBytes
    }

    /// After the pickle's last byte.
    var rest: FileCursor { cursor }
    var path: String { cursor.file.path }

    func failure(_ problem: String, advice: String = "") -> InputError {
        InputError(path, "\(problem) (its pickle, near byte \(cursor.position))", advice: advice)
    }

    /// Interprets the pickle.
    /// - Returns: the value that it leaves; containers and tensors are in this reader's tables.
    mutating func read() throws(InputError) -> PickleValue {
        for _ in 0..<Self.maximumInstructions {
            let code = try cursor.byte()
            if code == UInt8(ascii: ".") { return try pop() }
            try execute(code)
            let containers = lists.count + tuples.count + dictionaries.count + storages.count + tensors.count + arrays.count
            guard cursor.position <= end, copiedBytes <= purpose.maximumBytes,
                stack.count + memo.count + containers <= Self.maximumObjects
            else { break }
        }
        throw failure("is larger than any \(purpose.file)")
    }

    // MARK: - Stack

    private mutating func pop() throws(InputError) -> PickleValue {
        guard stack.count > (marks.last ?? 0), let value = stack.popLast() else {
            throw failure("is corrupt: takes from an empty stack")
        }
        return value
    }

    private func top() throws(InputError) -> PickleValue {
        guard stack.count > (marks.last ?? 0), let value = stack.last else {
            throw failure("is corrupt: looks at an empty stack")
        }
        return value
    }

    private mutating func popMarked() throws(InputError) -> [PickleValue] {
        guard let mark = marks.popLast(), mark <= stack.count else { throw failure("is corrupt: a mark is missing") }
        let values = Array(stack[mark...])
        stack.removeLast(values.count)
        return values
    }

    private mutating func pushTuple(_ values: [PickleValue]) {
        tuples.append(values)
        stack.append(.tuple(tuples.count - 1))
    }

    mutating func newDictionary(_ items: [PickleValue] = []) -> PickleValue {
        dictionaries.append(items)
        return .dictionary(dictionaries.count - 1)
    }

    private mutating func newList(_ items: [PickleValue]) -> PickleValue {
        lists.append(items)
        return .list(lists.count - 1)
    }

    // MARK: - Instructions

    private mutating func execute(_ code: UInt8) throws(InputError) {
        switch Unicode.Scalar(code) {
        case "\u{80}":
            let version = try cursor.byte()
            guard version <= 5 else { throw failure("has pickle protocol \(version), known are 0 to 5") }
        case "\u{95}": _ = try cursor.integer(8)
        case "(": marks.append(stack.count)
        case "0": if stack.count > (marks.last ?? 0) { _ = try pop() } else { _ = try popMarked() }
        case "1": _ = try popMarked()
        case "2": stack.append(try top())
        case "N": stack.append(.none)
        case "\u{88}": stack.append(.bool(true))
        case "\u{89}": stack.append(.bool(false))
        case "I", "L", "F", "S", "V", "p", "g", "P": try executeText(Unicode.Scalar(code))
        case "J": stack.append(.integer(Int(Int32(truncatingIfNeeded: try cursor.integer(4)))))
        case "K": stack.append(.integer(Int(try cursor.integer(1))))
        case "M": stack.append(.integer(Int(try cursor.integer(2))))
        case "\u{8a}": stack.append(integer(try cursor.bytes(Int(cursor.byte()))))
        case "\u{8b}": stack.append(integer(try cursor.bytes(try length(4))))
        case "G": stack.append(.float(Double(bitPattern: try cursor.integer(8).byteSwapped)))
        case "\u{8c}": stack.append(try text(1))
        case "X": stack.append(try text(4))
        case "\u{8d}": stack.append(try text(8))
        case "U": stack.append(try latin(1))
        case "T": stack.append(try latin(4))
        case "C": stack.append(.bytes(try cursor.bytes(length(1))))
        case "B": stack.append(.bytes(try cursor.bytes(length(4))))
        case "\u{8e}", "\u{96}": stack.append(.bytes(try cursor.bytes(length(8))))
        case "]": stack.append(newList([]))
        case "l": stack.append(newList(try popMarked()))
        case "}": stack.append(newDictionary())
        case "d": stack.append(newDictionary(try pairs(try popMarked())))
        case ")": pushTuple([])
        case "t": pushTuple(try popMarked())
        case "\u{85}": pushTuple([try pop()])
        case "\u{86}":
            let second = try pop()
            pushTuple([try pop(), second])
        case "\u{87}":
            let (third, second) = (try pop(), try pop())
            pushTuple([try pop(), second, third])
        case "\u{8f}": stack.append(.object("a set"))
        case "\u{90}":
            _ = try popMarked()
            guard case .object = try top() else { throw failure("is corrupt: adds items to \(try top().kind)") }
        case "\u{91}":
            _ = try popMarked()
            stack.append(.object("a set"))
        case "a": try append([try pop()])
        case "e": try append(try popMarked())
        case "s":
            let value = try pop()
            try setItems([try pop(), value])
        case "u": try setItems(try popMarked())
        case "q": memo[Int(try cursor.byte())] = try top()
        case "r": memo[try length(4)] = try top()
        case "\u{94}": memo[memo.count] = try top()
        case "h": try recall(Int(cursor.byte()))
        case "j": try recall(try length(4))
        case "c":
            let module = try line()
            try pushGlobal(module, try line())
        case "\u{93}":
            let (name, module) = (try pop(), try pop())
            guard case .string(let name) = name, case .string(let module) = module else {
                throw failure("is corrupt: a class without a name")
            }
            try pushGlobal(module, name)
        case "Q":
            let id = try pop()
            storages.append(try storage(id))
            stack.append(.storage(storages.count - 1))
        case "R", "\u{81}":
            let arguments = try pop()
            stack.append(try call(try pop(), arguments))
        case "b":
            let state = try pop()
            try build(try top(), state)
        default:
            throw failure(
                "uses the instruction 0x\(String(code, radix: 16)), which \(purpose.content) do not need", advice: purpose.advice)
        }
    }

    private mutating func executeText(_ code: Unicode.Scalar) throws(InputError) {
        let line = try line()
        switch code {
        case "I":
            if line == "01" || line == "00" { return stack.append(.bool(line == "01")) }
            fallthrough
        case "L":
            guard let value = Int(line.hasSuffix("L") ? String(line.dropLast()) : line) else {
                throw failure("is corrupt: \(quoted(line)) is no whole number")
            }
            stack.append(.integer(value))
        case "F":
            guard let value = Double(line) else { throw failure("is corrupt: \(quoted(line)) is no number") }
            stack.append(.float(value))
        case "S": stack.append(.string(String(line.dropFirst().dropLast())))
        case "V": stack.append(.string(line))
        case "p":
            guard let key = Int(line) else { throw failure("is corrupt: \(quoted(line)) is no place to remember") }
            memo[key] = try top()
        case "g":
            guard let key = Int(line) else { throw failure("is corrupt: \(quoted(line)) is no place to recall") }
            try recall(key)
        default: throw failure("refers to something outside by a line of text", advice: purpose.advice)
        }
    }

    // MARK: - Parts of instructions

    private mutating func length(_ size: Int) throws(InputError) -> Int {
        let value = try cursor.integer(size)
        guard let length = Int(exactly: value) else { throw failure("is corrupt: promises \(value) bytes") }
        return length
    }

    private mutating func text(_ size: Int) throws(InputError) -> PickleValue {
        let bytes = try cursor.bytes(try length(size))
        guard let string = String(validating: bytes, as: UTF8.self) else {
            throw failure("is corrupt: a string that is not UTF-8")
        }
        return .string(string)
    }

    /// A string of Python 2: ASCII in names, anything in NumPy's data.
    private mutating func latin(_ size: Int) throws(InputError) -> PickleValue {
        let bytes = try cursor.bytes(try length(size))
        return String(validating: bytes, as: UTF8.self).map { .string($0) } ?? .bytes(bytes)
    }

    private mutating func line() throws(InputError) -> String {
        let bytes = try cursor.line()
        guard let line = String(validating: bytes, as: UTF8.self) else { throw failure("is corrupt: a line that is not UTF-8") }
        return line
    }

    /// A two's complement number of any length.
    private func integer(_ bytes: [UInt8]) -> PickleValue {
        guard bytes.count <= 8 else { return .largeInteger(bytes) }
        var value: Int64 = (bytes.last ?? 0) >= 0x80 ? -1 : 0
        for byte in bytes.reversed() { value = value << 8 | Int64(byte) }
        return .integer(Int(value))
    }

    private func pairs(_ items: [PickleValue]) throws(InputError) -> [PickleValue] {
        guard items.count % 2 == 0 else { throw failure("is corrupt: a key without a value") }
        return items
    }

    private mutating func recall(_ key: Int) throws(InputError) {
        guard let value = memo[key] else { throw failure("is corrupt: recalls what was never remembered") }
        stack.append(value)
    }

    private mutating func append(_ items: [PickleValue]) throws(InputError) {
        switch try top() {
        case .list(let index): lists[index] += items
        case .object: break
        case let other: throw failure("is corrupt: appends to \(other.kind)")
        }
    }

    private mutating func setItems(_ items: [PickleValue]) throws(InputError) {
        let items = try pairs(items)
        switch try top() {
        case .dictionary(let index): dictionaries[index] += items
        case .object: break
        case let other: throw failure("is corrupt: sets items of \(other.kind)")
        }
    }

    private mutating func pushGlobal(_ module: String, _ name: String) throws(InputError) {
        guard let global = PickleGlobal(module: module, name: name) else {
            throw failure(
                "refers to \(quoted("\(module).\(name)")), which \(purpose.content) do not need: nothing of it was run",
                advice: purpose.advice)
        }
        stack.append(.global(global))
    }
}
