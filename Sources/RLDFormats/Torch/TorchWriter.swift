import RLDGraph

/// Writes a PyTorch checkpoint in the zip format: {'model': state_dict}, and the metadata as strings beside it. `torch.load` reads
/// it, also with weights_only.
enum TorchWriter {
    static func write(
        _ entries: [(name: String, type: ElementType, shape: [Int])], metadata: [String: String], to path: String,
        tensor: (Int) throws(InputError) -> StoredTensor
    ) throws(InputError) {
        var pickle = PickleWriter()
        pickle.beginDictionary()
        pickle.string("model")
        pickle.beginDictionary(ordered: true)
        for (index, entry) in entries.enumerated() {
            guard let storage = storages[entry.type] else {
                throw InputError(
                    path, "tensor \(quoted(entry.name)): PyTorch checkpoints are not written with \(entry.type.rawValue)")
            }
            pickle.string(entry.name)
            pickle.tensor(storage: storage, key: "\(index)", shape: entry.shape)
            pickle.setItem()
        }
        pickle.setItem()
        for (key, value) in metadata.sorted(by: { $0.key < $1.key }) where key != "model" {
            pickle.string(key)
            pickle.string(value)
            pickle.setItem()
        }
        let structure = pickle.finished()
        try AtomicFile.write(to: path) { file throws(InputError) in
            var zip = ZipWriter(path: path)
            try zip.add("archive/data.pkl", structure, to: file)
            try zip.add("archive/byteorder", Array("little".utf8), to: file)
            for index in entries.indices { try zip.add("archive/data/\(index)", tensor(index).bytes, to: file) }
            try zip.add("archive/version", Array("3\n".utf8), to: file)
            try zip.finish(to: file)
        }
    }

    private static let storages: [ElementType: String] = [
        .float64: "DoubleStorage", .float32: "FloatStorage", .float16: "HalfStorage", .bfloat16: "BFloat16Storage",
        .int64: "LongStorage", .int32: "IntStorage", .int16: "ShortStorage", .int8: "CharStorage", .uint8: "ByteStorage",
        .bool: "BoolStorage",
    ]
}

/// The few instructions of pickle protocol 2 that a checkpoint takes.
private struct PickleWriter {
    private var bytes: [UInt8] = [0x80, 2]

    func finished() -> [UInt8] { bytes + [UInt8(ascii: ".")] }

    mutating func beginDictionary(ordered: Bool = false) {
        if ordered { call("collections", "OrderedDict") { _ in } } else { op("}") }
    }

    mutating func setItem() { op("s") }

    mutating func string(_ text: String) {
        let utf8 = Array(text.utf8)
        op("X")
        bytes += (0..<4).map { UInt8(truncatingIfNeeded: utf8.count >> (8 * $0)) } + utf8
    }

    /// A contiguous tensor over the whole of a storage.
    mutating func tensor(storage: String, key: String, shape: [Int]) {
        var strides = Array(repeating: 1, count: shape.count)
        for axis in shape.indices.dropLast().reversed() { strides[axis] = strides[axis + 1] * max(shape[axis + 1], 1) }
        call("torch._utils", "_rebuild_tensor_v2") {
            $0.op("(")
            $0.string("storage")
            $0.global("torch", storage)
            $0.string(key)
            $0.string("cpu")
            $0.integer(shape.reduce(1, *))
            $0.op("t")
            $0.op("Q")
            $0.integer(0)
            $0.integers(shape)
            $0.integers(strides)
            $0.bytes.append(0x89)
            $0.call("collections", "OrderedDict") { _ in }
        }
    }

    private mutating func call(_ module: String, _ name: String, arguments: (inout PickleWriter) -> Void) {
        global(module, name)
        op("(")
        arguments(&self)
        op("t")
        op("R")
    }

    private mutating func global(_ module: String, _ name: String) {
        op("c")
        bytes += Array("\(module)\n\(name)\n".utf8)
    }

    private mutating func integers(_ values: [Int]) {
        op("(")
        for value in values { integer(value) }
        op("t")
    }

    /// As a number of eight bytes, which holds any.
    private mutating func integer(_ value: Int) {
        bytes += [0x8A, 8] + (0..<8).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }

    private mutating func op(_ code: Unicode.Scalar) { bytes.append(UInt8(ascii: code)) }
}
