import RLDGraph

/// 64-bit FNV-1a: tells data sets apart, no protection against intent.
struct ContentHash {
    private var value: UInt64 = 0xCBF2_9CE4_8422_2325

    /// The end of a table's hash, after its pixels: extents, class count and labels.
    mutating func add(
        labels: [Int32], channels: Int, height: Int, width: Int, classes: Int
    ) {
        for number in [labels.count, channels, height, width, classes] { add(number) }
        for label in labels { add((0..<4).map { UInt8(truncatingIfNeeded: label >> (8 * $0)) }) }
    }

    mutating func add(_ number: Int) { for i in 0..<8 { add([UInt8(truncatingIfNeeded: number >> (8 * i))]) } }

    mutating func add(_ bytes: [UInt8]) {
        var hash = value
        for byte in bytes { hash = (hash ^ UInt64(byte)) &* 0x100_0000_01B3 }
        value = hash
    }

    /// 16 hexadecimal digits.
    var text: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
