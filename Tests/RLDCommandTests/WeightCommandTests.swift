import Foundation
import RLD
import TestSupport
import Testing

/// Weights that come from elsewhere, and go there.
struct WeightCommandTests {
    private let folder = TemporaryFolder()

    private struct GoldenLogits: Decodable {
        var images: [String]
        var logits: [[Double]]

        enum CodingKeys: String, CodingKey {
            case images
            case logits = "logits_f64"
        }
    }

    @Test("predict with a PyTorch checkpoint gives PyTorch's logits", arguments: ["resnet8_c10.pth", "resnet8_c10_legacy.pth"])
    func predict(checkpoint: String) throws {
        let golden = try JSONDecoder().decode(
            GoldenLogits.self, from: Data(contentsOf: URL(fileURLWithPath: Goldens.path("checkpoints/resnet8_c10.json"))))
        let images = Tensor(
            shape: [2, 3, 32, 32], values: golden.images.flatMap { FormulaValues.images($0, shape: [3, 32, 32]).values })
        let (input, output) = (folder.path + "/images.npy", folder.path + "/logits.npy")
        try TensorFile.write([StoredTensor("images", images, as: .float32, source: input)], to: input)
        let result = try Program.run([
            "predict", "--model", "resnet8", "--weights", Goldens.path("checkpoints/\(checkpoint)"), "--images", input,
            "--output",
            output, "--device", "reference",
        ])
        #expect(result.code == 0, "\(result.error)")
        let logits = try TensorFile(path: output).tensor("logits")
        #expect(logits.shape == [2, 10])
        // The reference computes in Double; the file holds float32.
        expectClose(logits.values, golden.logits.flatMap { $0 }, .ofMax(1e-7), "logits")
    }

    @Test(
        "predict on a network of every family, its weights in PyTorch's layout, gives the authors' logits",
        arguments: try Goldens.modelIDs().filter { try Goldens.model($0).evaluation != nil })
    func predictGolden(id: String) throws {
        let golden = try Goldens.model(id)
        let network = try ModelCatalog.network(id, classes: golden.classes, input: golden.input)
        let state = formulaState(for: network, runningVarScale: golden.runningVarScale ?? 1)
        let (weights, input, output) = (folder.path + "/w.pth", folder.path + "/images.npy", folder.path + "/logits.npy")
        try TensorFile.write(
            network.stateTensors.map { tensor in
                try StoredTensor("module." + tensor.name, #require(state[tensor.name]), as: .float32, source: weights)
            }, to: weights)
        try TensorFile.write([StoredTensor("images", golden.evaluationImages(), as: .float32, source: input)], to: input)
        let result = try Program.run(
            [
                "predict", "--model", id, "--classes", String(golden.classes), "--weights", weights, "--images", input,
                "--output", output,
            ] + (TestDevice.enabled ? [] : ["--device", "reference"]))
        #expect(result.code == 0, "\(result.error)")
        let logits = try TensorFile(path: output).tensor("logits")
        #expect(logits.shape.last == golden.classes)
        try golden.expectLogits(logits.values, .float32(id))
    }

    @Test("weights that are not finite are refused by name, whatever they are for")
    func weightsThatAreNotFinite() throws {
        let network = try ModelCatalog.network("resnet8", classes: 10, input: [1, 5, 5])
        var state = network.initialState(seed: 1)
        state["layer1.0.conv1.weight"]?.values[3] = .nan
        let (weights, data) = (folder.path + "/nan.safetensors", try folder.images())
        try state.save(safetensors: weights)
        for command in [
            ["evaluate", "--model", "resnet8", "--weights", weights, "--data", data],
            [
                "export", "--model", "resnet8", "--classes", "10", "--input", "1x5x5", "--weights", weights, "--onnx",
                folder.path + "/x.onnx",
            ],
            [
                "train", "--model", "resnet8", "--weights", weights, "--data", data, "--batch-size", "8", "--out",
                folder.path + "/run",
            ],
        ] {
            let result = try Program.run(command + (command[0] == "export" ? [] : ["--device", "reference"]))
            #expect(result.code == 2, "\(command[0]): \(result.error)")
            #expect(result.error.contains("layer1.0.conv1.weight' holds values that are not finite"), "\(result.error)")
        }
    }

    @Test("convert and back keeps every bit; listing shows names, types and what is beside the weights")
    func convert() throws {
        let source = Goldens.path("checkpoints/resnet8_c10.pth")
        var previous = source
        for ending in ["safetensors", "npz", "pth", "safetensors"] {
            let next = folder.path + "/\(UUID().uuidString).\(ending)"
            let result = try Program.run(["convert", previous, next, "--model", "resnet8"])
            #expect(result.code == 0 && result.output.contains("56 tensors"), "\(result.error)")
            previous = next
        }
        let network = try ModelCatalog.network("resnet8", classes: 10)
        #expect(try NetworkState(weights: previous, for: network) == formulaState(for: network))
        let list = try Program.run(["convert", source, "--list"])
        #expect(list.output.contains("model.layer1.0.bn1.num_batches_tracked") && list.output.contains("I64"))
        #expect(list.output.contains("56 tensors, PyTorch checkpoint"))
    }

    @Test(
        "what does not fit is said in one line",
        arguments: [
            (["convert", "PTH", "OUT.safetensors", "--model", "resnet14"], "missing layer1.1.conv1.weight"),
            (["convert", "PTH", "OUT.safetensors", "--model", "resnet8", "--model-input", "3x"], "--model-input"),
            (["convert", "PTH", "OUT.txt"], "does not say by its ending"), (["convert", "PTH"], "name the file to write"),
            (["convert", "PTH", "OUT.npz", "--dtype", "f33"], "did you mean 'f32'?"),
            (["convert", "PTH", "OUT.npz", "--key", "modle"], "did you mean 'model'?"),
            (["export", "--weights", "PTH", "--onnx", "OUT.onnx"], "give --model"),
            (
                ["export", "--weights", "PTH", "--onnx", "OUT.onnx", "--model", "resnet8", "--normalization", "nodes"],
                "give mean and deviation"
            ),
            (["export", "--weights", "PTH", "--onnx", "OUT.onnx", "--model", "resnet8", "--mean", "1,2"], "--deviation"),
        ])
    func refusals(arguments: [String], expected: String) throws {
        let words = arguments.map {
            $0 == "PTH"
                ? Goldens.path("checkpoints/resnet8_c10.pth") : $0.replacingOccurrences(of: "OUT", with: folder.path + "/out")
        }
        let result = try Program.run(words)
        #expect(result.code == 2 && result.errorLines.count == 1, "\(result)")
        #expect(result.error.contains(expected), "\(result.error)")
        #expect(folder.contents.isEmpty)
    }

    @Test("every tensor that does not fit is named, however many there are")
    func allMisfits() throws {
        let (small, large) = (try ModelCatalog.network("resnet8", classes: 10), try ModelCatalog.network("resnet14", classes: 7))
        let result = try Program.run([
            "convert", Goldens.path("checkpoints/resnet8_c10.pth"), folder.path + "/out.safetensors", "--model", "resnet14",
            "--classes", "7",
        ])
        let present = Set(small.stateTensors.map(\.name))
        let missing = large.stateTensors.filter { $0.kind != .counter && !present.contains($0.name) }
        #expect(result.code == 2 && missing.count > 20)
        for tensor in missing { #expect(result.error.contains("missing \(tensor.name) "), "\(tensor.name)") }
        #expect(result.error.contains("fc.weight: expected shape [7, 64], found [10, 64]"))
        // The other way round they are too many.
        let state = formulaState(for: large)
        let error = #expect(throws: InputError.self) { try state.validate(for: small, source: "weights") }
        for tensor in missing { #expect("\(try #require(error))".contains("unexpected \(tensor.name)"), "\(tensor.name)") }
    }

    @Test("a run starts from a checkpoint for other classes, and its weights say what export needs")
    func fineTune() throws {
        let network = try ModelCatalog.network("resnet8", classes: 100, input: [1, 5, 5])
        let start = folder.path + "/start.npz"
        let state = formulaState(for: network)
        try TensorFile.write(
            state.names.map { name in
                try StoredTensor("module." + name, #require(state[name]), as: .float32, source: start)
            }, to: start)
        let run = [
            "train", "--model", "resnet8", "--data", try folder.images(), "--epochs", "1", "--batch-size", "16", "--validation",
            "8",
            "--learning-rate", "0.000001", "--device", "reference", "--weights", start,
        ]
        let refused = try Program.run(run + ["--out", folder.path + "/a"])
        #expect(refused.code == 2 && refused.error.contains("--reset-head starts the last layer anew"), "\(refused.error)")
        let result = try Program.run(run + ["--out", folder.path + "/b", "--reset-head"])
        #expect(result.code == 0, "\(result.error)")
        #expect(result.error.contains("fc.weight starts anew"))
        let file = try TensorFile(path: folder.path + "/b/best.safetensors")
        let moved = try file.tensor("conv1.weight").values
        expectClose(moved, try #require(state["conv1.weight"]).values, .ofMax(1e-3), "weights that were loaded")
        let metadata = ModelMetadata(file.metadata)
        #expect(metadata.model == "resnet8" && metadata.classes == 10 && metadata.input == [1, 5, 5])
        #expect(metadata.mean == [0.1307] && metadata.classNames == (0...9).map { "\($0)" })
        #expect(file.metadata["config"]?.contains("initial:") == true && file.metadata["data_hash"]?.count == 16)
        let model = folder.path + "/student.onnx"
        let export = try Program.run([
            "export", "--weights", folder.path + "/b/best.safetensors", "--onnx", model, "--normalization", "nodes",
        ])
        #expect(export.code == 0 && FileManager.default.fileExists(atPath: model), "\(export.error)")
    }
}
