import Foundation
import RLD
import TestSupport
import Testing

struct CommandTests {
    private func json(_ text: String) throws -> [String: Any] {
        try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any] ?? [:]
    }

    @Test("every subcommand has a help with an example")
    func help() throws {
        for name in [
            "devices", "doctor", "models", "train", "distill", "evaluate", "predict", "loss", "convert", "export", "demo", "data",
            "diff", "plot", "tune",
        ] {
            let result = try Program.run([name, "--help"])
            #expect(result.code == 0)
            #expect(result.output.contains("Example: rld \(name)"), "\(name)")
        }
        #expect(try Program.run([]).output.contains("SUBCOMMANDS"))
    }

    @Test("the version names commit, Swift, CLBlast and OpenCL")
    func version() throws {
        let result = try Program.run(["--version"])
        #expect(result.code == 0)
        for word in ["commit", "Swift", "CLBlast", "OpenCL"] { #expect(result.output.contains(word)) }
    }

    @Test("every option of every method can be given to loss and distill")
    func methodOptions() throws {
        for command in ["loss", "distill"] {
            let help = try Program.run([command, "--help"]).output
            for option in MethodOption.allCases { #expect(help.contains("--\(option.name)"), "\(command) \(option.name)") }
        }
    }

    @Test("models as JSON: id, parameters, macs and tensors in state-dict order")
    func models() throws {
        let result = try json(try Program.run(["models", "resnet8", "--classes", "10", "--json"]).output)
        #expect(result["id"] as? String == "resnet8")
        #expect(result["parameters"] as? Int == 78042)
        #expect(result["macs"] is Int)
        let tensors = result["tensors"] as? [[String: Any]] ?? []
        #expect(tensors.first?["name"] as? String == "conv1.weight")
        #expect(tensors.first?["shape"] as? [Int] == [16, 3, 3, 3])
        #expect(tensors.first?["kind"] as? String == "param")
        #expect(tensors.last?["name"] as? String == "fc.bias")
        #expect(Set(tensors.compactMap { $0["kind"] as? String }) == ["param", "buffer"])
        let all = try Program.run(["models"]).output
        for entry in ModelCatalog.entries.prefix(32) {
            let network = try ModelCatalog.network(entry.id, classes: entry.classes, input: entry.input)
            let row = all.split(separator: "\n").first { $0.hasPrefix("\(entry.id) ") }.map { $0.split(separator: " ") } ?? []
            #expect(row.dropFirst().prefix(2) == ["\(network.parameterCount)", "\(network.multiplyAdds)"], "\(entry.id)")
        }
        #expect(try Program.run(["models", "wrn_22_3"]).output.contains("features: feats/0"))
    }

    @Test("train, distill, evaluate and predict work together on the reference")
    func tour() throws {
        let folder = TemporaryFolder()
        let data = try folder.images()
        let recipe = [
            "--data", data, "--epochs", "2", "--batch-size", "16", "--validation", "8", "--device", "reference", "--log-every",
            "1",
        ]
        let teacher = folder.path + "/teacher"
        let trained = try Program.run(["train", "--model", "resnet8", "--out", teacher] + recipe)
        #expect(trained.code == 0, "\(trained.error)")
        #expect(trained.error.contains("learning rate 0.05") && trained.error.contains("device     reference"))
        #expect(trained.output.contains("test: last weights (epoch 2)") && trained.output.contains("test: best weights"))
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: teacher).sorted()
                == (RunFolder.fileNames + ["checkpoints"]).sorted())

        let student = folder.path + "/student"
        let weights = teacher + "/best.safetensors"
        let distilled = try Program.run(
            [
                "distill", "--teacher", weights, "--teacher-model", "resnet8", "--student", "resnet8", "--out", student,
                "--alpha", "2",
                "--kd-weight", "1", "--json",
            ] + recipe)
        #expect(distilled.code == 0, "\(distilled.error)")
        #expect(distilled.error.contains("warning: --kd-weight does nothing: method 'rld' has no kd-weight"))
        #expect(distilled.error.contains("rld: ce-weight 1, alpha 2, beta 8, temperature 4"))
        let summary = try json(distilled.output)
        #expect((summary["best"] as? [String: Any])?["weights"] as? String == "best")

        let evaluated = try Program.run(
            [
                "evaluate", "--model", "resnet8", "--weights", student + "/last.safetensors", "--data", data, "--device",
                "reference", "--json",
            ])
        let report = try json(evaluated.output)
        #expect(report["images"] as? Int == 10)
        let last = (summary["last"] as? [String: Any])?["accuracy"] as? Double
        #expect(report["top1"] as? Double == last)

        let images = folder.path + "/x.safetensors"
        let output = folder.path + "/y.safetensors"
        try SafetensorsFile.write([SafetensorsItem("images", Tensor(shape: [3, 1, 5, 5], repeating: 0.5))], to: images)
        let predicted = try Program.run(
            [
                "predict", "--model", "resnet8", "--classes", "10", "--weights", student + "/last.safetensors", "--images",
                images,
                "--output", output, "--device", "reference", "--batch-size", "2", "--features", "pooled_feat", "preact_feats/2",
            ])
        #expect(predicted.code == 0, "\(predicted.error)")
        let logits = try SafetensorsFile(path: output).tensor("logits")
        #expect(logits.shape == [3, 10])
        #expect(Array(logits.values[0..<10]) == Array(logits.values[20..<30]))
        #expect(try SafetensorsFile(path: output).tensor("pooled_feat").shape == [3, 64])
        #expect(try SafetensorsFile(path: output).tensor("preact_feats/2").shape == [3, 32, 3, 3])
    }

    @Test("loss: totals, terms and gradient of stored logits")
    func loss() throws {
        let folder = TemporaryFolder()
        let file = folder.path + "/logits.safetensors"
        let gradient = folder.path + "/gradient.safetensors"
        let student = Tensor(shape: [2, 3], values: [1, 2, 0.5, -1, 0, 3])
        let teacher = Tensor(shape: [2, 3], values: [2, 1, 0, 0.5, 4, 1])
        try SafetensorsFile.write(
            [
                SafetensorsItem("student", student, as: .float64), SafetensorsItem("teacher", teacher, as: .float64),
                SafetensorsItem("labels", Tensor(shape: [2], values: [0, 1]), as: .int64),
                SafetensorsItem("unrelated", Tensor(shape: [1], values: [7])),
            ], to: file)
        var method = RefinedLogitDistillation()
        method.beta = 4
        let wanted = try ReferenceLoss.evaluate(
            .refinedLogitDistillation(method), student: student.values, teacher: teacher.values, labels: [0, 1], classes: 3)
        let result = try Program.run(
            ["loss", file, "--method", "rld", "--beta", "4", "--gradient", gradient, "--json", "--device", "reference"])
        let report = try json(result.output)
        #expect((report["terms"] as? [String: Double])?.keys.sorted() == ["ce", "mcd", "scd"])
        // As text, to the last digit.
        #expect(result.output.contains("\"total\":\(wanted.total)"), "\(result.output)")
        #expect(result.output.contains("\"scd\":\(wanted.terms[1])"), "\(result.output)")
        let stored = try SafetensorsFile(path: gradient)
        #expect(stored.entry("student_gradient")?.type == .float64)
        #expect(try stored.tensor("student_gradient").values == wanted.gradient)

        let wrong = try Program.run(["loss", file, "--method", "kd", "--device", "reference", "--temperature", "-1"])
        #expect(wrong.code == 2)
        #expect(wrong.error.contains("--temperature"))
    }

    @Test("the demo prints one row per training: teacher, student alone, with KD and with RLD")
    func demo() throws {
        let folder = TemporaryFolder()
        let recipe = [
            "demo", "--data", try folder.images(), "--images", "24", "--teacher-epochs", "1", "--epochs", "1", "--batch-size",
            "16", "--device", "reference", "--quiet", "--out", folder.path + "/runs",
        ]
        let table = try Program.run(recipe)
        #expect(table.code == 0 && table.error.isEmpty, "\(table.error)")
        let rows = table.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        #expect(rows.count == 6)
        #expect(rows.dropFirst(2).map { $0[0] } == ["resnet14", "resnet8", "resnet8", "resnet8"])
        #expect(rows.dropFirst(2).allSatisfy { row in row.contains("%") })
        for (row, method) in zip(rows.dropFirst(2), ["teacher", "alone", "kd", "rld"]) { #expect(row.contains(method)) }
        #expect(
            try FileManager.default.contentsOfDirectory(atPath: folder.path + "/runs").sorted() == [
                "alone", "kd", "rld", "teacher",
            ])

        let again = try Program.run(recipe)
        #expect(again.code == 2 && again.error.contains("--overwrite"))
        let json = try Program.run(recipe + ["--overwrite", "--json"])
        let objects = try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [[String: Any]] ?? []
        #expect(objects.map { $0["role"] as? String ?? "" } == ["teacher", "alone", "kd", "rld"])
        #expect(objects.allSatisfy { $0["top1"] is Double && $0["macs"] is Int })
    }

    @Test("Ctrl-C finishes the step, saves the weights and exits 130")
    func interruption() throws {
        let folder = TemporaryFolder()
        let data = try folder.images()
        let out = folder.path + "/out"
        let result = try Program.run(
            [
                "train", "--model", "resnet8", "--data", data, "--epochs", "100000", "--batch-size", "16", "--validation", "0",
                "--device", "reference", "--out", out,
            ]
        ) { process in
            let metrics = out + "/last.safetensors"
            for _ in 0..<600 where !FileManager.default.fileExists(atPath: metrics) { usleep(50_000) }
            process.interrupt()
        }
        #expect(result.code == 130, "\(result.error)")
        #expect(result.errorLines.last?.contains("last.safetensors") == true)
        let network = try ModelCatalog.network("resnet8", classes: 10, input: [1, 5, 5])
        #expect(try NetworkState(weights: out + "/last.safetensors", for: network).allFinite)
    }
}
