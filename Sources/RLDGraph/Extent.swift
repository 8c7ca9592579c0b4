/// A per-sample shape as channels of a plane; a vector is channels of a 1 x 1 plane.
public struct Extent: Sendable, Equatable {
    public let channels: Int
    public let height: Int
    public let width: Int
    /// Elements of one channel.
    public var plane: Int { height * width }

    /// - Parameter shape: [C, H, W] or [features].
    package init(_ shape: [Int]) {
        channels = shape[0]
        height = shape.count > 1 ? shape[1] : 1
        width = shape.count > 2 ? shape[2] : 1
    }
}

/// Elements of a shape, 1 of a scalar's; nil when an extent is negative or the number has more than 63 bits. A shape with an extent
/// of 0 has none, but its other extents are held to the same limit.
package func elementCount(of shape: [Int]) -> Int? {
    var count = 1
    for extent in shape where extent != 0 {
        let (product, overflow) = count.multipliedReportingOverflow(by: extent)
        guard extent > 0, !overflow else { return nil }
        count = product
    }
    return shape.contains(0) ? 0 : count
}
