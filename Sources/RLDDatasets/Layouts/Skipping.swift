import RLDGraph

/// What happens to damaged parts of a data set: the first ends the reading, or all of them are left out and counted.
struct Skipping {
    let skipBroken: Bool
    private(set) var skipped: [InputError] = []

    init(_ options: DatasetOptions) { skipBroken = options.skipBroken }

    /// - Throws: the error, unless damage is left out.
    mutating func leaveOut(_ error: InputError) throws(InputError) {
        guard skipBroken else {
            throw InputError(
                error.subject, error.problem,
                advice: error.advice.isEmpty ? "repair it or give --skip-broken to leave it out" : error.advice)
        }
        skipped.append(error)
    }
}
