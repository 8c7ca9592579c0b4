import RLDDatasets
import RLDGraph
import TestSupport
import Testing

struct IDXTests {
    private func refused(
        _ fragment: String, _ bytes: [UInt8], dimensions: Int = 1, sourceLocation: SourceLocation = #_sourceLocation
    ) {
        expectRefusal(fragment, sourceLocation: sourceLocation) {
            _ = try IDXFile(bytes: bytes, named: "labels", dimensions: dimensions)
        }
    }

    @Test func plainAndCompressed() throws {
        let good = idx([2, 3, 4], Array(0..<24))
        for bytes in [good, gzip(good), gzip(Array(good.prefix(9))) + gzip(Array(good.dropFirst(9)))] {
            let file = try IDXFile(bytes: bytes, named: "x", dimensions: 3)
            #expect(file.shape == [2, 3, 4])
            #expect(file.bytes == Array(0..<24))
        }
    }

    @Test func largeFilesAreReadInPortions() throws {
        let values = (0..<18_000_000).map { UInt8(truncatingIfNeeded: $0 &* $0 >> 7) }
        let folder = TemporaryFolder()
        let path = try folder.write(gzip(idx([values.count], values)), "x")
        #expect(try IDXFile(path: path, dimensions: 1).bytes == values)
    }

    @Test func everyTruncationOfAPlainFile() {
        let good = idx([20], Array(0..<20))
        for count in 0..<good.count {
            expectRefusal(count < 8 ? "is truncated" : "trunc") {
                _ = try IDXFile(bytes: Array(good.prefix(count)), named: "x", dimensions: 1)
            }
        }
    }

    @Test func everyTruncationOfACompressedFile() {
        let good = gzip(idx([200], (0..<200).map { UInt8(truncatingIfNeeded: $0 * $0) }))
        for count in 2..<good.count { refused("trunc", Array(good.prefix(count))) }
        // Two bytes are no gzip file but also no IDX file.
        refused("is truncated", Array(good.prefix(1)))
    }

    @Test func corruptCompressedData() {
        let good = gzip(idx([200], (0..<200).map { UInt8(truncatingIfNeeded: $0 * $0 >> 3) }))
        var flipped = good
        flipped[good.count - 6] ^= 1
        refused("is corrupt: incorrect data check", flipped)
        flipped = good
        flipped[good.count - 2] ^= 1
        refused("is corrupt: incorrect length check", flipped)
        flipped = good
        flipped[2] = 7
        refused("is corrupt: unknown compression method", flipped)
        refused("is corrupt: incorrect header check", good + [1, 2, 3, 4])
    }

    @Test func sizesThatTheHeaderDoesNotPromise() {
        refused("is truncated: its header promises [200], 200 bytes, found 100", gzip(idx([200], Array(0..<100))))
        refused("is longer than the 3 bytes that its header promises with [3]", idx([3], [1, 2, 3, 4]))
        refused("is longer than the 3 bytes", gzip(idx([3], [1, 2, 3, 4])))
    }

    @Test func absurdPromises() {
        let promise = "more than the file can hold"
        refused(promise, idx([0xFFFF_FFFF], []))
        refused(promise, gzip(idx([0xFFFF_FFFF], [])))
        refused(promise, idx([0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF], []), dimensions: 3)
        refused(promise, gzip(idx([0xFFFF_FFFF, 0xFFFF_FFFF, 0xFFFF_FFFF], [])), dimensions: 3)
    }

    @Test func wrongMagic() {
        refused("labels: expected magic 0x00000801, found 0x00000901; is it an IDX file of labels?", idx([1], [1], type: 9))
        refused("found 0x50360a32", Array("P6\n2 2\n".utf8))
        refused("expected magic 0x00000803, found 0x00000801; is it an IDX file of images?", idx([1], [1]), dimensions: 3)
    }

    @Test func filesThatAreNotThere() throws {
        let folder = TemporaryFolder()
        expectRefusal("no such file") { _ = try IDXFile(path: folder.file("x"), dimensions: 1) }
        expectRefusal("is not a file but a folder") { _ = try IDXFile(path: folder.path, dimensions: 1) }
        expectRefusal("is truncated: 0 bytes") { _ = try IDXFile(path: folder.write([], "x"), dimensions: 1) }
    }
}
