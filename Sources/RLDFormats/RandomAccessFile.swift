import Foundation
import RLDGraph

/// A file that is open for reading at any place. It stays readable when another file is renamed over its path.
package final class RandomAccessFile: Sendable {
    /// The path, or what messages call bytes that are in memory already.
    package let path: String
    /// Bytes, when it was opened.
    package let size: Int
    private let source: Source

    private enum Source {
        case descriptor(Int32)
        case memory([UInt8])
    }

    package init(bytes: [UInt8], named name: String) {
        path = name
        size = bytes.count
        source = .memory(bytes)
    }

    package init(path: String) throws(InputError) {
        // Without O_NONBLOCK a pipe would be waited for before it is refused; files do not heed it.
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else {
            let code = errno
            throw code == ENOENT
                ? InputError(path, "no such file") : InputError(path, "cannot be opened: \(String(cString: strerror(code)))")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw InputError(path, "is not a file but a folder, pipe or device")
        }
        self.path = path
        source = .descriptor(descriptor)
        size = Int(status.st_size)
    }

    deinit {
        if case .descriptor(let descriptor) = source { close(descriptor) }
    }

    /// - Precondition: the range lies in `0...size`.
    package func read(from offset: Int, count: Int) throws(InputError) -> [UInt8] {
        try checkMemory(count, path: path)
        return switch source {
        case .memory(let bytes): Array(bytes[offset..<offset + count])
        case .descriptor(let descriptor): try read(descriptor, from: offset, count: count)
        }
    }

    private func read(_ descriptor: Int32, from offset: Int, count: Int) throws(InputError) -> [UInt8] {
        var filled = 0
        var code: Int32 = 0
        let bytes = [UInt8](unsafeUninitializedCapacity: count) { buffer, initialized in
            while filled < count {
                guard let base = buffer.baseAddress else { break }
                let read = pread(descriptor, base + filled, count - filled, off_t(offset + filled))
                if read < 0, errno == EINTR { continue }
                if read < 0 { code = errno }
                if read <= 0 { break }
                filled += read
            }
            initialized = filled
        }
        if code != 0 { throw InputError(path, "cannot be read: \(String(cString: strerror(code)))") }
        guard filled == count else {
            throw InputError(path, "was shortened while it was read: \(count) bytes expected at \(offset), found \(filled)")
        }
        return bytes
    }
}

/// Refuses what this process's memory does not hold before it is asked for: an allocation that fails ends the program, and the
/// numbers come out of files (a sparse file may be larger than any memory).
func checkMemory(_ count: Int, path: String) throws(InputError) {
    // Looking at the limits costs as much as a small piece.
    guard count > 1 << 24 else { return }
    let limit = MemoryLimit.current.bytes
    guard UInt64(count) <= limit else {
        let (needed, left) = (MemoryLimit.text(UInt64(count)), MemoryLimit.text(limit))
        throw InputError(path, "holds a piece that takes \(needed) of memory, more than the \(left) that this process may have")
    }
}
