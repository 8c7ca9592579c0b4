import RLDFormats
import RLDGraph
import Testing

/// Seeded mutations of a small good file: each is read in full or refused with an InputError, and nothing else happens.
struct SafetensorsFuzzTests {
    @Test func mutations() throws {
        let good = safetensors([
            ("conv.weight", "F32", [2, 3], Array(1...24)),
            ("n", "I64", [], [7, 0, 0, 0, 0, 0, 0, 0]), ("flags", "BOOL", [3], [0, 1, 1]),
            ("half", "F16", [2], [1, 2, 3, 4]),
        ])
        let split = 8 + Int(good[0]) + Int(good[1]) << 8
        let (header, body) = (Array(good[8..<split]), Array(good[split...]))
        var (read, refused) = (0, 0)
        for seed in 0..<6000 as Range<UInt64> {
            let header = seed % 3 == 1 ? mutated(header, seed: seed) : header
            let body = seed % 3 == 2 ? mutated(body, seed: seed) : body
            let whole = bytes([UInt64(header.count)]) + header + body
            let outcome = Result { () throws(InputError) in
                let file = try SafetensorsFile(bytes: seed % 3 == 0 ? mutated(whole, seed: seed) : whole, named: "mutant")
                for entry in file.entries where try file.tensor(entry.name).count != entry.count { throw InputError("", "") }
            }
            switch outcome {
            case .success: read += 1
            case .failure(let error):
                refused += 1
                #expect(error.subject == "mutant", "seed \(seed)")
                #expect(!error.description.contains { $0.isNewline } && error.description.count < 700, "seed \(seed)")
            }
        }
        // Both outcomes must occur, or the mutations prove nothing.
        #expect(read > 100)
        #expect(refused > 1000)
    }
}

/// One to four seeded edits: a changed, flipped, removed, doubled or inserted byte, a cut, a digit or bracket in a likely place.
func mutated(_ good: [UInt8], seed: UInt64) -> [UInt8] {
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
        case 6: bytes[place] = Array("0123456789-.{}[],:\"\\ eEu".utf8)[draw(24)]
        default:
            if draw(4) == 0 { bytes.removeLast(bytes.count - place) } else { bytes[draw(min(8, bytes.count))] = UInt8(draw(256)) }
        }
    }
    return bytes
}
