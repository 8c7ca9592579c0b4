import Foundation
import RLDGraph

/// Writes a file so that a reader sees the old contents or the new, never a part: a temporary file in the same folder is
/// written, flushed to the disk and renamed. A failure leaves the old file as it was and no temporary one. A link stays a link to
/// what is replaced; what is no file (a pipe, a terminal, /dev/null) is written to as it is.
public struct AtomicFile {
    private let path: String
    private let descriptor: Int32

    /// Writes what `body` appends.
    /// - Throws: when the folder is missing or full or may not be written, or what `body` throws.
    public static func write(
        to path: String, _ body: (borrowing AtomicFile) throws(InputError) -> Void
    ) throws(InputError) {
        var status = stat()
        if stat(path, &status) == 0, ![S_IFREG, S_IFDIR].contains(status.st_mode & S_IFMT) {
            try write(open(path, O_WRONLY | O_CLOEXEC), path: path, flush: false, body)
        } else {
            try replace(path, body)
        }
    }

    /// The name of the file that a temporary one was to become, which a kill may leave behind; nil for names of other programs.
    package static func target(ofTemporary name: String) -> String? {
        name.wholeMatch(of: /\.(.+)\.[0-9]+\.[0-9a-z]+\.tmp/).map { String($0.1) }
    }

    private static func replace(
        _ path: String, _ body: (borrowing AtomicFile) throws(InputError) -> Void
    ) throws(InputError) {
        let target = URL(fileURLWithPath: path).resolvingSymlinksInPath()
        let unique = "\(getpid()).\(String(UInt64.random(in: .min ... .max), radix: 36))"
        let folder = target.deletingLastPathComponent().path
        let temporary = "\(folder)/.\(target.lastPathComponent).\(unique).tmp"
        let descriptor = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0o666)
        do throws(InputError) {
            try write(descriptor, path: path, flush: true, body)
        } catch {
            unlink(temporary)
            throw error
        }
        guard rename(temporary, target.path) == 0 else {
            let error = failure(path, "cannot be replaced")
            unlink(temporary)
            throw error
        }
        // The rename itself survives a power cut only once the folder is flushed; where that is not possible nothing is lost.
        let folderDescriptor = open(folder, O_RDONLY | O_CLOEXEC)
        if folderDescriptor >= 0 {
            fsync(folderDescriptor)
            close(folderDescriptor)
        }
    }

    /// Writes to an open descriptor, and closes it.
    private static func write(
        _ descriptor: Int32, path: String, flush: Bool, _ body: (borrowing AtomicFile) throws(InputError) -> Void
    ) throws(InputError) {
        guard descriptor >= 0 else { throw failure(path, "cannot be written") }
        let file = AtomicFile(path: path, descriptor: descriptor)
        defer { close(descriptor) }
        try body(file)
        guard !flush || fsync(descriptor) == 0 else { throw failure(path, "cannot be flushed to the disk") }
    }

    /// Throws what `write` would throw of a missing folder, of one that may not be written and of a folder in the file's place, so that
    /// nobody works for long before hearing of it. Writes nothing.
    public static func check(_ path: String) throws(InputError) {
        var status = stat()
        let exists = stat(path, &status) == 0
        if exists, status.st_mode & S_IFMT == S_IFDIR { throw failure(path, "cannot be replaced", EISDIR) }
        let isReplaced = !exists || status.st_mode & S_IFMT == S_IFREG
        let target = URL(fileURLWithPath: path).resolvingSymlinksInPath()
        let written = isReplaced ? target.deletingLastPathComponent().path : path
        guard access(written, isReplaced ? W_OK | X_OK : W_OK) == 0 else { throw failure(path, "cannot be written") }
    }

    /// Writes `bytes`.
    public static func write(_ bytes: [UInt8], to path: String) throws(InputError) {
        try write(to: path) { file throws(InputError) in try file.append(bytes) }
    }

    public func append(_ bytes: [UInt8]) throws(InputError) {
        var code: Int32 = 0
        bytes.withUnsafeBytes { buffer in
            var written = 0
            while let base = buffer.baseAddress, written < buffer.count {
                let count = Foundation.write(descriptor, base + written, buffer.count - written)
                if count < 0, errno == EINTR { continue }
                if count < 0 {
                    code = errno
                    return
                }
                written += count
            }
        }
        if code != 0 { throw Self.failure(path, "cannot be written", code) }
    }

    private static func failure(_ path: String, _ problem: String, _ code: Int32 = errno) -> InputError {
        InputError(
            path, "\(problem): \(String(cString: strerror(code)))",
            advice: code == ENOSPC || code == EDQUOT ? "free some space" : "")
    }
}
