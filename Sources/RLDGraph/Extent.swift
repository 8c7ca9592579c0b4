/// A per-sample shape as channels of a plane; a vector is channels of a 1 x 1 plane.
public struct Extent: Sendable, Equatable {
    public let channels: Int
    public let height: Int
    public let width: Int
    /// Elements of one channel.
    public var plane: Int { height * width }

    /// - Parameter shape: [C, H, W] or [features].
    public init(_ shape: [Int]) {
        channels = shape[0]
        height = shape.count > 1 ? shape[1] : 1
        width = shape.count > 2 ? shape[2] : 1
    }
}
