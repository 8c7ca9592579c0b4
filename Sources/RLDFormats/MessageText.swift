import RLDGraph

/// A name out of a file, fit for one line of a message: short, and without what a terminal takes for an instruction.
package func printable(_ name: String) -> String {
    // Counted in scalars: one character may have accents without end.
    let start = name.unicodeScalars.prefix(100)
    let isWhole = start.endIndex == name.unicodeScalars.endIndex
    return "\(jsonLiteral(String(start)).dropFirst().dropLast())\(isWhole ? "" : "...")"
}

/// The same in quotation marks.
package func quoted(_ name: String) -> String { "'\(printable(name))'" }

/// A text with names in it as one line, whole, and without what a terminal takes for an instruction.
package func oneLine(_ text: String) -> String {
    text.unicodeScalars.reduce(into: "") { line, scalar in
        switch scalar {
        case "\0"..<" ", "\u{7F}"..."\u{9F}", "\u{2028}", "\u{2029}": line += jsonLiteral(String(scalar)).dropFirst().dropLast()
        default: line.unicodeScalars.append(scalar)
        }
    }
}

/// The first few of names out of a file, fit for one line of a message.
package func listed(_ names: [String]) -> String {
    let shown = 8
    return names.prefix(shown).map(printable).joined(separator: ", ")
        + (names.count > shown ? " and \(names.count - shown) more" : "")
}

/// Advice that names the known name nearest to one that is not there; empty where none is near.
func suggestion(for name: String, among known: some Sequence<String>) -> String {
    // Comparing costs time for each letter of each name, and a file may hold any number of names of any length.
    let candidates = known.lazy.filter { $0.utf8.count <= 200 }.prefix(2000)
    return nearestName(to: name, among: Array(candidates)).map { "did you mean \(quoted($0))?" } ?? ""
}

package func shapeText(_ shape: [Int]) -> String {
    shape.count <= 8 ? "\(shape)" : "of \(shape.count) dimensions"
}

/// Two names that Swift takes for one: the same, or the same letters in other bytes (accents as letters of their own), which
/// other programs tell apart.
/// - Parameter twice: what a message about one name begins with.
func twin(_ name: String, _ other: String, path: String, twice: String) -> InputError {
    name.utf8.elementsEqual(other.utf8)
        ? InputError(path, "\(twice) \(quoted(name)) twice")
        : InputError(
            path, "holds two names that are the same letters in other bytes (forms of Unicode): \(quoted(name))",
            advice: "rename one of them")
}
