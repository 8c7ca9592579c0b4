import Foundation
import RLDGraph
import Synchronization

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

    /// Decodes every file on all processors; the result does not depend on their number.
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
                advice: "give a smaller image_size or fewer files")
        }
        var pixels: [UInt8] = []
        pixels.reserveCapacity(count * bytes)
        var kept: [Int32] = []
        var broken: [InputError] = []
        for start in stride(from: 0, to: count, by: Self.portion) {
            let decoded = decode(start..<min(start + Self.portion, count), size: size)
            for (offset, result) in decoded.enumerated() {
                switch result {
                case .success(let image):
                    pixels += image
                    kept.append(labels[start + offset])
                case .failure(let error):
                    guard skipBroken else {
                        throw InputError(
                            error.subject, error.problem, advice: "remove it or give --skip-broken to leave such files out")
                    }
                    broken.append(error)
                }
            }
        }
        let table = ImageTable(channels: 3, height: size, width: size, pixels: pixels, labels: kept, classNames: classNames)
        return (table, broken)
    }

    private static let portion = 2048

    private func decode(_ range: Range<Int>, size: Int) -> [Result<[UInt8], InputError>] {
        let results = Mutex([Result<[UInt8], InputError>?](repeating: nil, count: range.count))
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
