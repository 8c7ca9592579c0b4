import Foundation
import RLDGraph

/// The data sets that can be named on the command line and in recipes.
public enum DatasetCatalog {
    /// Every known name.
    public static let names: [String] = entries.map(\.name)

    /// A data set's name with an optional path, as the command line takes it: `NAME[:PATH]`.
    public struct Reference: Sendable, Equatable, CustomStringConvertible {
        public let name: String
        /// Nil for the data set's default folder.
        public let path: String?

        /// - Throws: when the name is unknown (the nearest one is named) or the path after the colon is empty.
        public init(parsing text: String) throws(InputError) {
            let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false).map(String.init)
            _ = try DatasetCatalog.entry(parts[0])
            guard parts.count == 1 || !parts[1].isEmpty else {
                throw InputError("data set '\(text)'", "has a colon without a path", advice: "write \(parts[0]):FOLDER")
            }
            name = parts[0]
            path = parts.count > 1 ? parts[1] : nil
        }

        public var description: String { path.map { "\(name):\($0)" } ?? name }
    }

    /// Loads what `NAME[:PATH]` says.
    public static func load(_ text: String) throws(InputError) -> Dataset {
        let reference = try Reference(parsing: text)
        return try load(reference.name, path: reference.path)
    }

    /// Loads a data set.
    /// - Parameter path: its folder, a leading `~` for the home folder (shells leave it alone after a colon); nil for the
    ///   default one.
    /// - Throws: when the name is unknown, the path is needed and missing, or the files are missing, broken or do not fit
    ///   together.
    public static func load(_ name: String, path: String?) throws(InputError) -> Dataset {
        let entry = try entry(name)
        guard let folder = path ?? entry.folder else {
            throw InputError("data set '\(name)'", "has no default folder", advice: "write \(name):FOLDER")
        }
        let files = MNISTFiles(
            name: name, folder: NSString(string: folder).expandingTildeInPath, classNames: entry.classNames,
            advice: entry.advice)
        return try files.load(transform: entry.transform)
    }

    fileprivate static func entry(_ name: String) throws(InputError) -> Entry {
        guard let entry = entries.first(where: { $0.name == name }) else {
            throw InputError.unknown("data set", name, known: names)
        }
        return entry
    }

    fileprivate struct Entry: Sendable {
        let name: String
        /// Where it lies unless told otherwise.
        let folder: String?
        let classNames: [String]
        let transform: ImageTransform
        let advice: String
    }

    private static let entries: [Entry] = [
        Entry(
            name: "fashion-mnist", folder: "/usr/share/datasets/fashion-mnist",
            classNames: [
                "T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot",
            ],
            // Mean and deviation of the 60000 training images. Clothes stay clothes when mirrored and a little off centre.
            transform: ImageTransform(mean: [0.2860], deviation: [0.3530], cropPadding: 2, horizontalFlip: true),
            advice: "install it with 'apt install dataset-fashion-mnist', or name its folder: fashion-mnist:FOLDER"),
        Entry(
            name: "mnist", folder: nil, classNames: (0...9).map(String.init),
            // Mean and deviation of the 60000 training images. A mirrored digit is no digit.
            transform: ImageTransform(mean: [0.1307], deviation: [0.3081]),
            advice: "name the folder with the four files: mnist:FOLDER"),
    ]
}
