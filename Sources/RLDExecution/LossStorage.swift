import OpenCLRuntime

/// How logits and gradients lie in memory. Arithmetic is float32 whatever is stored; half needs no half arithmetic of the device.
package struct LossStorage: Sendable, Hashable {
    package var student: StoredElement
    package var teacher: StoredElement
    /// Half gradients lose what is below 6e-8: scale them (`scale` of `FusedLoss.enqueue`).
    package var gradient: StoredElement

    package init(student: StoredElement = .float32, teacher: StoredElement = .float32, gradient: StoredElement = .float32) {
        self.student = student
        self.teacher = teacher
        self.gradient = gradient
    }

    /// What the row kernels are built with; nothing for float32, so that programs are shared.
    var defines: [(String, String)] {
        [("STUDENT_HALF", student), ("TEACHER_HALF", teacher), ("GRADIENT_HALF", gradient)]
            .filter { $0.1 == .float16 }.map { ($0.0, "1") }
    }
}
