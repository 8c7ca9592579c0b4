import RLDExecution
import RLDMethods

/// What one check of a device against the reference found.
public struct CheckResult: Sendable, Equatable {
    /// Empty until the check that gave it has a name.
    public internal(set) var name = ""
    /// Largest |error| / bound over everything compared; at most 1 passes. NaN never passes.
    public let worst: Double
    /// The tensor with the worst error.
    public let worstTensor: String
    /// Values written outside their place.
    public let damagedGuards: Int
    /// Of the products.
    public let precision: Precision

    init(_ worst: Worst, damagedGuards: Int = 0, precision: Precision = .float32) {
        self.worst = worst.value
        worstTensor = worst.tensor
        self.damagedGuards = damagedGuards
        self.precision = precision
    }

    public var passed: Bool { worst <= 1 && damagedGuards == 0 }
}

extension DeviceChecks {
    /// One named check of a device.
    package struct Check {
        package let name: String
        private let compare: (DeviceEngine) throws -> CheckResult

        /// - Parameter compare: gives a result without a name.
        init(name: String, _ compare: @escaping (DeviceEngine) throws -> CheckResult) {
            self.name = name
            self.compare = compare
        }

        package func run(_ engine: DeviceEngine) throws -> CheckResult {
            var result = try compare(engine)
            result.name = name
            return result
        }
    }
}
