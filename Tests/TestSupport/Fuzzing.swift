import Foundation
import RLDGraph
import Testing

/// One to four seeded edits: a changed, flipped, removed, doubled or inserted byte, a cut, a digit or bracket in a likely place.
/// - Parameter alphabet: bytes that mean something in the format; no more than 256 of them.
public func mutated(_ good: [UInt8], seed: UInt64, alphabet: [UInt8] = Array("0123456789-.{}[],:\"\\ eEu".utf8)) -> [UInt8] {
    var bytes = good
    var counter: UInt64 = 0
    func draw(_ bound: Int) -> Int {
        counter += 1
        return CounterRandom.integer(below: max(bound, 1), seed: seed, stream: 7, counter: counter)
    }
    for _ in 0...draw(4) where !bytes.isEmpty {
        let place = draw(bytes.count)
        switch draw(8) {
        case 0: bytes[place] = UInt8(draw(256))
        case 1: bytes[place] ^= 1 << UInt8(draw(8))
        case 2: bytes.remove(at: place)
        case 3: bytes.insert(bytes[place], at: place)
        case 4: bytes.insert(UInt8(draw(256)), at: place)
        case 5: bytes.removeSubrange(place..<min(bytes.count, place + draw(16)))
        case 6: bytes[place] = alphabet[draw(alphabet.count)]
        default:
            if draw(4) == 0 { bytes.removeLast(bytes.count - place) } else { bytes[draw(min(8, bytes.count))] = UInt8(draw(256)) }
        }
    }
    return bytes
}

/// Feeds a parser with mutants and counts what becomes of them. Anything but a value or a clean `InputError` of one line fails the
/// test; a trap ends it.
/// - Parameters:
///   - mutant: the input with a number.
///   - parse: returns normally for an input that is taken.
public func fuzz(
    _ count: Int, mutant: (UInt64) -> [UInt8], parse: ([UInt8]) throws(InputError) -> Void,
    sourceLocation: SourceLocation = #_sourceLocation
) {
    var (taken, refused) = (0, 0)
    resetPeakMemory()
    let before = peakMemory()
    for seed in 0..<UInt64(count) {
        let bytes = mutant(seed)
        do throws(InputError) {
            try parse(bytes)
            taken += 1
        } catch {
            refused += 1
            let text = error.description
            if text.utf8.contains(0x0A) || text.utf8.count > 1500 || error.subject.isEmpty {
                Issue.record("seed \(seed): \(text)", sourceLocation: sourceLocation)
            }
        }
    }
    // Both must happen, or the mutations prove nothing.
    #expect(taken > count / 200, "\(taken) of \(count) were taken", sourceLocation: sourceLocation)
    #expect(refused > count / 20, "\(refused) of \(count) were refused", sourceLocation: sourceLocation)
    let grown = peakMemory() - before
    #expect(grown < 512 << 20, "memory grew by \(grown) bytes", sourceLocation: sourceLocation)
}

/// Lets `peakMemory` count from now on, so that no earlier test hides what comes. Where a system does not permit that it goes on
/// counting from the process's beginning.
private func resetPeakMemory() {
    let descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return }
    _ = write(descriptor, "5", 1)
    close(descriptor)
}

/// The most memory that the process has used so far, in bytes.
private func peakMemory() -> Int {
    // In kibibytes; what `getrusage` says is never reset. Read to the end: the file says that it has no bytes.
    let status = try? FileHandle(forReadingAtPath: "/proc/self/status")?.readToEnd()
    let lines = String(decoding: status ?? Data(), as: UTF8.self).split(separator: "\n")
    if let line = lines.first(where: { $0.hasPrefix("VmHWM:") }),
        let number = line.split(whereSeparator: \.isWhitespace).dropFirst().first.flatMap({ Int($0) })
    {
        return number * 1024
    }
    var usage = rusage()
    return getrusage(0, &usage) == 0 ? usage.ru_maxrss * 1024 : 0
}
