import COpenCL
import Glibc

/// Memory of the host in the system's large pages, for devices that compute in it.
///
/// PoCL's own buffers lie in pages of 4 KiB, wherever the system finds them: the same training step took up to 1.5 times as long in one
/// process as in another. In large pages it did in none of ten, and is a few per cent faster.
enum LargePages {
    private static let size = 2 << 20

    /// Whether buffers on a device should be made of it. Of other drivers it is not known whether they compute in the memory that they
    /// are given.
    static func serve(_ device: Device) -> Bool { device.isPoCL && device.isCPU }

    /// - Returns: nil for buffers that fill no such page, and where there is no memory.
    static func allocate(_ bytes: Int) -> UnsafeMutableRawPointer? {
        guard bytes >= size else { return nil }
        var memory: UnsafeMutableRawPointer?
        guard posix_memalign(&memory, size, bytes) == 0, let memory else { return nil }
        // What does not fill a page at the end is better kept in small ones. A system without large pages refuses; then all are small.
        _ = madvise(memory, bytes / size * size, Int32(MADV_HUGEPAGE))
        LiveObjects.Kind.hostBlocks.created()
        return memory
    }

    /// - Parameter memory: what `allocate` returned.
    static func release(_ memory: UnsafeMutableRawPointer?) {
        guard let memory else { return }
        free(memory)
        LiveObjects.Kind.hostBlocks.released()
    }
}
