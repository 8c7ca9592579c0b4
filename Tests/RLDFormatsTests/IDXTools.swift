import CZlib
import TestSupport

/// The bytes of an IDX file.
func idx(_ shape: [Int], _ values: [UInt8], type: UInt8 = 8) -> [UInt8] {
    var bytes: [UInt8] = [0, 0, type, UInt8(shape.count)]
    for extent in shape { withUnsafeBytes(of: UInt32(extent).bigEndian) { bytes += $0 } }
    return bytes + values
}

/// Gzip-compressed bytes.
func gzip(_ bytes: [UInt8]) -> [UInt8] {
    var stream = z_stream()
    deflateInit2_(&stream, 6, Z_DEFLATED, 15 + 16, 8, Z_DEFAULT_STRATEGY, ZLIB_VERSION, Int32(MemoryLayout<z_stream>.size))
    defer { deflateEnd(&stream) }
    var input = bytes
    let room = Int(deflateBound(&stream, UInt(bytes.count))) + 64
    return input.withUnsafeMutableBufferPointer { input in
        [UInt8](unsafeUninitializedCapacity: room) { output, count in
            stream.next_in = input.baseAddress
            stream.avail_in = UInt32(input.count)
            stream.next_out = output.baseAddress
            stream.avail_out = UInt32(room)
            precondition(deflate(&stream, Z_FINISH) == Z_STREAM_END)
            count = room - Int(stream.avail_out)
        }
    }
}

/// A folder in MNIST's layout: 6 training images and 3 test images of 2x3 pixels; single files can be replaced or left out.
func mnistFolder(
    compressed: Bool, replacing files: [String: [UInt8]] = [:], without missing: String? = nil
) throws -> TemporaryFolder {
    let folder = TemporaryFolder()
    let good: [String: [UInt8]] = [
        "train-images-idx3-ubyte": idx([6, 2, 3], Array(0..<36)), "train-labels-idx1-ubyte": idx([6], [0, 1, 2, 9, 8, 7]),
        "t10k-images-idx3-ubyte": idx([3, 2, 3], Array(100..<118)), "t10k-labels-idx1-ubyte": idx([3], [5, 5, 0]),
    ]
    for (name, bytes) in good.merging(files, uniquingKeysWith: { $1 }) where name != missing {
        try folder.write(compressed ? gzip(bytes) : bytes, compressed ? name + ".gz" : name)
    }
    return folder
}
