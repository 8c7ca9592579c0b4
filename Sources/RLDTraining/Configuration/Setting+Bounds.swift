import RLDGraph

/// What a setting's value must be, and what is said of one that is not.
extension Setting {
    /// Of whole numbers: more than any run needs, and the product of two still fits an Int.
    static let largestWhole = 1_000_000_000

    static func require(_ good: Bool, _ key: String, _ wanted: String, _ found: some Any) throws(InputError) {
        if !good { throw InputError(key, "must be \(wanted), found \(found)") }
    }

    static func requireWhole(_ value: Int, _ key: String, atLeast least: Int) throws(InputError) {
        try require(value >= least, key, "at least \(least)", value)
        try require(value <= largestWhole, key, "at most \(largestWhole)", value)
    }

    /// Below 1 a share of the images, from 1 on their number.
    static func requireImages(_ value: Double, _ key: String) throws(InputError) {
        try requireNonNegative(value, key)
        try require(value <= Double(largestWhole), key, "at most \(largestWhole)", value)
        try require(value < 1 || value == value.rounded(), key, "a share below 1 or a whole number of images", value)
    }

    static func requireNonNegative(_ value: Double, _ key: String) throws(InputError) {
        try require(value.isFinite && value >= 0, key, "finite and at least 0", value)
    }

    /// A share that leaves something over.
    static func requireShare(_ value: Double, _ key: String) throws(InputError) {
        try require(value >= 0 && value < 1, key, "at least 0 and below 1", value)
    }
}
