import OpenCLRuntime
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
    /// Why nothing could be compared: a kernel that the device does not build or run.
    public let failure: String?

    init(_ worst: Worst, damagedGuards: Int = 0, precision: Precision = .float32) {
        self.worst = worst.value
        worstTensor = worst.tensor
        self.damagedGuards = damagedGuards
        self.precision = precision
        failure = nil
    }

    init(failure: DeviceError) {
        (worst, worstTensor, damagedGuards, precision) = (.nan, "", 0, .float32)
        self.failure = "\(failure)"
    }

    public var passed: Bool { worst <= 1 && damagedGuards == 0 }
}

extension DeviceChecks {
    /// One named check of a device.
    package struct Check {
        package let name: String
        private let compare: (DeviceEngine) throws -> CheckResult

        /// - Parameter compare: gives a result without a name.
        package init(name: String, _ compare: @escaping (DeviceEngine) throws -> CheckResult) {
            self.name = name
            self.compare = compare
        }

        /// A device that refuses one check may still pass the others.
        package func run(_ engine: DeviceEngine) throws -> CheckResult {
            var result: CheckResult
            do {
                result = try compare(engine)
            } catch let error as DeviceError where ![.deviceLost, .noDevice].contains(error.code) {
                result = CheckResult(failure: error)
            }
            result.name = name
            return result
        }
    }
}
