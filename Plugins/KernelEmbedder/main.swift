// KernelEmbedder OUTPUT ROOT FILE...: writes the .cl files among FILE (paths under ROOT) as a Swift table, includes resolved.
import Foundation
import KernelText

let arguments = CommandLine.arguments
guard arguments.count >= 3 else {
    FileHandle.standardError.write(Data("usage: KernelEmbedder OUTPUT ROOT FILE...\n".utf8))
    exit(2)
}
let output = URL(fileURLWithPath: arguments[1])
let root = URL(fileURLWithPath: arguments[2])

do {
    let names = try arguments.dropFirst(3).map { path in
        guard path.hasPrefix(root.path + "/") else { throw KernelTextError("\(path): not inside \(root.path)") }
        return String(path.dropFirst(root.path.count + 1))
    }
    let entries = try names.filter { $0.hasSuffix(".cl") }.sorted().map { name in
        let text = try KernelText.expand(name) { try String(contentsOf: root.appendingPathComponent($0), encoding: .utf8) }
        return (name: name, text: text)
    }
    try KernelText.table(entries).write(to: output, atomically: true, encoding: .utf8)
} catch {
    FileHandle.standardError.write(Data("error: kernels: \(error)\n".utf8))
    exit(1)
}
