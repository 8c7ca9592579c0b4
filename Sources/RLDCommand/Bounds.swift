import RLD

/// The largest numbers that `bench` and `tune` take: no product of two of them is too large for an Int.
enum Bounds {
    /// Images of a step, steps of an epoch.
    static let most = 1 << 20
    /// Images of an epoch, which lie in memory.
    static let images = 1 << 24
    /// A year.
    static let seconds = 31_536_000.0

    static func require(_ value: Int, _ option: String) throws(InputError) {
        guard (1...most).contains(value) else {
            throw InputError("--\(option) \(value)", "must be in 1...\(most)")
        }
    }
}
