import Foundation
import RLD
import TestSupport
import Testing

struct LogTests {
    private func run(_ path: String, epochs: Int = 2) throws -> TrainingResult {
        try Trainer(
            configuration: bandConfiguration(epochs: epochs), executor: FakeExecutor(), dataset: bandData(),
            folder: RunFolder(path)
        ).run()
    }

    /// The messages of an event file, their checksums checked by a slow, plain CRC-32C.
    private func events(_ path: String) throws -> [[UInt8]] {
        let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
        func word(_ at: Int, _ size: Int) -> UInt64 { (0..<size).reversed().reduce(0) { $0 << 8 | UInt64(bytes[at + $1]) } }
        func masked(_ part: ArraySlice<UInt8>) -> UInt64 {
            var crc: UInt32 = ~0
            for byte in part {
                for bit in 0..<8 {
                    let low = (crc ^ UInt32(byte >> bit)) & 1
                    crc = crc >> 1 ^ (low == 1 ? 0x82F6_3B78 : 0)
                }
            }
            crc = ~crc
            return UInt64((crc >> 15 | crc << 17) &+ 0xA282_EAD8)
        }
        var messages: [[UInt8]] = []
        var position = 0
        while position < bytes.count {
            let length = Int(word(position, 8))
            #expect(word(position + 8, 4) == masked(bytes[position..<position + 8]))
            let message = bytes[(position + 12)..<(position + 12 + length)]
            #expect(word(position + 12 + length, 4) == masked(message))
            messages.append(Array(message))
            position += length + 16
        }
        return messages
    }

    @Test("the event file is framed as TensorBoard reads it: version, configuration, numbers, accuracy by class")
    func eventFile() throws {
        let temporary = TemporaryFolder()
        _ = try run(temporary.path + "/run")
        let messages = try events(temporary.path + "/run/" + EventFile.name)
        // Version, configuration, 2 epochs of 3 readings and a summary, 2 tests, image and table.
        #expect(messages.count == 2 + 2 * 4 + 2 + 2)
        func text(_ index: Int) -> String { String(decoding: messages[index], as: UTF8.self) }
        #expect(text(0).contains("brain.Event:2") && text(1).contains("model: resnet8") && text(2).contains("step/loss"))
        #expect(text(messages.count - 2).contains("PNG") && text(messages.count - 1).contains("band 3"))
    }

    @Test("metrics.csv has a row for each line of metrics.jsonl, numbers in full precision")
    func table() throws {
        let temporary = TemporaryFolder()
        let result = try run(temporary.path + "/run")
        let rows = try String(contentsOfFile: temporary.path + "/run/metrics.csv", encoding: .utf8).split(separator: "\n")
            .map { $0.split(separator: ",", omittingEmptySubsequences: false).map(String.init) }
        let lines = try String(contentsOfFile: temporary.path + "/run/metrics.jsonl", encoding: .utf8).split(separator: "\n")
        #expect(rows.count == lines.count + 1)
        #expect(rows.allSatisfy { $0.count == rows[0].count } && rows[0].last == "term_ce")
        let loss = try #require(rows[0].firstIndex(of: "loss"))
        #expect(rows[4][loss] == "\(result.epochs[0].trainLoss)" && rows[4][0] == "epoch")
        let metrics = try RunMetrics(temporary.path + "/run")
        #expect(metrics.epochs.map(\.epoch) == [1, 2] && metrics.tests.map(\.weights) == ["last", "best"])
        #expect(metrics.tests[1].classes?.map(\.name) == bandData().classNames)
        #expect(metrics.tests[1].classes?.reduce(0) { $0 + $1.images } == 40)
        let weighted = metrics.tests[1].classes?.reduce(0) { $0 + $1.accuracy * Double($1.images) } ?? 0
        #expect(abs(weighted / 40 - metrics.tests[1].accuracy) < 1e-12)
    }

    @Test("a last line of metrics that was cut short is left out, one within them refused")
    func cutLine() throws {
        let temporary = TemporaryFolder()
        let path = temporary.path + "/run"
        _ = try run(path)
        let whole = try RunMetrics(path)
        let text = try String(contentsOfFile: path + "/metrics.jsonl", encoding: .utf8)
        try text.dropLast(20).description.write(toFile: path + "/metrics.jsonl", atomically: true, encoding: .utf8)
        let cut = try RunMetrics(path)
        #expect(cut.tests == whole.tests.dropLast() && cut.epochs == whole.epochs)
        try (text.dropLast(20) + "\n").description.write(toFile: path + "/metrics.jsonl", atomically: true, encoding: .utf8)
        #expect(inputErrorText { _ = try RunMetrics(path) }.contains("is no record of a run"))
        try text.replacingOccurrences(of: "\n", with: "\r\n").write(
            toFile: path + "/metrics.jsonl", atomically: true, encoding: .utf8)
        #expect(try RunMetrics(path) == whole)
    }

    @Test("curves of one colour differ in their strokes, and one far above the others has a logarithmic axis")
    func manyCurves() {
        func page(_ top: Double) -> String {
            let curves = (0..<16).map { Curve("run \($0)", [(x: 1, y: 1), (x: 2, y: $0 == 3 ? top : 2)], colour: $0) }
            return CurvePage.html(title: "t", table: [], figures: [Figure("loss", xLabel: "epoch", curves: curves)])
        }
        let strokes = page(2).matches(of: /<polyline[^>]*(stroke="[^"]*")[^>]*?( stroke-dasharray="[^"]*")?>/).map {
            "\($0.output.1)\($0.output.2 ?? "")"
        }
        #expect(strokes.count == 16 && Set(strokes).count == 16, "\(strokes)")
        let labels = page(2e6).matches(of: /text-anchor="end"[^>]*>([^<]*)</).map { String($0.output.1) }
        #expect(
            labels.first == "1" && labels.last == "1e+07" && page(2e6).contains(">2</text>") && !page(2e6).contains(">1.2</text>")
        )
    }

    @Test("diff names settings, environment and results that differ")
    func diff() throws {
        let temporary = TemporaryFolder()
        _ = try run(temporary.path + "/a")
        _ = try run(temporary.path + "/b", epochs: 3)
        let found = try RunComparison(temporary.path + "/a", temporary.path + "/b")
        #expect(found.configuration.map { [$0.key, $0.first, $0.second] } == [["epochs", "2", "3"]])
        #expect(found.environment.isEmpty, "\(found.environment)")
        #expect(found.results.first { $0.key == "epochs" }?.second == "3")
        #expect(inputErrorText { _ = try RunComparison(temporary.path + "/a", temporary.path) }.contains("holds no run"))
        // Numbers that no run writes: a file may hold any.
        let path = temporary.path + "/b/metrics.jsonl"
        let text = try String(contentsOfFile: path, encoding: .utf8)
            .replacing(/"images_per_second":[^,}]*/, with: "\"images_per_second\":1e300")
            .replacing(/"seconds":[^,}]*/, with: "\"seconds\":\"nan\"")
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        let odd = try RunComparison(temporary.path + "/a", temporary.path + "/b").results
        #expect(odd.first { $0.key == "images/s" }?.second?.count == 301)
        #expect(odd.first { $0.key == "seconds" }?.second == "nan")
    }

    @Test("diff tells students of two teachers apart, whose files have one name, and runs that began with other weights")
    func diffOfWeights() throws {
        let temporary = TemporaryFolder()
        let network = try bandData().network("resnet8")
        var configuration = bandConfiguration(epochs: 1)
        configuration.method = .knowledgeDistillation(KnowledgeDistillation())
        (configuration.teacherModel, configuration.teacherWeights) = ("resnet8", "teacher.safetensors")
        for (name, seed) in [("a", 3), ("b", 4), ("c", 4)] {
            configuration.seed = name == "c" ? 9 : 1
            _ = try Trainer(
                configuration: configuration, executor: FakeExecutor(), dataset: bandData(),
                teacher: .init(network: network, state: network.initialState(seed: UInt64(seed))),
                folder: RunFolder(temporary.path + "/" + name)
            ).run()
        }
        func keys(_ a: String, _ b: String) throws -> [String] {
            try RunComparison(temporary.path + "/" + a, temporary.path + "/" + b).environment.map(\.key)
        }
        #expect(try keys("a", "b") == ["teacher_hashes"])
        #expect(try keys("b", "c") == ["initial_hash"])
        let metadata = try TensorFile(weights: temporary.path + "/a/last.safetensors").metadata
        #expect(metadata["teacher_hash"]?.isEmpty == false)
    }

    @Test("ticks are round numbers that cover the range; a page is one file without anything from a network")
    func page() {
        #expect(CurvePage.ticks(0, 1) == [0, 0.2, 0.4, 0.6000000000000001, 0.8, 1])
        #expect(CurvePage.ticks(61.3, 64.9).first == 61 && CurvePage.ticks(61.3, 64.9).last == 65)
        #expect(CurvePage.ticks(5, 5).count >= 2)
        #expect(CurvePage.ticks(1, 2, wholes: true) == [1, 2] && CurvePage.ticks(1, 30, wholes: true).first == 0)
        let html = CurvePage.html(
            title: "a < b", table: [["run"], ["x & y"]],
            figures: [
                Figure(
                    "Loss", xLabel: "epoch",
                    curves: [Curve("one", [(1, 2), (2, 1.5), (3, .nan)], colour: 0), Curve("two", [(1, 1)], colour: 1)]),
                Figure("Nothing", xLabel: "epoch", curves: []),
            ])
        #expect(html.contains("a &lt; b") && html.contains("x &amp; y") && html.contains("<polyline") && html.contains("<circle"))
        #expect(!html.contains("http") && !html.contains(",nan") && !html.contains(">nan") && html.contains("no data"))
    }
}
