import RLDGraph

/// What the known functions and classes make of their arguments.
extension PickleReader {
    /// Elements of a tuple, or of a list.
    func items(_ value: PickleValue) -> [PickleValue]? {
        switch value {
        case .tuple(let index): tuples[index]
        case .list(let index): lists[index]
        default: nil
        }
    }

    /// A string as its bytes: Python 2 wrote text and bytes as the same thing.
    func byteString(_ value: PickleValue) -> [UInt8]? {
        switch value {
        case .string(let text): Array(text.utf8)
        case .bytes(let bytes): bytes
        default: nil
        }
    }

    private func integers(_ value: PickleValue) -> [Int]? {
        guard let items = items(value) else { return nil }
        var result: [Int] = []
        for item in items {
            guard case .integer(let number) = item else { return nil }
            result.append(number)
        }
        return result
    }

    mutating func call(_ function: PickleValue, _ arguments: PickleValue) throws(InputError) -> PickleValue {
        guard case .global(let global) = function, let items = items(arguments) else {
            throw failure("calls \(function.kind)", advice: purpose.advice)
        }
        switch global {
        case .orderedDictionary:
            guard let first = items.first, let pairs = self.items(first) else { return newDictionary([]) }
            var flat: [PickleValue] = []
            for pair in pairs {
                guard let pair = self.items(pair), pair.count == 2 else {
                    throw failure("is corrupt: an OrderedDict of what are no pairs")
                }
                flat += pair
            }
            copiedBytes += flat.count * MemoryLayout<PickleValue>.stride
            return newDictionary(flat)
        case .defaultDictionary: return newDictionary([])
        case .rebuildTensor, .rebuildTensorV2, .rebuildTensorV3: return try tensor(global, items)
        case .rebuildParameter:
            guard let first = items.first, case .tensor = first else { throw failure("is corrupt: a parameter without a tensor") }
            return first
        case .rebuildFromType:
            guard items.count >= 3, case .global(let inner) = items[0], inner != .rebuildFromType else {
                throw failure("is corrupt: a tensor of a class without its parts")
            }
            return try call(items[0], items[2])
        case .size:
            guard let first = items.first, case .tuple = first else { throw failure("is corrupt: a torch.Size without sizes") }
            return first
        case .array:
            arrays.append(ByteArray())
            return .array(arrays.count - 1)
        case .arrayType:
            return items.first.flatMap(byteString).map { .arrayType(String(decoding: $0, as: UTF8.self)) } ?? .object(global.name)
        case .encode:
            // Python 3 in protocol 2: bytes, written as text whose code points are the bytes.
            guard case .string(let text)? = items.first, text.unicodeScalars.allSatisfy({ $0.value < 256 }) else {
                return .object(global.name)
            }
            let bytes = text.unicodeScalars.map { UInt8($0.value) }
            copiedBytes += bytes.count
            return .bytes(bytes)
        case .skipped(let name): return .object(name)
        case .storage, .elementType: throw failure("calls \(global.name)", advice: purpose.advice)
        }
    }

    /// `_rebuild_tensor(storage, offset, size, stride)`; version 2 adds what only training needs, version 3 the element type.
    private mutating func tensor(_ global: PickleGlobal, _ items: [PickleValue]) throws(InputError) -> PickleValue {
        guard items.count >= (global == .rebuildTensorV3 ? 7 : 4), case .storage(let index) = items[0],
            case .integer(let offset) = items[1],
            let shape = integers(items[2]), let strides = integers(items[3])
        else { throw failure("is corrupt: a tensor without storage, offset, sizes and strides") }
        let storage = storages[index]
        var type = storage.type
        if global == .rebuildTensorV3 {
            guard case .global(.elementType(let given)) = items[6] else {
                throw failure("is corrupt: a tensor without an element type")
            }
            type = given
        }
        guard let type else { throw failure("is corrupt: a tensor of untyped storage") }
        try checkMarks(items, at: global == .rebuildTensorV3 ? 7 : 6)
        do throws(StridedView.Failure) {
            tensors.append(try TorchTensor(storage: storage, type: type, offset: offset, shape: shape, strides: strides))
        } catch {
            throw failure("is corrupt: a tensor \(error.problem)")
        }
        return .tensor(tensors.count - 1)
    }

    /// Marks of a tensor that stand for its elements' negative or conjugate: their storage holds others than the tensor has.
    private func checkMarks(_ items: [PickleValue], at place: Int) throws(InputError) {
        guard items.count > place, case .dictionary(let index) = items[place] else { return }
        let marks = dictionaries[index]
        for at in stride(from: 0, to: marks.count - 1, by: 2) {
            guard case .string(let name) = marks[at], ["neg", "conj"].contains(name), marks[at + 1] == .bool(true) else {
                continue
            }
            throw failure(
                "holds a tensor with PyTorch's \(name) bit, whose storage has other values than the tensor",
                advice: "save tensor.resolve_\(name)()")
        }
    }

    /// ('storage', class, key, location, elements[, view]) with view (key, offset, elements) or None.
    func storage(_ id: PickleValue) throws(InputError) -> TorchStorage {
        guard case .tuple(let index) = id, tuples[index].count >= 5, case .string("storage") = tuples[index][0] else {
            throw failure("refers to something outside that is no storage", advice: purpose.advice)
        }
        let parts = tuples[index]
        guard case .global(.storage(let type)) = parts[1], case .string(let key) = parts[2], case .integer(let count) = parts[4],
            count >= 0
        else { throw failure("is corrupt: a storage without class, key and size") }
        guard parts.count > 5, let view = items(parts[5]) else { return TorchStorage(key: key, type: type, count: count) }
        guard view.count == 3, case .integer(let offset) = view[1], case .integer(let viewCount) = view[2], offset >= 0,
            viewCount >= 0,
            viewCount <= count, offset <= count - viewCount
        else { throw failure("is corrupt: a view outside its storage") }
        return TorchStorage(key: key, type: type, count: viewCount, viewOffset: offset)
    }

    /// Gives an object its attributes. None of them matter for tensors (`_metadata` of a state dict, settings of a script); an array
    /// is made of them.
    mutating func build(_ object: PickleValue, _ state: PickleValue) throws(InputError) {
        switch object {
        case .array(let index):
            // Version, shape, type, whether columns come first, elements.
            guard let parts = items(state), parts.count == 5, let shape = integers(parts[1]), parts[2] == .arrayType("u1"),
                parts[3] == .bool(false) || parts[3] == .integer(0), let bytes = byteString(parts[4]),
                ElementType.uint8.byteCount(shape: shape) == bytes.count
            else { return }
            arrays[index] = ByteArray(shape: shape, bytes: bytes)
        case .object, .dictionary, .tensor, .arrayType: return
        default: throw failure("gives attributes to \(object.kind)", advice: purpose.advice)
        }
    }
}
