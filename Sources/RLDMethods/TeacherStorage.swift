/// How the activations of a frozen teacher lie in memory between its layers. Arithmetic is float32 either way; images, vectors (pooled
/// features) and logits always are.
public enum TeacherStorage: String, Sendable, CaseIterable {
    case float32
    /// IEEE half: half the memory, each activation rounded to 11 bits, beyond 65504 infinite.
    case half
}
