/// Elements of a piece of memory as a tensor: element (i, j, ...) lies at offset + i * strides[0] + j * strides[1] + ...
struct StridedView: Equatable {
    /// In elements.
    let offset: Int
    let shape: [Int]
    /// 0 where there is one element or none: what is written there says nothing, and may be any number.
    let strides: [Int]
    /// Elements from the first to the last that the view touches; 0 for an empty one.
    let span: Int
    /// Elements of the tensor.
    let count: Int
    /// Elements of the tensor beyond those that it touches.
    var repeated: Int { max(count - span, 0) }

    /// Elements that a tensor may have beyond those of its memory (expanded tensors repeat theirs).
    private static let maximumExpansion = 1 << 24

    /// Why the numbers cannot be a tensor.
    struct Failure: Error { let problem: String }

    /// Checks that the view lies inside its memory, and that what it promises is worth allocating.
    /// - Parameter available: elements of the memory.
    init(offset: Int, shape: [Int], strides: [Int], available: Int, type: ElementType) throws(Failure) {
        guard shape.count == strides.count, shape.count <= 64 else {
            throw Failure(problem: "has \(shape.count) sizes and \(strides.count) strides")
        }
        guard offset >= 0, strides.allSatisfy({ $0 >= 0 }) else { throw Failure(problem: "has a negative offset or stride") }
        guard let size = type.byteCount(shape: shape) else {
            throw Failure(problem: "has shape \(shapeText(shape)), which no memory holds")
        }
        count = size / type.byteCount
        // The last element touched; every product and sum is checked.
        var last = offset
        if count > 0 {
            for (extent, stride) in zip(shape, strides) {
                let (reach, overflow) = (extent - 1).multipliedReportingOverflow(by: stride)
                let (sum, carry) = last.addingReportingOverflow(reach)
                guard !overflow, !carry else { throw Failure(problem: "reaches beyond any storage") }
                last = sum
            }
            guard last < available else {
                throw Failure(problem: "of shape \(shapeText(shape)) reaches element \(last) of a storage of \(available)")
            }
            guard count - available <= Self.maximumExpansion else {
                throw Failure(problem: "of shape \(shapeText(shape)) repeats a storage of \(available) elements too often")
            }
        }
        span = count > 0 ? last - offset + 1 : 0
        self.offset = offset
        self.shape = shape
        self.strides = zip(shape, strides).map { extent, stride in extent > 1 ? stride : 0 }
    }

    /// Whether the elements lie in row-major order without gaps.
    var isContiguous: Bool {
        var expected = 1
        for (extent, stride) in zip(shape, strides).reversed() where extent != 1 {
            if stride != expected { return false }
            expected *= extent
        }
        return true
    }

    /// The elements in row-major order.
    /// - Parameters:
    ///   - elements: the `span` elements from `offset` on.
    ///   - width: bytes per element.
    func gathered(_ elements: [UInt8], width: Int) -> [UInt8] {
        if count == 0 { return [] }
        if isContiguous { return elements }
        return [UInt8](unsafeUninitializedCapacity: count * width) { output, written in
            var index = Array(repeating: 0, count: shape.count)
            var source = 0
            for element in 0..<count {
                for byte in 0..<width { output[element * width + byte] = elements[source * width + byte] }
                var axis = shape.count - 1
                while axis >= 0 {
                    index[axis] += 1
                    source += strides[axis]
                    if index[axis] < shape[axis] { break }
                    source -= strides[axis] * shape[axis]
                    index[axis] = 0
                    axis -= 1
                }
            }
            written = count * width
        }
    }
}
