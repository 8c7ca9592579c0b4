import Foundation
import KernelSources
import KernelText
import Testing

/// The kernels folder of this checkout.
let kernelsFolder = URL(fileURLWithPath: #filePath)
    .deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("kernels")

@Suite struct KernelTextTests {
    private func expand(_ file: String, _ files: [String: String]) throws -> String {
        try KernelText.expand(file) { name in
            guard let text = files[name] else { throw KernelTextError("no \(name)") }
            return text
        }
    }

    @Test func embeddedTableEqualsTheFolder() throws {
        let found = FileManager.default.enumerator(atPath: kernelsFolder.path)?.compactMap { $0 as? String } ?? []
        let files = found.filter { $0.hasSuffix(".cl") }.sorted()
        #expect(!files.isEmpty)
        #expect(KernelSources.names == files)
        for file in files {
            let text = try KernelText.expand(file) {
                try String(contentsOf: kernelsFolder.appendingPathComponent($0), encoding: .utf8)
            }
            #expect(KernelSources.source(file) == text, "\(file): build again")
        }
        #expect(KernelSources.source("common/reduce.clh") == nil)
    }

    @Test func includesAreResolvedOnceFromTheRoot() throws {
        let files = [
            "a.cl": "#include \"common/b.clh\"\n  #  include \"common/c.clh\"  // again\nint a;\n",
            "common/b.clh": "#include \"common/c.clh\"\nint b;",
            "common/c.clh": "int c;\r\n",
        ]
        let expected = """
            #line 1 "a.cl"
            #line 1 "common/b.clh"
            #line 1 "common/c.clh"
            int c;
            #line 2 "common/b.clh"
            int b;
            #line 2 "a.cl"
            // "common/c.clh" is above
            int a;

            """
        #expect(try expand("a.cl", files) == expected)
        #expect(KernelText.files(in: expected) == Set(files.keys))
    }

    @Test(arguments: [
        ("#include \"a.cl\"", "a.cl:1: includes go round in a circle: a.cl -> a.cl"),
        ("int x;\n#include \"b.clh\"", "b.clh:1: includes go round in a circle: a.cl -> b.clh -> a.cl"),
        ("#include \"none.clh\"", "a.cl -> none.clh: cannot read none.clh"),
        ("#include <math.h>", "a.cl:1: an include names a file of the kernels folder in quotation marks"),
        ("#include \"../x.clh\"", "a.cl:1: \"../x.clh\" is not a path from the root of the kernels folder"),
        (
            "#ifdef X\n#include \"c.clh\"\n#endif",
            "a.cl:2: \"c.clh\" is included inside #if; include it at the top (once is enough)"
        ),
    ])
    func wrongIncludes(text: String, message: String) {
        let files = ["a.cl": text, "b.clh": "#include \"a.cl\"", "c.clh": ""]
        #expect(throws: KernelTextError(message)) { try expand("a.cl", files) }
    }

    @Test func literalsHaveMoreMarksThanTheText() {
        #expect(KernelText.literal("a") == "#\"\"\"\na\n\"\"\"#")
        #expect(KernelText.literal("a ## b \"\"\"## \\###(x)").hasPrefix("####\"\"\"\n"))
    }

    @Test func tables() {
        #expect(KernelText.table([]).contains("[String: String] = [:"))
        #expect(KernelText.table([("a.cl", "x\n"), ("b.cl", "y\n")]).contains("\"b.cl\": #\"\"\"\ny\n\n\"\"\"#,"))
    }
}
