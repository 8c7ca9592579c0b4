import Foundation
import RLDGraph

/// A file that grows record by record; each reaches the system before `append` returns.
final class LineFile {
    private let path: String
    private let file: Int32

    init(path: String) throws(InputError) {
        self.path = path
        file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Self.failure(path, errno) }
    }

    deinit { close(file) }

    func append(_ line: String) throws(InputError) { try append(bytes: Data((line + "\n").utf8)) }

    func append(bytes: Data) throws(InputError) {
        let code = bytes.withUnsafeBytes { bytes -> Int32 in
            var rest = bytes
            while let start = rest.baseAddress, !rest.isEmpty {
                let written = write(file, start, rest.count)
                if written < 0, errno == EINTR { continue }
                if written < 0 { return errno }
                rest = UnsafeRawBufferPointer(rebasing: rest.dropFirst(written))
            }
            return 0
        }
        if code != 0 { throw Self.failure(path, code) }
    }

    /// Flushes everything so far to the disk. - Returns: the file's bytes.
    func flush() throws(InputError) -> Int {
        // A file that cannot be flushed (a pipe, a terminal) is not one that loses anything by it.
        if fsync(file) != 0, errno != EINVAL, errno != EROFS { throw Self.failure(path, errno) }
        return Int(lseek(file, 0, SEEK_END))
    }

    /// Cuts a file back to what it held earlier. One that holds less keeps it.
    static func cut(_ path: String, to length: Int) throws(InputError) {
        var status = stat()
        guard stat(path, &status) == 0, status.st_size > length else { return }
        if truncate(path, off_t(length)) != 0 { throw failure(path, errno) }
    }

    /// Lines of a file; 0 where there is none.
    static func count(_ path: String) -> Int {
        (FileManager.default.contents(atPath: path) ?? Data()).count { $0 == UInt8(ascii: "\n") }
    }

    private static func failure(_ path: String, _ code: Int32) -> InputError {
        InputError(
            path, "cannot be written: \(String(cString: strerror(code)))",
            advice: code == ENOSPC || code == EDQUOT ? "free some space or choose another --out" : "choose another --out")
    }
}
