import Foundation
import RLD
import TestSupport
import Testing

/// Checkpoints whose checksum is right and whose contents are none of a run's, and folders that hold more than a run.
struct ForgedCheckpointTests {
    private static let recipe = bandConfiguration(epochs: 3)

    /// A run that was left in its third epoch.
    /// - Returns: its folder and its newest checkpoint, the only one.
    private func leftRun(_ temporary: TemporaryFolder) throws -> (path: String, checkpoint: String) {
        let path = temporary.path + "/run"
        _ = try trainBands(path, Self.recipe, stopAt: 16)
        let folder = path + "/checkpoints/"
        let names = try FileManager.default.contentsOfDirectory(atPath: folder).sorted()
        for name in names.dropLast() { try FileManager.default.removeItem(atPath: folder + name) }
        return (path, folder + (try #require(names.last)))
    }

    /// Changes a checkpoint's record and tensors, and makes its checksum right.
    private func forge(
        _ path: String, _ change: (inout [String: Any]) -> Void, tensors: (inout [SafetensorsItem]) -> Void = { _ in }
    ) throws {
        let file = try SafetensorsFile(path: path)
        let stored = try #require(file.metadata["record"])
        var record = try #require(try JSONSerialization.jsonObject(with: Data(stored.utf8)) as? [String: Any])
        change(&record)
        let text = String(
            decoding: try JSONSerialization.data(withJSONObject: record, options: .sortedKeys), as: UTF8.self)
        var items = try file.entries.map { SafetensorsItem($0.name, try file.tensor($0.name), as: $0.type) }
        tensors(&items)
        var sum = Checksum()
        sum.add(text)
        for item in items {
            sum.add(item.name)
            for extent in item.tensor.shape { sum.add(UInt64(extent)) }
            for value in item.tensor.values { sum.add(value.bitPattern) }
        }
        try SafetensorsFile.write(
            items, metadata: ["format": "rld-checkpoint", "record": text, "checksum": sum.text], to: path)
    }

    private func sums(rows: Int = 3, terms: [String] = ["1"], top1: Int = 1, total: String = "1") -> [String: Any] {
        ["rows": rows, "terms": terms, "total": total, "top1": top1, "top5": 1]
    }

    @Test("numbers that no run writes, and names that lead out of the run, make a checkpoint one that is not whole")
    func impossibleRecords() throws {
        let cases: [(key: String, values: [Any], words: String)] = [
            ("epoch", [Int.min, -1, 0, Int.max], "no run writes: epoch"),
            ("stepsPerEpoch", [Int.min, -1, 0, Int.max], "steps per epoch"),
            ("step", [Int.min, -1, 1_000_000, Int.max], "no run writes: step"),
            ("firstUnread", [Int.min, 0, Int.max], "that is not logged"),
            ("bestEpoch", [-1, Int.max], "best epoch"), ("bestScore", ["nan", "-inf"], "best score"),
            ("bestFile", ["../../victim.txt", "victim.txt", "/etc/passwd"], "in a file of another name"),
            ("seconds", [-1], "seconds"),
            ("epochSums", [sums(rows: .max), sums(rows: -1), sums(top1: .max), sums(total: "inf")], "epoch sums"),
            ("pendingSums", [sums(rows: .max), sums(top1: 4), sums(terms: ["nan"])], "no run writes:"),
            (
                "fileLengths",
                [["../../victim.txt": 5], ["victim.txt": 5], ["metrics.jsonl": -1]], "no run writes:"
            ),
        ]
        let temporary = TemporaryFolder()
        let (path, checkpoint) = try leftRun(temporary)
        let victim = temporary.path + "/victim.txt"
        try Data("precious".utf8).write(to: URL(fileURLWithPath: victim))
        let good = try Data(contentsOf: URL(fileURLWithPath: checkpoint))
        for (key, values, words) in cases {
            for value in values {
                try good.write(to: URL(fileURLWithPath: checkpoint))
                try forge(checkpoint, { $0[key] = value })
                let text = inputErrorText { _ = try trainBands(path, Self.recipe, resume: true) }
                #expect(text.contains("no checkpoint that is whole") && text.contains(checkpoint), "\(key) \(value): \(text)")
                #expect(text.contains(words) || key == "epochSums" && text.contains("images right"), "\(key) \(value): \(text)")
            }
        }
        #expect(try temporary.text("victim.txt") == "precious")
        // The forger changes nothing else.
        try good.write(to: URL(fileURLWithPath: checkpoint))
        try forge(checkpoint, { _ in })
        #expect(try !trainBands(path, Self.recipe, resume: true).interrupted)
    }

    @Test("what fits neither loss nor network is said of the checkpoint, not of a state or a key")
    func otherContents() throws {
        let temporary = TemporaryFolder()
        let (path, checkpoint) = try leftRun(temporary)
        let good = try Data(contentsOf: URL(fileURLWithPath: checkpoint))
        func refused(
            _ words: String, _ change: (inout [String: Any]) -> Void = { _ in },
            tensors: (inout [SafetensorsItem]) -> Void = { _ in }
        ) throws {
            try good.write(to: URL(fileURLWithPath: checkpoint))
            try forge(checkpoint, change, tensors: tensors)
            let text = inputErrorText { _ = try trainBands(path, Self.recipe, resume: true) }
            #expect(text.hasPrefix(checkpoint) && text.contains(words), "\(text)")
        }
        try refused("has sums of 4 terms, the loss of its run has 1", { $0["pendingSums"] = sums(terms: ["1", "2", "3", "4"]) })
        try refused("missing conv1.weight", tensors: { $0.removeAll { $0.name == "weights/conv1.weight" } })
        try refused(
            "momentum: unexpected zzz", tensors: { $0.append(SafetensorsItem("momentum/zzz", Tensor(shape: [1], values: [1]))) })
        try refused("configuration", { $0["configuration"] = "epochs: 0\n" })
        try good.write(to: URL(fileURLWithPath: checkpoint))
        try forge(checkpoint, { $0["dataHash"] = String(repeating: "x", count: 1_000_000) })
        let text = inputErrorText { _ = try trainBands(path, Self.recipe, resume: true) }
        #expect(text.contains("has changed since the run began") && text.count < 1000, "\(text.count) letters")
    }

    @Test("what other programs left is kept: temporary files are removed of a run's own files only")
    func temporaries() throws {
        let temporary = TemporaryFolder()
        let own = [".config.yaml.12.a1b2.tmp", ".metrics.csv.7.zz9.tmp", "checkpoints/.epoch-0002.safetensors.12.k3.tmp"]
        let others = [".important.tmp", ".config.yaml.tmp", ".notes.txt.12.a1b2.tmp", "checkpoints/.mine.tmp"]
        func fill(_ path: String) throws {
            try FileManager.default.createDirectory(atPath: path + "/checkpoints", withIntermediateDirectories: true)
            for name in own + others { try Data("x".utf8).write(to: URL(fileURLWithPath: "\(path)/\(name)")) }
        }
        func left(_ path: String) -> [String] {
            (own + others).filter { FileManager.default.fileExists(atPath: "\(path)/\($0)") }
        }
        // No run: nothing is touched.
        try fill(temporary.path + "/home")
        #expect(try RunFolder(temporary.path + "/home", existing: .resume).resumption() == nil)
        #expect(left(temporary.path + "/home") == own + others)
        let (path, _) = try leftRun(temporary)
        try fill(path)
        _ = try trainBands(path, Self.recipe, resume: true)
        #expect(left(path) == others)
    }

    @Test("a table whose lines end as a spreadsheet writes them loses no row when the run goes on")
    func carriageReturns() throws {
        let temporary = TemporaryFolder()
        let (path, _) = try leftRun(temporary)
        let table = path + "/metrics.csv"
        let before = try temporary.text("run/metrics.csv")
        try before.replacingOccurrences(of: "\n", with: "\r\n").write(toFile: table, atomically: true, encoding: .utf8)
        _ = try trainBands(path, Self.recipe, resume: true)
        func rows(_ text: String) -> [Substring] { text.split(whereSeparator: \.isNewline) }
        let after = try rows(temporary.text("run/metrics.csv"))
        #expect(after.starts(with: rows(before)) && after.count > rows(before).count)
        #expect(try after.count == 1 + rows(temporary.text("run/metrics.jsonl")).count)
    }

    @Test(
        "a pipe where a run has a file is refused, not waited for", .timeLimit(.minutes(1)), arguments: RunFolder.fileNames)
    func pipes(name: String) throws {
        let temporary = TemporaryFolder()
        let (path, _) = try leftRun(temporary)
        try? FileManager.default.removeItem(atPath: "\(path)/\(name)")
        #expect(mkfifo("\(path)/\(name)", 0o600) == 0)
        let text = inputErrorText { _ = try trainBands(path, Self.recipe, resume: true) }
        #expect(text.contains("\(name): is a pipe or socket, expected a file"), "\(text)")
    }
}
