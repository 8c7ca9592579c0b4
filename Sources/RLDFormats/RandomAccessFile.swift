import Foundation
import RLDGraph

/// A file that is open for reading at any place. It stays readable when another file is renamed over its path.
final class RandomAccessFile: Sendable {
    /// The path, or what messages call bytes that are in memory already.
    let path: String
    /// Bytes, when it was opened.
    let size: Int
    private let source: Source

    private enum Source {
        case descriptor(Int32)
        case memory([UInt8])
    }

    init(bytes: [UInt8], named name: String) {
        path = name
        size = bytes.count
        source = .memory(bytes)
    }

    init(path: String) throws(InputError) {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else {
            let code = errno
            throw code == ENOENT
                ? InputError(path, "no such file") : InputError(path, "cannot be opened: \(String(cString: strerror(code)))")
        }
        var status = stat()
        guard fstat(descriptor, &status) == 0, status.st_mode & S_IFMT == S_IFREG else {
            close(descriptor)
            throw InputError(path, "is not a file but a folder or device")
        }
        self.path = path
        source = .descriptor(descriptor)
        size = Int(status.st_size)
    }

    deinit {
        if case .descriptor(let descriptor) = source { close(descriptor) }
    }

    /// - Precondition: the range lies in `0...size`.
    func read(from offset: Int, count: Int) throws(InputError) -> [UInt8] {
        switch source {
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
