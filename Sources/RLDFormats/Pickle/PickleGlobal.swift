/// The classes and functions that a pickle may name: what tensors and arrays of bytes need, and a few that are harmless to skip.
/// Everything else is refused by name; nothing is ever called.
enum PickleGlobal: Equatable {
    case orderedDictionary
    case defaultDictionary
    case rebuildTensor
    case rebuildTensorV2
    case rebuildTensorV3
    case rebuildParameter
    case rebuildFromType
    /// A storage class; nil for untyped bytes.
    case storage(ElementType?)
    /// An element type as a value ("torch.float32").
    case elementType(ElementType)
    case size
    /// NumPy's way to make an array, which is filled later, and its element type.
    case array
    case arrayType
    /// Python 3's way to write bytes in protocol 2.
    case encode
    /// A class whose objects are skipped.
    case skipped(String)

    /// - Returns: nil for a name that is not known.
    init?(module: String, name: String) {
        let full = "\(module).\(name)"
        if let known = Self.known[full] {
            self = known
        } else if Self.skipped.contains(full) {
            self = .skipped(full)
        } else {
            return nil
        }
    }

    var name: String {
        switch self {
        case .skipped(let name): name
        // The longest of several names: torch.float32, not torch.float.
        default: Self.known.filter { $0.value == self }.keys.max { ($0.count, $0) < ($1.count, $1) } ?? ""
        }
    }

    private static let known: [String: PickleGlobal] = {
        var known: [String: PickleGlobal] = [
            "collections.OrderedDict": .orderedDictionary, "collections.defaultdict": .defaultDictionary,
            "torch._utils._rebuild_tensor": .rebuildTensor, "torch._utils._rebuild_tensor_v2": .rebuildTensorV2,
            "torch._utils._rebuild_tensor_v3": .rebuildTensorV3, "torch._utils._rebuild_parameter": .rebuildParameter,
            "torch._utils._rebuild_parameter_with_state": .rebuildParameter,
            "torch._tensor._rebuild_from_type_v2": .rebuildFromType, "torch.Size": .size,
            "torch.storage.UntypedStorage": .storage(nil), "torch.UntypedStorage": .storage(nil),
            "numpy.core.multiarray._reconstruct": .array, "numpy._core.multiarray._reconstruct": .array,
            "numpy.dtype": .arrayType,
            "_codecs.encode": .encode,
        ]
        let storages: [(String, ElementType)] = [
            ("Double", .float64), ("Float", .float32), ("Half", .float16), ("BFloat16", .bfloat16), ("Long", .int64),
            ("Int", .int32),
            ("Short", .int16), ("Char", .int8), ("Byte", .uint8), ("Bool", .bool),
        ]
        for (name, type) in storages {
            for module in ["torch", "torch.cuda"] { known["\(module).\(name)Storage"] = .storage(type) }
        }
        let types: [(String, ElementType)] = [
            ("float64", .float64), ("double", .float64), ("float32", .float32), ("float", .float32), ("float16", .float16),
            ("half", .float16), ("bfloat16", .bfloat16), ("int64", .int64), ("long", .int64), ("int32", .int32), ("int", .int32),
            ("int16", .int16), ("short", .int16), ("int8", .int8), ("uint8", .uint8), ("uint16", .uint16), ("uint32", .uint32),
            ("uint64", .uint64), ("bool", .bool),
        ]
        for (name, type) in types { known["torch.\(name)"] = .elementType(type) }
        return known
    }()

    /// Bookkeeping that training scripts keep beside the weights: settings, devices, NumPy numbers, sets.
    private static let skipped: Set<String> = [
        "argparse.Namespace", "types.SimpleNamespace", "torch.device", "torch._tensor.Tensor", "torch.Tensor",
        "torch.nn.parameter.Parameter", "torch.nn.Parameter", "torch.serialization._get_layout",
        "numpy.core.multiarray.scalar", "numpy._core.multiarray.scalar", "numpy.ndarray",
        "builtins.set", "builtins.frozenset", "builtins.complex", "builtins.slice", "builtins.bytearray", "builtins.list",
        "builtins.dict", "builtins.bytes", "__builtin__.bytes", "builtins.int", "builtins.float", "builtins.str", "builtins.bool",
        "builtins.tuple",
        "__builtin__.set", "__builtin__.frozenset", "__builtin__.list", "__builtin__.dict", "__builtin__.int", "__builtin__.long",
        "__builtin__.float", "__builtin__.str", "__builtin__.bool", "collections.Counter", "pathlib.PosixPath", "pathlib.Path",
        "datetime.datetime", "datetime.timedelta",
    ]
}
