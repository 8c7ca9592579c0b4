import Foundation
import Testing

struct PlotCommandTests {
    @Test("a curve has the name of the images that it is of", arguments: [("validation", "test"), ("test", "validation")])
    func names(select: String, other: String) throws {
        let folder = Folder()
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
    }
}
