import Foundation
import RLDGraph

/// Files that are either whole or absent.
enum FileWriting {
    /// Writes to a temporary file beside the target, then renames it, so that a reader never sees half a file.
    static func write(_ bytes: some ContiguousBytes, to path: String) throws(InputError) {
        let temporary = path + ".partial"
        let file = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw failure(path, errno) }
        var code = bytes.withUnsafeBytes { writeAll(file, $0) }
        if code == 0, fsync(file) != 0, errno != EINVAL { code = errno }
        close(file)
        if code == 0, rename(temporary, path) != 0 { code = errno }
        if code != 0 {
            unlink(temporary)
            throw failure(path, code)
        }
    }

    /// - Returns: 0, or the errno.
    static func writeAll(_ file: Int32, _ bytes: UnsafeRawBufferPointer) -> Int32 {
        var rest = bytes
        while let start = rest.baseAddress, !rest.isEmpty {
            let written = Foundation.write(file, start, rest.count)
            if written < 0 {
                if errno == EINTR { continue }
                return errno
            }
            rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
        }
        return 0
    }

    static func failure(_ path: String, _ code: Int32) -> InputError {
        InputError(
            path, "cannot be written: \(String(cString: strerror(code)))",
            advice: code == ENOSPC || code == EDQUOT ? "free some space or choose another --out" : "choose another --out")
    }
}

/// A text file that grows line by line; each line reaches the system before `append` returns.
final class LineFile {
    private let path: String
    private let file: Int32

    init(path: String) throws(InputError) {
        self.path = path
        file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw FileWriting.failure(path, errno) }
    }

    deinit { close(file) }

    func append(_ line: String) throws(InputError) {
        let code = Data((line + "\n").utf8).withUnsafeBytes { FileWriting.writeAll(file, $0) }
        guard code == 0 else { throw FileWriting.failure(path, code) }
    }
}
