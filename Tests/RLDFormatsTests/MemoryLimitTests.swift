import Foundation
import RLDFormats
import TestSupport
import Testing

/// What a process may take is more than a question of the machine.
struct MemoryLimitTests {
    @Test("the smallest of machine, control groups and address space counts, less what is taken of the last")
    func smallest() {
        func bytes(_ groups: UInt64?, _ space: (limit: UInt64, used: UInt64)?) -> UInt64 {
            MemoryLimit(physical: 1000, groups: groups, addressSpace: space).bytes
        }
        #expect(bytes(nil, nil) == 1000 && bytes(700, nil) == 700 && bytes(2000, nil) == 1000)
        #expect(bytes(700, (800, 300)) == 500 && bytes(700, (300, 800)) == 0)
        #expect(MemoryLimit.current.bytes > 1 << 20)
    }

    @Test("control groups: of the process's own and of those around it, of both versions")
    func groups() throws {
        let folder = TemporaryFolder()
        func limit(_ groups: String) -> UInt64? { MemoryLimit.smallest(groups: groups, root: folder.path) }
        #expect(limit("0::/a/b\n") == nil)
        for name in ["a/b", "memory/job"] {
            try FileManager.default.createDirectory(atPath: folder.file(name), withIntermediateDirectories: true)
        }
        try folder.write(Array("max\n".utf8), "a/b/memory.max")
        #expect(limit("0::/a/b\n") == nil)
        try folder.write(Array("4096\n".utf8), "a/memory.max")
        #expect(limit("0::/a/b\n") == 4096)
        // As a container sees it, whose own group is the root.
        try folder.write(Array("2048\n".utf8), "memory.max")
        #expect(limit("0::/elsewhere\n") == 2048)
        try folder.write(Array("1024\n".utf8), "memory/job/memory.limit_in_bytes")
        #expect(limit("5:cpu:/job\n4:memory,hugetlb:/job\n") == 1024 && limit("5:cpu:/job\n") == nil)
    }
}
