import RLDGraph

/// A NumPy array file (.npy), versions 1 to 3: any byte order, C or Fortran order.
struct NumPyArray: Sendable {
    let path: String
    let type: ElementType
    let shape: [Int]
    private let isBigEndian: Bool
    private let isFortranOrder: Bool
    private let file: RandomAccessFile
    private let offset: Int
    private let size: Int

    static func matches(_ start: [UInt8]) -> Bool { start.starts(with: NumPyHeader.magic) }

    /// Bytes from the beginning on that hold the header of any array.
    static let headerBytes = 12 + NumPyHeader.maximumBytes

    /// Reads and checks the header; the elements are read when asked for.
    /// - Parameter wholeSize: of the array's file where this is only its beginning, with the header in it.
    init(_ file: RandomAccessFile, of wholeSize: Int? = nil) throws(InputError) {
        path = file.path
        self.file = file
        var cursor = FileCursor(file)
        guard file.size >= 10, NumPyArray.matches(try cursor.bytes(6)) else {
            throw InputError(path, "is no NumPy array: it does not begin with \\x93NUMPY")
        }
        let version = (try cursor.byte(), try cursor.byte())
        guard (1...3).contains(version.0), version.1 == 0 else {
            throw InputError(path, "has NumPy format \(version.0).\(version.1), known are 1.0, 2.0 and 3.0")
        }
        let length = try cursor.integer(version.0 == 1 ? 2 : 4)
        guard length <= NumPyHeader.maximumBytes else {
            throw InputError(path, "declares a NumPy header of \(length) bytes, the limit is \(NumPyHeader.maximumBytes)")
        }
        let header = try NumPyHeader(try cursor.bytes(Int(length)), path: path)
        guard let size = header.type.byteCount(shape: header.shape) else {
            throw InputError(path, "promises shape \(shapeText(header.shape)), which no memory holds")
        }
        let found = (wholeSize ?? file.size) - cursor.position
        guard size == found else {
            let what = size > found ? "is truncated" : "is too long"
            throw InputError(path, "\(what): \(header.type) \(shapeText(header.shape)) takes \(size) bytes, found \(found)")
        }
        (type, shape, isBigEndian, isFortranOrder) = (header.type, header.shape, header.isBigEndian, header.isFortranOrder)
        (offset, self.size) = (cursor.position, size)
    }

    /// The array in row-major order.
    func read(named name: String) throws(InputError) -> StoredTensor {
        var bytes = try file.read(from: offset, count: size)
        if isBigEndian { bytes = swappingBytes(bytes, size: type.byteCount) }
        if isFortranOrder { bytes = try rowMajor(bytes) }
        return StoredTensor(name: name, type: type, shape: shape, bytes: bytes)
    }

    private func rowMajor(_ bytes: [UInt8]) throws(InputError) -> [UInt8] {
        var strides: [Int] = []
        var step = 1
        for extent in shape {
            strides.append(step)
            step *= max(extent, 1)
        }
        do throws(StridedView.Failure) {
            let view = try StridedView(
                offset: 0, shape: shape, strides: strides, available: bytes.count / type.byteCount, type: type)
            return view.gathered(bytes, width: type.byteCount)
        } catch {
            throw InputError(path, "is corrupt: the array \(error.problem)")
        }
    }

    /// The bytes of a .npy file. bfloat16, which NumPy lacks, is widened to float32.
    static func bytes(_ tensor: StoredTensor, path: String) throws(InputError) -> [UInt8] {
        guard tensor.shape.count <= NumPyHeader.maximumDimensions else {
            throw InputError(
                path,
                "tensor \(quoted(tensor.name)) has \(tensor.shape.count) dimensions, NumPy has at most \(NumPyHeader.maximumDimensions)"
            )
        }
        let tensor = tensor.type == .bfloat16 ? try tensor.converted(to: .float32, source: path) : tensor
        guard let header = NumPyHeader.bytes(type: tensor.type, shape: tensor.shape) else {
            throw InputError(path, "tensor \(quoted(tensor.name)): NumPy has no \(tensor.type.rawValue)")
        }
        return header + tensor.bytes
    }
}
