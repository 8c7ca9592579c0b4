/// What a user handed in is wrong: one line that names the subject (file, option, key, tensor), what is wrong and what to do.
/// The command line maps it to exit code 2.
public struct InputError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The file, option, key or tensor that is wrong.
    public let subject: String
    /// What is wrong with it, expected against found where both are known.
    public let problem: String
    /// What to do about it; empty when the problem says it already.
    public let advice: String
    /// Whether nothing is wrong with it but that its kind is not read.
    package let isUnsupported: Bool

    public init(_ subject: String, _ problem: String, advice: String = "") {
        self.init(unsupported: false, subject, problem, advice: advice)
    }

    package init(unsupported: Bool, _ subject: String, _ problem: String, advice: String = "") {
        (self.subject, self.problem, self.advice, isUnsupported) = (subject, problem, advice, unsupported)
    }

    public var description: String {
        advice.isEmpty ? "\(subject): \(problem)" : "\(subject): \(problem); \(advice)"
    }

    /// An unknown name among known ones, with the nearest known name suggested.
    public static func unknown(_ kind: String, _ name: String, known: [String]) -> InputError {
        let listed = known.count <= 40 ? "known: \(known.joined(separator: ", "))" : "\(known.count) names are known"
        let advice = nearestName(to: name, among: known).map { "did you mean '\($0)'? (\(listed))" } ?? listed
        return InputError("\(kind) '\(name)'", "is unknown", advice: advice)
    }
}

/// The known name with the smallest edit distance to `name`, or to whose beginning `name` is nearest, if it is near enough
/// to be a plausible typing error.
public func nearestName(to name: String, among known: [String]) -> String? {
    // Longer names are no typing errors, and a name out of a file may have any length.
    guard name.utf8.count <= 200 else { return nil }
    let wanted = Array(name.lowercased().unicodeScalars)
    let best = known.map { candidate in
        let letters = Array(candidate.lowercased().unicodeScalars)
        // An unfinished word counts a little worse than a whole one.
        let start = wanted.count >= 3 ? editDistance(wanted, Array(letters.prefix(wanted.count))) + 1 : Int.max
        return (name: candidate, distance: min(editDistance(wanted, letters), start))
    }.min { $0.distance < $1.distance }
    guard let best, best.distance <= max(2, wanted.count / 3) else { return nil }
    return best.name
}

/// Edit distance between two sequences of letters: insertions, deletions, substitutions and swaps of neighbours count 1 each
/// (optimal string alignment).
private func editDistance(_ a: [Unicode.Scalar], _ b: [Unicode.Scalar]) -> Int {
    var (beforeLast, last) = ([] as [Int], Array(0...b.count))
    var row = last
    for i in a.indices {
        row[0] = i + 1
        for j in b.indices {
            var best = min(last[j] + (a[i] == b[j] ? 0 : 1), last[j + 1] + 1, row[j] + 1)
            if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, beforeLast[j - 1] + 1) }
            row[j + 1] = best
        }
        (beforeLast, last) = (last, row)
    }
    return last[b.count]
}
