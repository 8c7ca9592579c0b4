/// The kernels, embedded at build time: every .cl file of this folder, its includes resolved. They travel inside the binary.
public enum KernelSources {
    /// The names of all kernel files (`copy.cl`), sorted.
    public static let names: [String] = EmbeddedKernels.table.keys.sorted()

    /// The text of a kernel file, ready to compile; nil if there is no file of this name.
    public static func source(_ name: String) -> String? {
        EmbeddedKernels.table[name]
    }
}
