import RLDGraph

/// A pickled dictionary of arrays, numbers and texts: what CIFAR's Python files are.
package struct PickledDictionary {
    private let reader: PickleReader
    private var values: [String: PickleValue] = [:]

    private static let purpose = PickleReader.Purpose(
        content: "CIFAR's images and labels", file: "CIFAR file", advice: "take the file as published", maximumBytes: 1 << 28)

    /// - Parameter name: stands for the file in messages.
    /// - Throws: when the bytes are no pickle, hold something else, or name what images and labels do not need.
    package init(_ bytes: [UInt8], named name: String) throws(InputError) {
        var reader = PickleReader(FileCursor(RandomAccessFile(bytes: bytes, named: name)), for: Self.purpose)
        guard case .dictionary(let index) = try reader.read() else { throw InputError(name, "is a pickle, but of no dictionary") }
        self.reader = reader
        let items = reader.dictionaries[index]
        for at in stride(from: 0, to: items.count - 1, by: 2) {
            if let key = text(items[at]) { values[key] = items[at + 1] }
        }
    }

    /// Shape and elements of an array of unsigned bytes, row by row; nil for what is none.
    package func array(_ key: String) -> (shape: [Int], bytes: [UInt8])? {
        guard case .array(let index)? = values[key], let bytes = reader.arrays[index].bytes else { return nil }
        return (reader.arrays[index].shape, bytes)
    }

    /// The items of a list of whole numbers, nil for one that is none.
    package func integers(_ key: String) -> [Int?]? {
        items(key)?.map { if case .integer(let number) = $0 { number } else { nil } }
    }

    /// The texts of a list.
    package func texts(_ key: String) -> [String]? { items(key)?.compactMap(text) }

    private func items(_ key: String) -> [PickleValue]? { values[key].flatMap(reader.items) }

    private func text(_ value: PickleValue) -> String? { reader.byteString(value).map { String(decoding: $0, as: UTF8.self) } }
}
