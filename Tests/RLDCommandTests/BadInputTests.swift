import Foundation
import RLD
import TestSupport
import Testing

struct BadInputTests {
    @Test(
        "bad usage is one line on standard error, exit code 2, and says what to do",
        arguments: [
            (["trian"], "did you mean 'train'?"),
            (["train", "--modle", "resnet8"], "did you mean '--model'?"),
            (["train"], "--out"),
            (["train", "--out", "OUT", "--model", "resnet9"], "did you mean 'resnet8'?"),
            (["train", "--out", "OUT", "--epochs", "0"], "epochs: must be at least 1, found 0"),
            (["train", "--out", "OUT", "--epochs", "x"], "--epochs: must be a whole number, found 'x'"),
            (["train", "--out", "OUT", "--learning-rate", "-0.1"], "must be finite and more than 0, found -0.1"),
            (["train", "--out", "OUT", "--set", "epoch=1"], "did you mean 'epochs'?"),
            (["train", "--out", "OUT", "--set", "epochs"], "key=value"),
            (["train", "--out", "OUT", "--config", "/no/such.yaml"], "/no/such.yaml: does not exist"),
            (["train", "--out", "OUT", "--data", "fashion-mnits"], "did you mean 'fashion-mnist'?"),
            (["train", "--out", "OUT", "--data", "mnist:/no/such/folder"], "/no/such/folder"),
            (["train", "--out", "OUT", "--epochs", "1", "--batch-size", "41"], "give a smaller batch"),
            (["train", "--out", "OUT", "--epochs", "1", "--limit", "100000"], "training set has only"),
            (["train", "--out", "/dev/null", "--epochs", "1"], "is a file, expected a folder"),
            (["distill", "--out", "OUT", "--method", "rdl"], "did you mean 'rld'?"),
            (["distill", "--out", "OUT", "--student", "resnet8"], "teacher"),
            (
                ["distill", "--out", "OUT", "--teacher", "/no/t.safetensors", "--teacher-model", "resnet14"],
                "/no/t.safetensors: does not exist"
            ),
            (["distill", "--out", "OUT", "--temperature", "0"], "--temperature"),
            (["models", "resnet8", "--classes", "1"], "classes"),
            (["models", "--input", "3x32"], "CHANNELSxHEIGHTxWIDTH"),
            (
                ["evaluate", "--model", "resnet8", "--weights", "/no/w.safetensors", "--data", "DATA"],
                "/no/w.safetensors: does not exist"
            ),
            (
                [
                    "predict", "--model", "resnet8", "--classes", "4", "--weights", "w", "--images", "/no/x.safetensors",
                    "--output", "y",
                ], "/no/x.safetensors"
            ),
            (["loss", "/no/l.safetensors", "--method", "rld"], "/no/l.safetensors"),
            (["loss", "x.safetensors", "--method", "rdl"], "did you mean 'rld'?"),
            (["loss", "x.safetensors"], "--method"),
        ])
    func oneLine(arguments: [String], expected: String) throws {
        let folder = TemporaryFolder()
        let data = try folder.images()
        let out = folder.path + "/out"
        var words = arguments.map { $0 == "OUT" ? out : $0 == "DATA" ? data : $0 }
        let computes = ["train", "distill", "evaluate"].contains(arguments[0])
        if computes, !words.contains("--data"), !words.contains("--modle") { words += ["--data", data] }
        if computes || arguments[0] == "loss", words.count > 1, !words.contains("--modle") { words += ["--device", "reference"] }
        let result = try Program.run(words)
        #expect(result.code == 2, "\(result)")
        #expect(result.errorLines.count == 1, "\(result.error)")
        #expect(result.error.contains(expected), "\(result.error)")
        #expect(result.output.isEmpty)
        #expect(folder.contents == ["images"])
    }

    @Test("an unknown key of a configuration file is named with file, line and the nearest key")
    func configuration() throws {
        let folder = TemporaryFolder()
        let file = try folder.write("model: resnet8\noptimizer:\n  momentun: 0.8\n", "run.yaml")
        let result = try Program.run(["train", "--config", file, "--out", folder.path + "/out"])
        #expect(result.code == 2)
        #expect(result.error.contains("run.yaml:3") && result.error.contains("did you mean 'optimizer.momentum'?"))
    }

    @Test("a folder that already holds a run is left as it is")
    func existingRun() throws {
        let folder = TemporaryFolder()
        _ = try folder.write("{}\n", "metrics.jsonl")
        let result = try Program.run(["train", "--model", "resnet8", "--epochs", "1", "--out", folder.path])
        #expect(result.code == 2)
        #expect(result.error.contains("already holds a run (metrics.jsonl)") && result.error.contains("--overwrite"))
        #expect(folder.contents == ["metrics.jsonl"])
    }

    @Test("without any OpenCL platform devices says so, train exits 3 and names what to install and the reference")
    func noDevice() throws {
        let folder = TemporaryFolder()
        let empty = folder.path + "/icd"
        try FileManager.default.createDirectory(atPath: empty, withIntermediateDirectories: true)
        let environment = ["OCL_ICD_VENDORS": empty, "OCL_ICD_FILENAMES": ""]
        let devices = try Program.run(["devices"], environment: environment)
        #expect(devices.code == 0)
        #expect(devices.output.contains("no OpenCL device was found"))
        #expect(try Program.run(["devices", "--json"], environment: environment).output == "[]\n")
        let data = try folder.images()
        let train = try Program.run(
            ["train", "--model", "resnet8", "--data", data, "--batch-size", "8", "--epochs", "1", "--out", folder.path + "/out"],
            environment: environment)
        #expect(train.code == 3)
        #expect(train.errorLines.count == 1, "\(train.error)")
        #expect(train.error.contains("--device reference") && train.error.contains("pocl-opencl-icd"))
        #expect(folder.contents == ["icd", "images"])
        #expect(try Program.run(["--version"], environment: environment).code == 0)
    }

    @Test("an unknown device is said in one line, exit code 2", .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func unknownDevice() throws {
        let folder = TemporaryFolder()
        let result = try Program.run([
            "train", "--data", try folder.images(), "--batch-size", "8", "--epochs", "1", "--out", folder.path + "/out",
            "--device", "no such device",
        ])
        #expect(result.code == 2)
        #expect(result.errorLines.count == 1, "\(result.error)")
    }

    @Test("a shape of any number of dimensions and names with line feeds take one short line")
    func longShapesAndOddNames() throws {
        let folder = TemporaryFolder()
        let shape = Array(repeating: "1", count: 100_000).joined(separator: ",")
        let header = Array("{\"images\":{\"dtype\":\"U8\",\"shape\":[\(shape)],\"data_offsets\":[0,1]}}".utf8)
        let length = (0..<8).map { UInt8(truncatingIfNeeded: header.count >> (8 * $0)) }
        let images = folder.path + "/x.safetensors"
        try Data(length + header + [7]).write(to: URL(fileURLWithPath: images))
        let predicted = try Program.run(["predict", "--weights", "w", "--images", images, "--output", folder.path + "/y.npz"])
        #expect(predicted.code == 2 && predicted.error.contains("found of 100000 dimensions"), "\(predicted.error.count)")
        #expect(predicted.error.count < 500)

        for name in ["a\nclass", "b"] {
            let place = "\(folder.path)/pictures/\(name)"
            try FileManager.default.createDirectory(atPath: place, withIntermediateDirectories: true)
            for number in 0..<3 {
                try Data(PNGImage.encode(Array(repeating: 9, count: 300), width: 10, height: 10))
                    .write(to: URL(fileURLWithPath: "\(place)/\(number).png"))
            }
        }
        try Data().write(to: URL(fileURLWithPath: "\(folder.path)/pictures/b/odd\nname.png"))
        let found = try Program.run(["data", "\(folder.path)/pictures"])
        #expect(found.code == 0, "\(found)")
        let lines = found.output.split(separator: "\n")
        #expect(
            lines.contains { $0.hasPrefix("a\\u000aclass") } && lines.contains { $0.contains("odd\\u000aname.png: is empty") })
    }
}
