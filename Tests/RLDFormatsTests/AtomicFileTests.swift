import Foundation
import RLDFormats
import RLDGraph
import TestSupport
import Testing

/// Where files are written to, and what they are read from.
struct AtomicFileTests {
    let folder = TemporaryFolder()

    @Test("a link stays a link, and what it leads to is replaced")
    func links() throws {
        try folder.write([1], "real")
        try FileManager.default.createSymbolicLink(atPath: folder.file("link"), withDestinationPath: "real")
        try AtomicFile.write([2, 3], to: folder.file("link"))
        #expect(try FileManager.default.destinationOfSymbolicLink(atPath: folder.file("link")) == "real")
        #expect(try contents(of: folder.file("real")) == [2, 3])
        #expect(folder.contents == ["link", "real"])
    }

    @Test("what is no file (a pipe, a terminal, /dev/null) is written to, never replaced by a file")
    func pipes() throws {
        let path = folder.file("pipe")
        #expect(mkfifo(path, 0o600) == 0)
        let reader = open(path, O_RDWR | O_NONBLOCK)
        defer { close(reader) }
        try AtomicFile.write([1, 2, 3], to: path)
        var bytes = [UInt8](repeating: 0, count: 8)
        #expect(read(reader, &bytes, 8) == 3 && bytes.prefix(3) == [1, 2, 3])
        #expect(folder.contents == ["pipe"])
        expectRefusal("cannot be replaced: Is a directory") { try AtomicFile.write([1], to: folder.path) }
    }

    @Test("what cannot be written is told before anything is, and nothing is written then")
    func checking() throws {
        try AtomicFile.check(folder.file("new"))
        try AtomicFile.check("/dev/null")
        expectRefusal("missing/new: cannot be written: No such file or directory") {
            try AtomicFile.check(folder.file("missing/new"))
        }
        expectRefusal("cannot be replaced: Is a directory") { try AtomicFile.check(folder.path) }
        #expect(folder.contents.isEmpty)
    }

    @Test("a pipe is refused as a folder is, not waited for")
    func reading() throws {
        let path = folder.file("pipe")
        #expect(mkfifo(path, 0o600) == 0)
        expectRefusal("is not a file") { _ = try TensorFile(path: path) }
    }
}
