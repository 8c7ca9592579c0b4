import Foundation
import RLDGraph

/// A text file that grows line by line; each line reaches the system before `append` returns.
final class LineFile {
    private let path: String
    private let file: Int32

    init(path: String) throws(InputError) {
        self.path = path
        file = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0o644)
        guard file >= 0 else { throw Self.failure(path, errno) }
    }

    deinit { close(file) }

    func append(_ line: String) throws(InputError) {
        let code = Data((line + "\n").utf8).withUnsafeBytes { bytes -> Int32 in
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

    private static func failure(_ path: String, _ code: Int32) -> InputError {
        InputError(
            path, "cannot be written: \(String(cString: strerror(code)))",
            advice: code == ENOSPC || code == EDQUOT ? "free some space or choose another --out" : "choose another --out")
    }
}
