import Foundation
import KernelText

/// Builds each program once per context, by file, defines and options. There is no cache on disk: the drivers keep their own (a binary
/// of PoCL 3.1 would load in 1 to 9 ms, but to give one it compiles every kernel of the program again, about 1 s).
public final class ProgramCache {
    public let context: Context

    private struct Key: Hashable {
        let file: String
        let defines: String
        let options: String
        let onCallingThread: Bool
    }

    /// The kernel files that `file` includes are one program where they are asked for with these defines (or fewer): a driver takes its
    /// time for each program (PoCL 3.1 30 to 60 ms, even if it lies in its cache).
    public struct Bundle: Sendable {
        public var file: String
        public var defines: [String: String]

        public init(file: String, defines: [String: String]) {
            (self.file, self.defines) = (file, defines)
        }
    }

    private let options: String
    private let bundle: Bundle?
    private let source: (String) -> String?
    private let settings = Environment.settings
    private var programs: [Key: Program] = [:]
    /// The files of the bundle, once they are known.
    private var bundled: Set<String>?

    /// - Parameters:
    ///   - options: compiler options of all programs.
    ///   - bundle: kernel files that are compiled together.
    ///   - source: the text of a kernel file by name, includes resolved; nil if there is none. `RLD_KERNEL_DIR` goes before it.
    public init(_ context: Context, options: String = "", bundle: Bundle? = nil, source: @escaping (String) -> String?) {
        self.context = context
        self.options = options
        self.bundle = bundle
        self.source = source
    }

    /// A new kernel object of a program that is built at most once.
    /// - Parameters:
    ///   - file: name of the kernel file, such as `copy.cl`.
    ///   - defines: compile-time choices, defined before the file's own defaults; of a name that comes twice the last counts. Tile
    ///     sizes only: layer sizes are arguments.
    ///   - options: compiler options of this kernel. None relaxes floating point unless a test proves it harmless here.
    public func kernel(
        _ file: String, _ function: String, defines: [(String, String)] = [], options: String = ""
    ) throws(DeviceError) -> Kernel {
        try Kernel(program(file, defines: defines, options: options), function)
    }

    /// The same for `CommandQueue.runNow`, from a program of its own. Only where the device has a calling thread.
    package func kernelOnCallingThread(
        _ file: String, _ function: String, defines: [(String, String)], options: String
    ) throws(DeviceError) -> Kernel {
        try Kernel(program(file, Dictionary(defines) { _, last in last }, options, onCallingThread: true), function)
    }

    /// The program of a file, built at the first request.
    public func program(
        _ file: String, defines: [(String, String)] = [], options: String = ""
    ) throws(DeviceError) -> Program {
        var (file, values) = (file, Dictionary(defines) { _, last in last })
        if let bundle, options.isEmpty, try holds(bundle, file, values) { (file, values) = (bundle.file, bundle.defines) }
        return try program(file, values, options, onCallingThread: false)
    }

    private func program(
        _ file: String, _ values: [String: String], _ options: String, onCallingThread: Bool
    ) throws(DeviceError) -> Program {
        let header = values.sorted { $0.key < $1.key }.map { "#define \($0.key) \($0.value)\n" }.joined()
        let all = ["-cl-std=CL1.2", self.options, options, settings.buildOptions]
        let options = all.filter { !$0.isEmpty }.joined(separator: " ")
        let key = Key(file: file, defines: header, options: options, onCallingThread: onCallingThread)
        if let program = programs[key] { return program }
        // Defines travel in the source, so that a saved source is complete and no value needs quoting.
        let program = try Program(
            context, name: file, source: header + text(of: file), options: options, onCallingThread: onCallingThread)
        programs[key] = program
        return program
    }

    private func holds(_ bundle: Bundle, _ file: String, _ values: [String: String]) throws(DeviceError) -> Bool {
        let files: Set<String>
        if let bundled { files = bundled } else { files = KernelText.files(in: try text(of: bundle.file)) }
        bundled = files
        return files.contains(file) && values.allSatisfy { bundle.defines[$0.key] == $0.value }
    }

    private func text(of file: String) throws(DeviceError) -> String {
        if let folder = settings.kernelDirectory {
            let root = URL(fileURLWithPath: folder)
            do {
                return try KernelText.expand(file) { try String(contentsOf: root.appendingPathComponent($0), encoding: .utf8) }
            } catch {
                throw DeviceError(.buildFailed, "kernel file '\(file)' from RLD_KERNEL_DIR=\(folder): \(error)")
            }
        }
        guard let text = source(file) else {
            throw DeviceError(.buildFailed, "there is no kernel file '\(file)'")
        }
        return text
    }
}
