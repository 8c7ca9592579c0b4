import Foundation
import RLDDatasets
import RLDGraph
import RLDMethods

/// How cached logits are stored.
public enum TeacherCacheType: Sendable, Equatable {
    /// To the last bit.
    case float32
    case half
    /// The largest so many and that of the label, as half; the others share evenly what probability is left at temperature 1.
    case top(Int)

    /// "float32", "half" or "top8".
    public init?(_ text: String) {
        switch text {
        case "float32": self = .float32
        case "half": self = .half
        default:
            guard text.hasPrefix("top"), let count = Int(text.dropFirst(3)), count >= 1 else { return nil }
            self = .top(count)
        }
    }

    public var text: String {
        switch self {
        case .float32: "float32"
        case .half: "half"
        case .top(let count): "top\(count)"
        }
    }
}

/// A frozen teacher's logits for each training image under each of a few augmentations, on the disk. With it, later epochs, runs
/// with other seeds and other methods skip the teacher. An augmentation is replayed by its counter (draw, image): it does not
/// depend on the run's seed. The folder's name holds a hash of all that the logits depend on.
package final class TeacherCache {
    let classes: Int
    /// Different augmentations of each image; epoch e uses draw (e - 1) mod draws, counted from 1.
    let draws: Int
    private let type: TeacherCacheType
    private let folder: String
    private var files: [Int: Int32] = [:]
    private let labels: [Int32]

    /// The seed of every augmentation.
    static let seed: UInt64 = 0

    /// - Parameter labels: of the table's images.
    package init(
        _ folder: String, teacherHash: String, dataHash: String, transform: ImageTransform, labels: [Int32], classes: Int,
        draws: Int,
        type: TeacherCacheType, precision: Precision = .float32, storage: TeacherStorage = .float32
    ) throws(InputError) {
        (self.classes, self.draws, self.type, self.labels) = (classes, draws, type, labels)
        if case .top(let count) = type, count >= classes {
            throw InputError("teacher.cache_type", "keeps \(count) of \(classes) classes: give fewer, or half")
        }
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.sortedKeys]
        guard let encoded = try? encoder.encode(transform) else { throw InputError("teacher.cache", "its transform has no text") }
        var sum = Checksum()
        for part in [teacherHash, dataHash, String(decoding: encoded, as: UTF8.self), type.text, "\(labels.count)x\(classes)"] {
            sum.add(part)
        }
        // Once without the label's.
        if case .top = type { sum.add("with the label's") }
        // What float32 wrote keeps its name.
        if precision != .float32 { sum.add(precision.rawValue) }
        if storage != .float32 { sum.add("stored as \(storage.rawValue)") }
        self.folder = "\(NSString(string: folder).expandingTildeInPath)/\(sum.text)"
        do {
            try FileManager.default.createDirectory(atPath: self.folder, withIntermediateDirectories: true)
        } catch {
            throw InputError(self.folder, "cannot be created as a folder", advice: "choose another teacher.cache")
        }
    }

    deinit { for file in files.values { close(file) } }

    /// The draw of an epoch, from 1.
    package func draw(epoch: Int) -> Int { (epoch - 1) % draws + 1 }

    private var payload: Int {
        switch type {
        case .float32: 4 * classes
        case .half: 2 * classes
        // Class and value of each, the label's value, and the value of the rest.
        case .top(let count): 6 * count + 2 + 4
        }
    }

    /// A record is a checksum, which no absent one (zeros) has, and the payload.
    private var recordSize: Int { 8 + payload }

    /// The logits of these images under a draw, row by row; nil when any is missing.
    package func logits(_ images: [Int], draw: Int) throws(InputError) -> [Float]? {
        let file = try file(draw)
        var values: [Float] = []
        values.reserveCapacity(images.count * classes)
        var record = [UInt8](repeating: 0, count: recordSize)
        for image in images {
            guard read(image, of: file, into: &record) else { return nil }
            values += decode(record[8...], label: label(image))
        }
        return values
    }

    private func label(_ image: Int) -> Int { min(max(Int(labels[image]), 0), classes - 1) }

    /// Stores logits, row by row. - Returns: what a later reading will give.
    package func store(_ logits: [Float], of images: [Int], draw: Int) throws(InputError) -> [Float] {
        let file = try file(draw)
        var values: [Float] = []
        values.reserveCapacity(logits.count)
        for (row, image) in images.enumerated() {
            let body = encode(logits[row * classes..<(row + 1) * classes], label: label(image))
            let record = Self.bytes(checksum(body[...])) + body
            guard pwrite(file, record, record.count, off_t(image * recordSize)) == record.count else {
                throw InputError(
                    folder, "cannot be written: \(String(cString: strerror(errno)))",
                    advice: "free some space, or leave out teacher.cache")
            }
            values += decode(record[8...], label: label(image))
        }
        return values
    }

    /// Whether no image under any draw is missing: the teacher is not needed.
    package func isComplete(_ images: [Int]) throws(InputError) -> Bool {
        // Record by record and undecoded: the logits of all images may be larger than the memory.
        var record = [UInt8](repeating: 0, count: recordSize)
        for draw in 1...draws {
            let file = try file(draw)
            for image in images where !read(image, of: file, into: &record) { return false }
        }
        return true
    }

    /// Reads one image's record. - Returns: whether it is there and whole.
    private func read(_ image: Int, of file: Int32, into record: inout [UInt8]) -> Bool {
        pread(file, &record, recordSize, off_t(image * recordSize)) == recordSize && isWhole(record)
    }

    private func file(_ draw: Int) throws(InputError) -> Int32 {
        if let file = files[draw] { return file }
        let path = String(format: "%@/draw-%04d.logits", folder, draw)
        let file = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw InputError(path, "cannot be opened: \(String(cString: strerror(errno)))") }
        files[draw] = file
        return file
    }

    private func checksum(_ body: ArraySlice<UInt8>) -> UInt64 {
        var sum = Checksum()
        for byte in body { sum.add(UInt64(byte)) }
        return sum.value | 1
    }

    private func isWhole(_ record: [UInt8]) -> Bool {
        let stored = record[..<8].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
        return stored == checksum(record[8...])
    }

    private static func bytes<Word: FixedWidthInteger>(_ word: Word) -> [UInt8] {
        withUnsafeBytes(of: word.littleEndian) { Array($0) }
    }

    private func encode(_ row: ArraySlice<Float>, label: Int) -> [UInt8] {
        switch type {
        case .float32: return row.flatMap { Self.bytes($0.bitPattern) }
        case .half: return row.flatMap { Self.bytes(Float16($0).bitPattern) }
        case .top(let count):
            let order = row.indices.sorted { (row[$1], $0) < (row[$0], $1) }
            let largest = Double(row[order[0]])
            let own = row.startIndex + label
            let others = order[count...].filter { $0 != own }
            let rest = others.reduce(0.0) { $0 + exp(Double(row[$1]) - largest) }
            let shared = Float(largest + log(max(rest, 1e-30) / Double(max(others.count, 1))))
            return order[..<count].flatMap { Self.bytes(UInt32($0 - row.startIndex)) + Self.bytes(Float16(row[$0]).bitPattern) }
                + Self.bytes(Float16(row[own]).bitPattern) + Self.bytes(shared.bitPattern)
        }
    }

    private func decode(_ body: ArraySlice<UInt8>, label: Int) -> [Float] {
        func word(_ at: Int, _ size: Int) -> UInt32 {
            (0..<size).reversed().reduce(0) { $0 << 8 | UInt32(body[body.startIndex + at + $1]) }
        }
        func half(_ at: Int) -> Float { Float(Float16(bitPattern: UInt16(word(at, 2)))) }
        switch type {
        case .float32: return (0..<classes).map { Float(bitPattern: word(4 * $0, 4)) }
        case .half: return (0..<classes).map { half(2 * $0) }
        case .top(let count):
            var values = [Float](repeating: Float(bitPattern: word(6 * count + 2, 4)), count: classes)
            values[label] = half(6 * count)
            for i in 0..<count { values[min(Int(word(6 * i, 4)), classes - 1)] = half(6 * i + 4) }
            return values
        }
    }
}
