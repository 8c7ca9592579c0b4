import RLDGraph

/// One tensor of a safetensors file.
public struct SafetensorsEntry: Sendable, Equatable {
    public let name: String
    public let type: ElementType
    /// Extents, outermost first; empty for a scalar.
    public let shape: [Int]
    /// Where its bytes lie, from the end of the header.
    let range: Range<Int>

    public var count: Int { range.count / type.byteCount }
}

/// The checked header of a safetensors file: every entry's bytes lie inside the file, none overlap, none are unused.
struct SafetensorsHeader: Equatable {
    /// The official reader's limit.
    static let maximumBytes = 100_000_000

    /// In the order of the header, without those of types that are not read.
    var entries: [SafetensorsEntry] = []
    /// Those, by name: why.
    var unreadable: [String: InputError] = [:]
    var metadata: [String: String] = [:]

    /// - Parameters:
    ///   - json: the header's bytes, padding included.
    ///   - bodySize: bytes of the file after the header.
    init(json: [UInt8], bodySize: Int, path: String) throws(InputError) {
        guard String(validating: json, as: UTF8.self) != nil else { throw InputError(path, "the header is not UTF-8") }
        guard json.first == UInt8(ascii: "{") else {
            throw InputError(path, "the header is not JSON: it does not begin with '{'")
        }
        let value: HeaderJSON
        do throws(HeaderJSON.Failure) {
            value = try HeaderJSON.parse(json)
        } catch {
            throw InputError(path, "the header is not JSON: \(error)")
        }
        guard case .object(let members) = value else { throw InputError(path, "the header is not a JSON object") }
        var seen: Set<String> = []
        var places: [Place] = []
        for member in members {
            let (isNew, other) = seen.insert(member.key)
            guard isNew else { throw twin(member.key, other, path: path, twice: "the header names") }
            if member.key == "__metadata__" {
                metadata = try Self.metadata(member.value, path: path)
            } else {
                let (place, entry) = try Self.entry(member, path: path)
                places.append(place)
                switch entry {
                case .success(let entry): entries.append(entry)
                case .failure(let error): unreadable[member.key] = error
                }
            }
        }
        try Self.checkLayout(places, bodySize: bodySize, path: path)
    }

    private static func metadata(_ value: HeaderJSON, path: String) throws(InputError) -> [String: String] {
        guard case .object(let members) = value else { throw InputError(path, "__metadata__ is not an object of strings") }
        var result: [String: String] = [:]
        for member in members {
            guard case .string(let text) = member.value else {
                throw InputError(path, "__metadata__ \(quoted(member.key)) is not a string")
            }
            guard result.updateValue(text, forKey: member.key) == nil else {
                throw InputError(path, "__metadata__ names \(quoted(member.key)) twice")
            }
        }
        return result
    }

    /// Where a tensor lies, whatever its type.
    private typealias Place = (name: String, range: Range<Int>)

    private static func entry(
        _ member: HeaderJSON.Member, path: String
    ) throws(InputError) -> (Place, Result<SafetensorsEntry, InputError>) {
        let tensor = "tensor \(quoted(member.key))"
        guard case .object(let fields) = member.value else { throw InputError(path, "\(tensor) is not a JSON object") }
        func field(_ key: String) throws(InputError) -> HeaderJSON {
            let found = fields.filter { $0.key == key }
            guard found.count <= 1 else { throw InputError(path, "\(tensor) has \(key) twice") }
            guard let value = found.first?.value else { throw InputError(path, "\(tensor) has no \(key)") }
            return value
        }
        guard case .string(let typeName) = try field("dtype") else { throw InputError(path, "\(tensor): dtype is not a string") }
        guard let shape = integers(try field("shape")) else {
            throw InputError(path, "\(tensor): shape is not a list of sizes")
        }
        guard let offsets = integers(try field("data_offsets")), offsets.count == 2 else {
            throw InputError(path, "\(tensor): data_offsets are not two positions")
        }
        guard offsets[0] <= offsets[1] else {
            throw InputError(path, "\(tensor): data_offsets \(offsets) end before they begin")
        }
        let place = (name: member.key, range: offsets[0]..<offsets[1])
        guard let type = ElementType(rawValue: typeName) else {
            let error = InputError(
                path, "\(tensor) has dtype \(quoted(typeName))",
                advice: "readable are \(ElementType.allCases.map(\.rawValue).joined(separator: ", "))")
            return (place, .failure(error))
        }
        guard let bytes = type.byteCount(shape: shape) else {
            throw InputError(path, "\(tensor): shape \(shapeText(shape)) overflows")
        }
        guard bytes == offsets[1] - offsets[0] else {
            throw InputError(
                path,
                "\(tensor): \(typeName) \(shapeText(shape)) takes \(bytes) bytes, data_offsets give \(offsets[1] - offsets[0])")
        }
        return (place, .success(SafetensorsEntry(name: member.key, type: type, shape: shape, range: place.range)))
    }

    /// As the format defines: from 0 on, back to back, to the end of the file.
    private static func checkLayout(_ places: [Place], bodySize: Int, path: String) throws(InputError) {
        let ordered = places.sorted { ($0.range.lowerBound, $0.range.upperBound) < ($1.range.lowerBound, $1.range.upperBound) }
        var end = 0
        for entry in ordered {
            let start = entry.range.lowerBound
            guard start >= end else {
                throw InputError(
                    path, "tensor \(quoted(entry.name)) begins at \(start), inside the tensor before it, which ends at \(end)")
            }
            guard start == end else {
                throw InputError(path, "tensor \(quoted(entry.name)) begins at \(start), after a hole from \(end) on")
            }
            end = entry.range.upperBound
            guard end <= bodySize else {
                throw InputError(
                    path, "is truncated: tensor \(quoted(entry.name)) ends at \(end), the file has \(bodySize) bytes of data")
            }
        }
        guard end == bodySize else {
            throw InputError(path, "the tensors end at \(end), the file has \(bodySize) bytes of data")
        }
    }

    private static func integers(_ value: HeaderJSON) -> [Int]? {
        guard case .array(let items) = value else { return nil }
        var result: [Int] = []
        for item in items {
            guard case .integer(let number) = item, let exact = Int(exactly: number) else { return nil }
            result.append(exact)
        }
        return result
    }
}
