import RLDGraph

/// The networks that can be named on the command line and in recipes, by their published ids.
public enum ModelCatalog {
    /// Every known id, small to large within a family.
    public static let ids: [String] = entries.map(\.id)

    /// The network with a published id.
    /// - Parameters:
    ///   - id: one of `ids`.
    ///   - classes: values per row of logits, at least 2.
    ///   - input: per-sample shape, [channels, height, width].
    /// - Throws: when the id is unknown (the nearest one is named), or when classes or input cannot be used.
    public static func network(_ id: String, classes: Int, input: [Int] = [3, 32, 32]) throws(InputError) -> Network {
        guard let entry = entries.first(where: { $0.id == id }) else {
            throw InputError.unknown("model", id, known: ids)
        }
        guard (2...maximumClasses).contains(classes) else {
            throw InputError("model '\(id)'", "\(classes) classes, expected 2...\(maximumClasses)")
        }
        guard input.count == 3, input.allSatisfy({ (1...maximumExtent).contains($0) }) else {
            throw InputError(
                "model '\(id)'", "input shape \(input), expected [channels, height, width], each in 1...\(maximumExtent)")
        }
        return entry.build(classes, input)
    }

    // Far above any use, and low enough that no count of parameters or multiply-adds overflows.
    private static let maximumClasses = 1_000_000
    private static let maximumExtent = 8192

    private struct Entry: Sendable {
        let id: String
        /// From classes and input shape.
        let build: @Sendable (Int, [Int]) -> Network
    }

    private static let entries: [Entry] =
        [8, 14, 20, 32, 44, 56, 110].map { cifarResNet("resnet\($0)", depth: $0, widths: [16, 16, 32, 64]) }
        + [8, 32].map { cifarResNet("resnet\($0)x4", depth: $0, widths: [32, 64, 128, 256]) }

    private static func cifarResNet(_ id: String, depth: Int, widths: [Int]) -> Entry {
        Entry(id: id) { Network.cifarResNet(id, depth: depth, widths: widths, classes: $0, input: $1) }
    }
}
