import Foundation
import RLDFormats
import RLDGraph

/// What a layout of picture files holds.
struct PictureLists {
    var train: ImageList
    /// Nil where the layout has none.
    var validation: ImageList?
    var test: ImageList?
    /// What a person should know of the choice.
    var notes: [String] = []
    /// What was left out because it is damaged.
    var skipped: [InputError] = []
}

/// Picture files with their classes, in a fixed order.
struct ImageList: Sendable {
    var paths: [String] = []
    var labels: [Int32] = []
    var classNames: [String] = []

    var count: Int { paths.count }

    mutating func append(_ path: String, _ label: Int) {
        paths.append(path)
        labels.append(Int32(label))
    }

    /// The same files in an order drawn once and for all: a folder lists class after class, and the first so many images should
    /// be of every class.
    func shuffled() -> ImageList { selecting(CounterRandom.permutation(of: count, seed: 0, stream: 0xF11E_0000)) }

    func selecting(_ rows: some Sequence<Int>) -> ImageList {
        var list = ImageList(classNames: classNames)
        for row in rows { list.append(paths[row], Int(labels[row])) }
        return list
    }

    /// A table in memory.
    /// - Parameters:
    ///   - size: pixels of a side that images are stored with.
    ///   - skipBroken: leave damaged files out instead of stopping at the first.
    /// - Returns: the table, and what was left out and why.
    func table(size: Int, skipBroken: Bool) throws(InputError) -> (table: ImageTable, broken: [InputError]) {
        let bytes = 3 * size * size
        let needed = Double(count) * Double(bytes)
        guard needed < 0.7 * Double(ProcessInfo.processInfo.physicalMemory) else {
            throw InputError(
                "images", "\(count) of \(size)x\(size) pixels need \(Int(needed / 0x1p30)) GiB of memory",
                advice: "leave streaming on or auto, or give a smaller image_size")
        }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(count * bytes)
        var kept: [Int] = []
        let broken = try read(size: size, skipBroken: skipBroken) { index, image in
            kept.append(index)
            pixels += image
        }
        let list = broken.isEmpty ? self : selecting(kept)
        let table = ImageTable(
            channels: 3, height: size, width: size, pixels: pixels, labels: list.labels, classNames: classNames)
        return (table, broken.map(\.error))
    }

    /// Decodes every file on all processors; the result does not depend on their number.
    /// - Parameter take: called with index and pixels of each, in order.
    /// - Returns: what is damaged.
    func read(
        size: Int, skipBroken: Bool, _ take: (Int, [UInt8]) -> Void
    ) throws(InputError) -> [(index: Int, error: InputError)] {
        var broken: [(index: Int, error: InputError)] = []
        let portion = max(32, min(2048, Self.portionBytes / (3 * size * size)))
        for start in stride(from: 0, to: count, by: portion) {
            let decoded = decode(start..<min(start + portion, count), size: size)
            for (offset, result) in decoded.enumerated() {
                switch result {
                case .success(let image): take(start + offset, image)
                case .failure(let error):
                    guard skipBroken else { throw Self.refusal(error) }
                    broken.append((start + offset, error))
                }
            }
        }
        return broken
    }

    /// A damaged file ends the reading.
    static func refusal(_ error: InputError) -> InputError {
        InputError(error.subject, error.problem, advice: "remove it or give --skip-broken to leave such files out")
    }

    /// Of decoded images that are held at a time, beside the table.
    private static let portionBytes = 64 << 20

    private func decode(_ range: Range<Int>, size: Int) -> [Result<[UInt8], InputError>] {
        let results = Locked([Result<[UInt8], InputError>?](repeating: nil, count: range.count))
        let paths = paths
        DispatchQueue.concurrentPerform(iterations: range.count) { offset in
            let result: Result<[UInt8], InputError>
            do throws(InputError) {
                result = .success(
                    try ImageDecoder.picture(path: paths[range.lowerBound + offset], smallest: size).centreSquare(size))
            } catch {
                result = .failure(error)
            }
            results.withLock { $0[offset] = result }
        }
        return results.withLock { $0.map { $0 ?? .failure(InputError("image", "was not decoded")) } }
    }
}
