import OpenCLRuntime

/// How logits and gradients lie in memory. Arithmetic is float32 whatever is stored; half needs no half arithmetic of the device.
package struct LossStorage: Sendable, Hashable {
    package enum Element: Int, Sendable, Hashable {
        case float16 = 2
        case float32 = 4

        /// Bytes of one.
        var size: Int { rawValue }
    }

    package var student: Element
    package var teacher: Element
    /// Half gradients lose what is below 6e-8: scale them (`scale` of `FusedLoss.enqueue`).
    package var gradient: Element

    package init(student: Element = .float32, teacher: Element = .float32, gradient: Element = .float32) {
        self.student = student
        self.teacher = teacher
        self.gradient = gradient
    }

    /// Whether the kernels of a profile give right rows. On PoCL 3.1 the gpu kernels with half logits gave wrong ones now and then
    /// in a process's first launches; the same kernels at float32, and the cpu kernels at half, never did.
    package func isTrusted(_ profile: KernelProfile, on device: Device) -> Bool {
        self == LossStorage() || profile == .cpu || !device.isCPU
    }

    /// What the row kernels are built with; nothing for float32, so that programs are shared.
    var defines: [(String, String)] {
        [("STUDENT_HALF", student), ("TEACHER_HALF", teacher), ("GRADIENT_HALF", gradient)]
            .filter { $0.1 == .float16 }.map { ($0.0, "1") }
    }
}
