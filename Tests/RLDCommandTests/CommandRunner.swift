import Foundation
import TestSupport

/// The built program, which lies beside the test bundle.
enum Program {
    struct Result {
        var code: Int32
        var output: String
        var error: String

        /// Lines of the error output without warnings.
        var errorLines: [Substring] { error.split(separator: "\n").filter { !$0.hasPrefix("warning:") } }
    }

    /// The tests alone were built.
    struct Missing: Error, CustomStringConvertible {
        let description: String
    }

    static var path: String {
        // The test executable is .build/<triple>/release/<package>PackageTests.xctest; some runners start a helper from
        // elsewhere, so the loaded bundle's path in the arguments counts first.
        let candidates =
            CommandLine.arguments + [(try? FileManager.default.destinationOfSymbolicLink(atPath: "/proc/self/exe")) ?? ""]
        for candidate in candidates where candidate.contains(".xctest") {
            let folder = URL(fileURLWithPath: candidate).deletingLastPathComponent()
            let program = folder.appending(path: "rld").path
            if FileManager.default.isExecutableFile(atPath: program) { return program }
        }
        let root = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
            .deletingLastPathComponent()
        return root.appending(path: ".build/release/rld").path
    }

    /// Runs the program to its end.
    /// - Parameters:
    ///   - program: the program; by default the one beside the tests.
    ///   - environment: added to this process's.
    ///   - afterStart: called with the running process.
    static func run(
        _ arguments: [String], program: String = path, environment: [String: String] = [:],
        afterStart: (Process) -> Void = { _ in }
    ) throws -> Result {
        guard FileManager.default.isExecutableFile(atPath: program) else {
            throw Missing(description: "\(program) is not there: swift build -c release --product rld")
        }
        let process = Process()
        process.executableURL = URL(fileURLWithPath: program)
        process.arguments = arguments
        process.environment = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        // Files, not pipes: a pipe that nobody empties stops the program.
        let folder = TemporaryFolder()
        let names = ["output", "error"].map { folder.path + "/" + $0 }
        for name in names { _ = FileManager.default.createFile(atPath: name, contents: nil) }
        let handles = try names.map { try FileHandle(forWritingTo: URL(fileURLWithPath: $0)) }
        process.standardOutput = handles[0]
        process.standardError = handles[1]
        process.standardInput = FileHandle.nullDevice
        try process.run()
        afterStart(process)
        process.waitUntilExit()
        let texts = try withExtendedLifetime(folder) { try names.map { try String(contentsOfFile: $0, encoding: .utf8) } }
        return Result(code: process.terminationStatus, output: texts[0], error: texts[1])
    }
}

extension TemporaryFolder {
    /// Writes tiny images in MNIST's layout; class k is bright in row k.
    /// - Returns: what `--data` takes.
    func images(train: Int = 40, test: Int = 10, extent: Int = 5) throws -> String {
        let folder = path + "/images"
        try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        for (part, count) in [("train", train), ("t10k", test)] {
            let labels = (0..<count).map { UInt8($0 % 4) }
            let pixels = labels.flatMap { label in (0..<(extent * extent)).map { UInt8($0 / extent == Int(label) ? 200 : $0) } }
            try Data(header(0x803, [count, extent, extent]) + pixels).write(
                to: URL(fileURLWithPath: "\(folder)/\(part)-images-idx3-ubyte"))
            try Data(header(0x801, [count]) + labels).write(to: URL(fileURLWithPath: "\(folder)/\(part)-labels-idx1-ubyte"))
        }
        return "mnist:\(folder)"
    }

    private func header(_ magic: UInt32, _ extents: [Int]) -> [UInt8] {
        ([magic] + extents.map(UInt32.init)).flatMap { withUnsafeBytes(of: $0.bigEndian, Array.init) }
    }
}
