/// What was wrong with a row, as the loss kernels report it. Bits of `kernels/common/row_status.clh`.
package struct LossFault: OptionSet, Sendable, Hashable, CustomStringConvertible {
    package let rawValue: UInt32
    package init(rawValue: UInt32) { self.rawValue = rawValue }

    /// The student's logits hold nan or +infinity, or exclude every class.
    package static let student = LossFault(rawValue: 16)
    /// The same of the teacher's.
    package static let teacher = LossFault(rawValue: 32)
    /// A label is outside 0..<classes.
    package static let label = LossFault(rawValue: 64)
    /// A term is infinite: the student excludes (-infinity) a class that the target needs.
    package static let loss = LossFault(rawValue: 128)

    package var description: String {
        let names: [(LossFault, String)] = [
            (.student, "student logits are nan, +inf or all excluded"),
            (.teacher, "teacher logits are nan, +inf or all excluded"),
            (.label, "a label is out of range"), (.loss, "the loss is infinite"),
        ]
        return names.filter { contains($0.0) }.map(\.1).joined(separator: "; ")
    }
}

/// What a loss kernel found in a row. Bits of `kernels/common/row_status.clh`; the others are those of `LossFault`.
struct LossRowStatus: OptionSet {
    let rawValue: UInt32

    /// The label is the student's first largest logit.
    static let top1 = LossRowStatus(rawValue: 2)
    /// The fast arithmetic did not serve.
    static let careful = LossRowStatus(rawValue: 8)

    /// Whether the student is right. An infinite loss says nothing of the ranks, every other fault that there are none.
    var isCorrect: Bool {
        contains(.top1) && LossFault(rawValue: rawValue).isDisjoint(with: [.student, .teacher, .label])
    }
}
