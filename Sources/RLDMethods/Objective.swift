import RLDGraph

/// What a student minimises: one method, or the weighted sum of several, each towards a teacher of its own.
///
/// total = sum over the components of weight * the method's total; the gradient is the same sum, added up in the components'
/// order. Every method brings its own cross-entropy with its own weight.
public struct Objective: Sendable, Equatable {
    /// One method's share.
    public struct Component: Sendable, Equatable {
        /// Stands before the names of its terms ("big" in "big.kd"); "" where there is nothing to tell apart.
        public var name: String
        public var method: Method
        /// Finite, at least 0.
        public var weight: Double
        /// Index of the teacher that it learns from; of no meaning for methods without one.
        public var teacher: Int
        /// Factor of the distillation terms (`Method.warmup(epoch:)`).
        public var warmup: Double

        public init(name: String = "", _ method: Method, weight: Double = 1, teacher: Int = 0, warmup: Double = 1) {
            self.name = name
            self.method = method
            self.weight = weight
            self.teacher = teacher
            self.warmup = warmup
        }
    }

    /// At least one.
    public var components: [Component]

    public init(components: [Component]) { self.components = components }

    public init(_ method: Method, warmup: Double = 1) { components = [Component(method, warmup: warmup)] }

    /// Throws for what cannot be minimised: no component, methods that do not validate, weights and factors out of bounds.
    /// - Parameter float32: for a device.
    package func check(float32: Bool = false) throws(InputError) {
        guard !components.isEmpty else { throw InputError("objective", "has no components", advice: "give at least one method") }
        for part in components {
            try part.method.validate()
            if float32 { try LossInputs.check(float32: part.method) }
            try LossInputs.check(warmup: part.warmup, scale: part.weight)
            if let problem = LossInputs.problem(weight: part.weight) {
                throw InputError("weight of component '\(part.name)'", "\(problem), found \(part.weight)")
            }
        }
    }

    /// The objective of an epoch, from 1.
    public func at(epoch: Int) -> Objective {
        Objective(
            components: components.map {
                Component(
                    name: $0.name, $0.method, weight: $0.weight, teacher: $0.teacher, warmup: $0.method.warmup(epoch: epoch))
            })
    }

    public var needsTeacher: Bool { !teachers.isEmpty }

    /// Indices of the teachers that it reads, in order.
    public var teachers: [Int] { Set(components.filter(\.method.needsTeacher).map(\.teacher)).sorted() }

    /// Names of the unweighted terms, component by component.
    public var termNames: [String] {
        components.flatMap { part in part.method.termNames.map { part.name.isEmpty ? $0 : "\(part.name).\($0)" } }
    }

    /// The smallest factor that any component's distillation terms have.
    public var warmup: Double { components.map(\.warmup).min() ?? 1 }

    /// Ids of its methods, each once: "rld", "kd+rld".
    public var id: String {
        components.map(\.method.id).reduce(into: []) { if !$0.contains($1) { $0.append($1) } }.joined(separator: "+")
    }

    /// What its components' sums make together.
    /// - Parameter parts: one per component, of the same rows.
    package func sum(_ parts: [StepMetrics]) -> StepMetrics {
        var sum = parts.first ?? StepMetrics()
        sum.termSums = parts.flatMap(\.termSums)
        // A component of weight 0 does not count, even if it is infinite.
        sum.totalSum = zip(components, parts).reduce(0) { $1.0.weight == 0 ? $0 : $0 + $1.0.weight * $1.1.totalSum }
        return sum
    }
}
