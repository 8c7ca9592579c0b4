/// Turns kernel files into the text that is compiled: includes resolved, and written as Swift literals.
/// Used by the embedder at build time and by `RLD_KERNEL_DIR` at run time, so that both see the same program.
package enum KernelText {
    /// The text of a file with its includes in place, each included once.
    ///
    /// `#include "common/reduce.clh"` names a file from the root of the kernels folder, whatever file says it. An include inside
    /// `#if` is an error: the file would count as included where the condition fails. `#line` keeps the compiler's messages
    /// pointing at the files that people edit.
    /// - Parameter read: the text of a file by its path from the root.
    package static func expand(_ file: String, read: (String) throws -> String) throws -> String {
        var included: Set<String> = []
        return try expand(file, path: [], included: &included, read: read)
    }

    private static func expand(
        _ file: String, path: [String], included: inout Set<String>, read: (String) throws -> String
    ) throws -> String {
        let path = path + [file]
        included.insert(file)
        let text: String
        do {
            text = try read(file)
        } catch {
            throw KernelTextError("\(path.joined(separator: " -> ")): cannot read \(file)")
        }
        // CR LF is one Character: splitting on isNewline takes both line ends.
        var lines = text.split(omittingEmptySubsequences: false, whereSeparator: \.isNewline)
        if lines.last == "" { lines.removeLast() }

        var output = "#line 1 \"\(file)\"\n"
        var conditions = 0
        for (index, line) in lines.enumerated() {
            let directive = directive(of: line)
            if directive.hasPrefix("if") { conditions += 1 }
            if directive.hasPrefix("endif") { conditions -= 1 }
            guard directive.hasPrefix("include") else {
                output += line
                output += "\n"
                continue
            }
            let place = "\(file):\(index + 1)"
            let name = directive.dropFirst("include".count).drop { $0 == " " || $0 == "\t" }
            guard name.first == "\"", let end = name.dropFirst().firstIndex(of: "\"") else {
                throw KernelTextError("\(place): an include names a file of the kernels folder in quotation marks")
            }
            let target = String(name[name.index(after: name.startIndex)..<end])
            guard conditions == 0 else {
                throw KernelTextError("\(place): \"\(target)\" is included inside #if; include it at the top (once is enough)")
            }
            guard !path.contains(target) else {
                throw KernelTextError("\(place): includes go round in a circle: \((path + [target]).joined(separator: " -> "))")
            }
            guard !target.hasPrefix("/"), !target.split(separator: "/").contains("..") else {
                throw KernelTextError("\(place): \"\(target)\" is not a path from the root of the kernels folder")
            }
            if included.contains(target) {
                output += "// \"\(target)\" is above\n"
            } else {
                output += try expand(target, path: path, included: &included, read: read)
                output += "#line \(index + 2) \"\(file)\"\n"
            }
        }
        return output
    }

    /// The files that a text by `expand` is made of.
    package static func files(in text: String) -> Set<String> {
        let start = "#line 1 \""
        let names = text.split(separator: "\n").filter { $0.hasPrefix(start) }
        return Set(names.map { String($0.dropFirst(start.count).dropLast()) })
    }

    /// What follows the `#` of a preprocessor line; empty for other lines.
    private static func directive(of line: Substring) -> Substring {
        let text = line.drop { $0 == " " || $0 == "\t" }
        guard text.first == "#" else { return "" }
        return text.dropFirst().drop { $0 == " " || $0 == "\t" }
    }

    /// A Swift expression for a text: a raw literal with more marks than any run of them in the text, so that nothing in it
    /// ends the literal or starts an interpolation.
    package static func literal(_ text: String) -> String {
        var longest = 0
        var run = 0
        for byte in text.utf8 {
            run = byte == UInt8(ascii: "#") ? run + 1 : 0
            longest = max(longest, run)
        }
        let marks = String(repeating: "#", count: longest + 1)
        return "\(marks)\"\"\"\n\(text)\n\"\"\"\(marks)"
    }

    /// The Swift file that holds a table from name to text.
    package static func table(_ entries: [(name: String, text: String)]) -> String {
        var output = "// Written by KernelEmbedder from the files in kernels/.\n\nenum EmbeddedKernels {\n"
        output += "    static let table: [String: String] = ["
        if entries.isEmpty { output += ":" }
        for (name, text) in entries { output += "\n\"\(name)\": \(literal(text))," }
        return output + "\n    ]\n}\n"
    }
}
