import RLDGraph
import Testing

/// The bytes of a safetensors file with a given header text.
func safetensors(header: String, body: [UInt8] = []) -> [UInt8] { bytes([UInt64(header.utf8.count)]) + Array(header.utf8) + body }

/// The bytes of a safetensors file, built without the writer under test.
func safetensors(_ tensors: [(name: String, type: String, shape: [Int], bytes: [UInt8])]) -> [UInt8] {
    var body: [UInt8] = []
    let members = tensors.map { tensor in
        let start = body.count
        body += tensor.bytes
        return "\"\(tensor.name)\": {\"dtype\": \"\(tensor.type)\", \"shape\": \(tensor.shape), "
            + "\"data_offsets\": [\(start), \(body.count)]}"
    }
    return safetensors(header: "{\(members.joined(separator: ", "))}", body: body)
}

/// Little-endian bytes.
func bytes<Word: FixedWidthInteger>(_ words: [Word]) -> [UInt8] {
    words.flatMap { word in (0..<MemoryLayout<Word>.size).map { UInt8(truncatingIfNeeded: word >> (8 * $0)) } }
}

/// Expects one line of input error that holds a fragment, short but for the names that it has to list.
func expectRefusal(
    _ fragment: String, naming names: Int = 0, sourceLocation: SourceLocation = #_sourceLocation, _ body: () throws -> Void
) {
    let error = #expect(throws: InputError.self, sourceLocation: sourceLocation) { try body() }
    guard let text = error?.description else { return }
    #expect(text.contains(fragment), sourceLocation: sourceLocation)
    #expect(!text.contains { $0.isNewline }, sourceLocation: sourceLocation)
    #expect(text.count < 1000 + 100 * names, sourceLocation: sourceLocation)
}
