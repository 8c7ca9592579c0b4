import Foundation
import TestSupport

/// The picture files that Pillow wrote (Tests/Goldens/datasets).
enum Pictures {
    struct Expected: Decodable {
        var size: [Int]
        var square12: [Int]
    }

    static func file(_ name: String) -> String { Goldens.path("datasets/\(name)") }

    static func expected() throws -> [String: Expected] {
        try JSONDecoder().decode([String: Expected].self, from: Data(contentsOf: URL(fileURLWithPath: file("pictures.json"))))
    }

    /// Puts pictures of two classes into a folder, the same in each part.
    /// - Parameter broken: whether the first part has a file among them that is no picture.
    static func write(_ folder: TemporaryFolder, _ parts: [String], broken: Bool = false) throws {
        for part in parts {
            for (label, names) in [
                ("cat", ["wide.jpg", "tall.png", "grey.jpg"]), ("dog", ["alpha.png", "small.png", "palette.png"]),
            ] {
                let target = folder.path + "/" + part + label
                try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
                for name in names { try FileManager.default.copyItem(atPath: file(name), toPath: "\(target)/\(name)") }
            }
        }
        if broken { try folder.write(Array("not a picture".utf8), parts[0] + "dog/zz broken.jpg") }
    }
}
