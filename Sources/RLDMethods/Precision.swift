/// How convolutions and linear layers multiply, forward and backward. Values are stored and sums are added in float32 either way;
/// grouped convolutions and everything else always compute in float32.
public enum Precision: String, Sendable, CaseIterable {
    case float32
    /// Operands are rounded to 10 bits after the leading one (TensorFloat-32), as the matrix units of GPUs take them.
    case tf32

    /// A value as a product takes it: for tf32 the nearest with 10 bits after the leading one, of two the one away from zero.
    public func operand(_ value: Double) -> Double {
        guard self == .tf32 else { return value }
        let float = Float(value)
        guard float.isFinite else { return Double(float) }
        return Double(Float(bitPattern: (float.bitPattern &+ 0x1000) & 0xFFFF_E000))
    }

    package func operands(_ values: [Double]) -> [Double] { self == .float32 ? values : values.map(operand) }
}
