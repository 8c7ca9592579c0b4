import Foundation
import RLD
import TestSupport
import Testing

/// Stored weights are judged on the images as the model was trained to see them, whatever data they come with.
struct EvaluateTests {
    private let folder = TemporaryFolder()

    /// Images of four classes in one file, class k bright in its own rows; the test images are always the same.
    /// - Parameter brighter: added to the training images.
    private func arrays(_ name: String, brighter: Int = 0) throws -> String {
        let path = "\(folder.path)/\(name).npz"
        func part(_ name: String, _ count: Int, _ offset: Int) throws -> [StoredTensor] {
            let labels = (0..<count).map { Double($0 % 4) }
            let pixels = (0..<count).flatMap { image in
                (0..<64).map { Double(($0 / 16 == image % 4 ? 100 : 0) + (image * 7 + $0 * 5) % 60 + offset) }
            }
            return [
                try StoredTensor("x_\(name)", Tensor(shape: [count, 8, 8], values: pixels), as: .uint8, source: path),
                try StoredTensor("y_\(name)", Tensor(shape: [count], values: labels), as: .int64, source: path),
            ]
        }
        try TensorFile.write(part("train", 40, brighter) + part("test", 12, 0), to: path)
        return path
    }

    /// Pictures of one colour per class, in folders of its name, and the same as a labels.csv.
    private func pictures(_ name: String, classes: [String]) throws -> (folder: String, labels: String) {
        let root = "\(folder.path)/\(name)"
        var lines = ["file,label,part"]
        for (part, count) in [("train", 3), ("test", 1)] {
            for (index, label) in classes.enumerated() {
                let place = "\(part)/\(label)"
                try FileManager.default.createDirectory(atPath: "\(root)/\(place)", withIntermediateDirectories: true)
                for picture in 0..<count {
                    let pixels = (0..<16 * 16 * 3).map { UInt8(($0 % 3 == 0 ? index * 20 : 3 * index) + picture) }
                    try Data(PNGImage.encode(pixels, width: 16, height: 16)).write(
                        to: URL(fileURLWithPath: "\(root)/\(place)/\(picture).png"))
                    lines.append("\(place)/\(picture).png,\(label),\(part)")
                }
            }
        }
        try lines.joined(separator: "\n").write(toFile: root + "/labels.csv", atomically: true, encoding: .utf8)
        return ("folder:" + root, root + "/labels.csv")
    }

    /// - Returns: the weights.
    private func train(_ data: String, _ more: [String] = []) throws -> String {
        let out = "\(folder.path)/\(UUID().uuidString)"
        let result = try Program.run(
            [
                "train", "--model", "resnet8", "--data", data, "--epochs", "1", "--batch-size", "16", "--validation", "8",
                "--device", "reference", "--quiet", "--out", out,
            ] + more)
        try #require(result.code == 0, "\(result.error)")
        return out + "/last.safetensors"
    }

    private func evaluate(_ weights: String, _ data: String, _ more: [String] = []) throws -> (
        code: Int32, loss: Double?, error: String
    ) {
        let result = try Program.run(
            ["evaluate", "--model", "resnet8", "--weights", weights, "--data", data, "--device", "reference", "--json"] + more)
        let report = try? JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        return (result.code, report?["loss"] as? Double, result.error)
    }

    @Test("images are normalised as the model's were, also where the data's own mean is another, and that is said")
    func normalisation() throws {
        let weights = try train(try arrays("plain"))
        let own = try evaluate(weights, try arrays("plain"))
        #expect(own.loss != nil && !own.error.contains("warning:"), "\(own)")
        let other = try evaluate(weights, try arrays("bright", brighter: 60))
        #expect(other.loss == own.loss)
        #expect(other.error.contains("warning: images are normalised as \(weights) says"), "\(other.error)")
    }

    @Test("images are seen at the size that the model was trained at, unless an option says otherwise")
    func size() throws {
        let data = try arrays("plain")
        let weights = try train(data, ["--image-size", "16"])
        let asTrained = try evaluate(weights, data, ["--image-size", "16"])
        let found = try evaluate(weights, data)
        #expect(found.loss != nil && found.loss == asTrained.loss && !found.error.contains("warning:"), "\(found)")
        let other = try evaluate(weights, data, ["--image-size", "8"])
        #expect(other.loss != nil && other.loss != found.loss)
        #expect(other.error.contains("was trained on images of 1x16x16 and sees 1x8x8"), "\(other.error)")
    }

    @Test("logits of two networks, stored by evaluate, go into a loss, whose audit counts what became of the teacher's errors")
    func logits() throws {
        let data = try arrays("plain")
        let paths = try ["1", "2"].map { seed in
            let path = "\(folder.path)/\(seed).safetensors"
            let found = try evaluate(try train(data, ["--seed", seed]), data, ["--logits", path])
            #expect(found.code == 0, "\(found.error)")
            return path
        }
        let (student, teacher) = (try TensorFile(path: paths[0]), try TensorFile(path: paths[1]))
        let labels = try student.int64s("labels")
        func tops(_ file: TensorFile) throws -> [Int] {
            let tensor = try file.tensor("logits")
            #expect(tensor.shape == [12, 4])
            return (0..<12).map { row in
                let own = Array(tensor.values[row * 4..<row * 4 + 4])
                return own.indices.max { own[$0] < own[$1] } ?? -1
            }
        }
        let (s, t) = (try tops(student), try tops(teacher))
        let wrong = (0..<12).filter { t[$0] != Int(labels[$0]) }
        let arguments = [
            "loss", paths[0], "--teacher", paths[1], "--method", "rld", "--audit", folder.path + "/rows.csv", "--device",
            "reference",
        ]
        let result = try Program.run(arguments + ["--json"])
        let report = try #require(JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any])
        let summary = try #require(report["audit_summary"] as? [String: Any])
        #expect(summary["rows"] as? Int == 12 && summary["teacher_wrong"] as? Int == wrong.count)
        let right = Set((0..<12).filter { s[$0] == Int(labels[$0]) })
        let (corrected, copied) = (wrong.filter(right.contains).count, wrong.filter { s[$0] == t[$0] }.count)
        let ownErrors = (0..<12).filter { !wrong.contains($0) && !right.contains($0) }.count
        #expect(summary["corrected"] as? Int == corrected)
        #expect(summary["copied"] as? Int == copied)
        #expect(summary["own_errors"] as? Int == ownErrors)
        #expect(try Program.run(arguments).output.contains("the teacher is wrong on \(wrong.count) of 12"))
        // Logits of other images.
        let other = "\(folder.path)/other.safetensors"
        let values = try student.tensor("logits")
        try TensorFile.write(
            [
                StoredTensor("logits", values, as: .float32, source: other),
                StoredTensor(
                    "labels", Tensor(shape: [12], values: labels.map { Double(($0 + 1) % 4) }), as: .int64, source: other),
            ], to: other)
        let refused = try Program.run(["loss", other, "--teacher", paths[1], "--method", "kd", "--device", "reference"])
        #expect(refused.code == 2 && refused.error.contains("not of the same images"), "\(refused.error)")
        let replaced = try Program.run(
            ["loss", other, "--teacher", paths[1], "--method", "kd", "--gradient", paths[1], "--device", "reference"])
        #expect(replaced.code == 2)
    }

    @Test("classes are found by their names, in whatever order the data has them, and other names are refused")
    func classes() throws {
        // By letters, as folders go, 10 comes before 2; labels.csv sorts by value.
        let numbers = (0...10).map(String.init)
        let data = try pictures("numbers", classes: numbers)
        let weights = try train(data.folder)
        let own = try evaluate(weights, data.folder)
        let listed = try evaluate(weights, data.labels)
        #expect(abs((own.loss ?? .nan) - (listed.loss ?? .nan)) < 1e-12, "\(own) \(listed)")

        let renamed = try pictures("renamed", classes: numbers.dropLast() + ["ten"])
        let refused = try evaluate(weights, renamed.folder)
        #expect(refused.code == 2 && refused.loss == nil)
        #expect(refused.error.contains("was trained on class 10, which the data has not; the data has ten"), "\(refused.error)")
        // Weights that keep no names are taken by the order of the classes.
        let nameless = folder.path + "/nameless.npz"
        #expect(try Program.run(["convert", weights, nameless]).code == 0)
        #expect(try evaluate(nameless, renamed.folder).code == 0)
    }

    @Test("mean and deviation may be given, to a training and to weights that do not know theirs; networks need no name")
    func givenNormalisation() throws {
        let data = try arrays("plain")
        let given = ["normalization.mean=0.2", "normalization.deviation=0.3"].flatMap { ["--set", $0] }
        let weights = try train(data, given)
        let own = try evaluate(weights, data)
        #expect(own.loss != nil && own.error.contains("images are normalised as"), "\(own)")
        let nameless = folder.path + "/nameless.npz"
        #expect(try Program.run(["convert", weights, nameless]).code == 0)
        #expect(try evaluate(nameless, data, ["--mean", "0.2", "--deviation", "0.3"]).loss == own.loss)
        #expect(try evaluate(nameless, data).loss != own.loss)
        #expect(try evaluate(weights, data, ["--mean", "0.2,0.3,0.4"]).error.contains("must be a number for each of 1 channels"))
        #expect(try evaluate(weights, data, ["--deviation", "0"]).error.contains("must be above 0"))

        let unnamed = try Program.run(
            ["evaluate", "--weights", weights, "--data", data, "--device", "reference", "--json", "--limit", "8"])
        let report = try JSONSerialization.jsonObject(with: Data(unnamed.output.utf8)) as? [String: Any]
        #expect(report?["model"] as? String == "resnet8" && report?["images"] as? Int == 8, "\(unnamed.error)")
        let distill = [
            "distill", "--student", "resnet8", "--method", "kd", "--data", data, "--epochs", "1", "--batch-size", "16",
            "--device",
            "reference", "--dry-run",
        ]
        let plan = try Program.run(distill + given + ["--teacher", weights])
        #expect(plan.code == 0 && plan.output.contains("mean 0.2, deviation 0.3"), "\(plan.output) \(plan.error)")
        #expect(plan.output.contains("resnet8, weights"), "\(plan.output)")
        let without = try Program.run(distill + ["--teacher", nameless])
        #expect(without.code == 2 && without.error.contains("teacher.model: is missing"), "\(without.error)")
    }

    @Test("a part of a test set is of all its classes")
    func limit() throws {
        let data = try pictures("many", classes: (0..<8).map { "c\($0)" })
        let weights = try train(data.folder)
        let result = try Program.run(
            [
                "evaluate", "--weights", weights, "--data", data.folder, "--device", "reference", "--json", "--part", "train",
                "--limit", "12",
            ])
        let report = try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any]
        let classes = report?["classes"] as? [[String: Any]] ?? []
        #expect(classes.count { ($0["images"] as? Int ?? 0) > 0 } > 4, "\(classes)")
    }

    @Test("a folder without a run is not gone on with, unless the data says what to begin")
    func nothingToResume() throws {
        let out = folder.path + "/nowhere"
        let result = try Program.run(["train", "--resume", "--out", out, "--device", "reference"])
        #expect(result.code == 2 && result.error.contains("holds no run to go on with"), "\(result.error)")
        #expect(!FileManager.default.fileExists(atPath: out))
    }
}
