import Foundation
import RLD
import TestSupport
import Testing

struct PlotCommandTests {
    @Test("a curve has the name of the images that it is of", arguments: [("validation", "test"), ("test", "validation")])
    func names(select: String, other: String) throws {
        let folder = TemporaryFolder()
        let out = folder.path + "/run"
        let page = folder.path + "/page.html"
        let trained = try Program.run([
            "train", "--model", "resnet8", "--data", try folder.images(), "--epochs", "2", "--batch-size", "16", "--validation",
            "8", "--set", "select=\(select)", "--device", "reference", "--quiet", "--out", out,
        ])
        #expect(trained.code == 0, "\(trained.error)")
        #expect(try Program.run(["plot", out, "--output", page]).code == 0)
        let html = try String(contentsOfFile: page, encoding: .utf8)
        #expect(html.contains("\(select) (cross-entropy)") && !html.contains("\(other) (cross-entropy)"))
        #expect(html.contains("Term ce in training, unweighted") && !html.contains("mean of"))
        // Another seed: mean and deviation over both.
        let second = folder.path + "/second"
        let again = try Program.run([
            "train", "--model", "resnet8", "--data", try folder.images(), "--epochs", "2", "--batch-size", "16", "--validation",
            "8", "--set", "select=\(select)", "--device", "reference", "--quiet", "--out", second, "--seed", "7",
        ])
        #expect(again.code == 0, "\(again.error)")
        #expect(try Program.run(["plot", out, second, "--output", page]).code == 0)
        let both = try String(contentsOfFile: page, encoding: .utf8)
        let tops = try [out, second].map { try #require(RunMetrics($0).tests.first { $0.weights == "best" }).accuracy }
        let (mean, half) = ((tops[0] + tops[1]) / 2, abs(tops[0] - tops[1]) / 2)
        let wanted = String(format: "%.2f ± %.2f %%", 100 * mean, 100 * half * 2.0.squareRoot())
        #expect(both.contains("mean of 2") && both.contains("2 seeds") && both.contains(wanted), "\(wanted)")
        // Steps that no run has: a file may hold any.
        let metrics = out + "/metrics.jsonl"
        let text = try String(contentsOfFile: metrics, encoding: .utf8)
        let many = text.replacing(/"steps":[0-9]+/, with: "\"steps\":\(Int.max)")
        #expect(many != text)
        try many.write(toFile: metrics, atomically: true, encoding: .utf8)
        let odd = try Program.run(["plot", out, "--output", page])
        #expect(odd.code == 0, "\(odd.error)")
    }
}
