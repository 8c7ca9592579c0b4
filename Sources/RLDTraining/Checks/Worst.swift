/// The largest of several error-to-bound ratios; a NaN stays.
package struct Worst {
    package private(set) var value = 0.0
    package private(set) var tensor = ""

    package init() {}

    package mutating func add(_ ratio: Double, _ name: String) {
        if !(ratio <= value), !value.isNaN { (value, tensor) = (ratio, name) }
    }

    /// What differs in length agrees in nothing.
    package mutating func addCounts(_ found: Int, _ expected: Int, _ name: String) {
        if found != expected { add(.infinity, "\(name): \(found), expected \(expected)") }
    }
}
