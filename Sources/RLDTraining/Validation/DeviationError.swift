import Foundation

/// A device computed something else than the reference does (RLD_VALIDATE=1).
public struct DeviationError: Error, Sendable, Equatable, CustomStringConvertible {
    /// The training step, from 1.
    public var step: Int
    /// "teacher forward", "student forward", "loss", "backward", "update" or "batch".
    public var part: String
    /// The node of the network, or what took its place ("optimizer").
    public var node: String
    /// What the node computes ("convolution3x3").
    public var operation: String
    /// What was compared: "value", "gradient of conv1.weight" ...
    public var quantity: String
    /// The worst element, by its index in each dimension.
    public var element: [Int]
    public var found: Double
    public var expected: Double
    /// Largest error that is allowed there.
    public var bound: Double

    public var description: String {
        let size = abs(found - expected) / bound
        let times = size.isFinite ? String(format: "%.3g times the bound %.2g", size, bound) : "not comparable"
        return
            "RLD_VALIDATE: step \(step), \(part), node \(node) (\(operation)): \(quantity)\(element) is \(found), the reference gives "
            + "\(expected), \(times); 'rld doctor' checks every kernel of this device"
    }
}
