import Foundation
import RLDGraph

/// What a folder holds. Foundation leaves names that are not UTF-8 out, and lists nothing for a folder that cannot be read;
/// either would be pictures that are missing without a word.
package struct FolderContents {
    /// Sorted by their bytes; hidden ones are left out.
    package private(set) var names: [String] = []
    /// Names that are no text, as bytes.
    package private(set) var unreadable: [[UInt8]] = []

    /// - Throws: when the folder cannot be read.
    package init(_ path: String) throws(InputError) {
        func failure() -> InputError { InputError(path, "cannot be read as a folder: \(String(cString: strerror(errno)))") }
        guard let folder = opendir(path) else { throw failure() }
        defer { closedir(folder) }
        while true {
            errno = 0
            guard let entry = readdir(folder) else { break }
            let name = withUnsafeBytes(of: &entry.pointee.d_name) { Array($0.prefix { $0 != 0 }) }
            if name.first == UInt8(ascii: ".") { continue }
            if let text = String(validating: name, as: UTF8.self) { names.append(text) } else { unreadable.append(name) }
        }
        guard errno == 0 else { throw failure() }
        names.sort { $0.utf8.lexicographicallyPrecedes($1.utf8) }
        unreadable.sort { $0.lexicographicallyPrecedes($1) }
    }

    /// Whether a name that is no text is that of a folder, or of a link to one.
    static func isFolder(_ path: String, _ name: [UInt8]) -> Bool {
        var status = stat()
        let whole = (Array(path.utf8) + [UInt8(ascii: "/")] + name + [0]).map { CChar(bitPattern: $0) }
        return stat(whole, &status) == 0 && status.st_mode & S_IFMT == S_IFDIR
    }
}
