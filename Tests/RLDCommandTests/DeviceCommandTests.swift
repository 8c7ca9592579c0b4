import Foundation
import RLD
import TestSupport
import Testing

/// The program on a device: it carries its kernels, checks them, and trains.
@Suite(.enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"))
struct DeviceCommandTests {
    /// One file, nothing beside it: `rld` holds its kernels.
    @Test("copied to an empty folder, the program finds its kernels")
    func relocation() throws {
        let folder = TemporaryFolder()
        let copy = folder.path + "/anywhere"
        try FileManager.default.copyItem(atPath: Program.path, toPath: copy)
        let result = try Program.run(["doctor", "--tiny", "--profile", "cpu"], program: copy)
        #expect(result.code == 0, "\(result.error)")
        #expect(result.output.contains("checks passed"))
        #expect(folder.contents == ["anywhere"])
    }

    @Test("a home folder that cannot be written hides no device")
    func cacheElsewhere() throws {
        let result = try Program.run(
            ["loss", Goldens.path("losses/b8c10_mixed.safetensors"), "--method", "rld"],
            environment: ["XDG_CACHE_HOME": "/proc/none", "HOME": "/proc/none"])
        #expect(result.code == 0, "\(result.error)")
    }

    @Test("doctor checks the kernels that the device takes, and refuses an unknown profile")
    func doctor() throws {
        let own = try Program.run(["doctor", "--tiny"])
        let other = try KernelProfile.automatic(for: TestDevice.device()) == .cpu ? "gpu" : "cpu"
        #expect(own.code == 0 && own.output.contains("loss rld") && !own.output.contains("\n" + other), "\(own.error)")
        #expect(try Program.run(["doctor", "--profile", "gqu"]).code == 2)
    }

    @Test("doctor checks both profiles if asked for")
    func doctorOfBoth() throws {
        let result = try Program.run(["doctor", "--tiny", "--profile", "all"])
        #expect(result.code == 0, "\(result.error)")
        for name in ["cpu", "gpu", "loss rld", "batch, crop and flip"] { #expect(result.output.contains(name)) }
        #expect(result.output.contains("\ntf32: "))
    }

    @Test("tf32 is refused where it means nothing")
    func precision() throws {
        let train = ["train", "--model", "resnet8", "--data", "fashion-mnist", "--out", TemporaryFolder().path + "/run"]
        let wrong = try Program.run(train + ["--set", "precision=tf16"])
        #expect(wrong.code == 2 && wrong.error.contains("one of float32, tf32"))
        let group = try Program.run(["bench", "losses", "--precision", "tf32"])
        #expect(group.code == 2 && group.error.contains("gemm, convolution, step and epoch"))
    }

    @Test(
        "tf32 is refused where the device has no matrix units",
        .enabled(if: TestDevice.can { !$0.hasMatrixUnits }, "the device has matrix units"))
    func precisionWithoutMatrixUnits() throws {
        let train = ["train", "--model", "resnet8", "--data", "fashion-mnist", "--out", TemporaryFolder().path + "/run"]
        for arguments in [
            train + ["--set", "precision=tf32"], ["bench", "convolution", "--precision", "tf32"],
            ["tune", "--dry-run", "--precision", "tf32"],
        ] {
            let result = try Program.run(arguments)
            #expect(result.code == 3 && result.error.contains("precision tf32"), "\(result.error)")
        }
    }

    @Test(
        "predict gives the reference's logits and features, for one network of each family",
        arguments: ["resnet8x4", "wrn_10_2", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "ResNet18", "imagenet_MobileNetV1"])
    func predict(id: String) throws {
        let folder = TemporaryFolder()
        let network = try ModelCatalog.network(id, classes: 6, input: [3, 12, 16])
        let state = network.initialState(seed: 5)
        try state.save(safetensors: folder.path + "/weights.safetensors")
        let images = Tensor(
            shape: [3, 3, 12, 16],
            values: (0..<UInt64(1728)).map { Double(Float(CounterRandom.normal(seed: 1, stream: 2, counter: $0))) })
        try SafetensorsFile.write([SafetensorsItem("images", images)], to: folder.path + "/images.safetensors")
        let result = try Program.run(
            [
                "predict", "--model", id, "--classes", "6", "--weights", folder.path + "/weights.safetensors", "--images",
                folder.path + "/images.safetensors", "--output", folder.path + "/logits.safetensors", "--batch-size", "2",
                "--features", "pooled_feat",
            ])
        #expect(result.code == 0, "\(result.error)")
        let file = try SafetensorsFile(path: folder.path + "/logits.safetensors")
        let reference = try ReferenceNetwork(network, state: state)
        expectClose(
            try file.tensor("logits").values, try reference.forward(images.values, batch: 3, training: false), .ofMax(2e-5), id)
        let pooled = try #require(network.features["pooled_feat"])
        expectClose(try file.tensor("pooled_feat").values, reference.value(of: pooled), .ofMax(2e-5), "\(id) pooled_feat")
    }

    @Test("train and distill on a device, evaluate gives the same accuracy")
    func training() throws {
        let folder = TemporaryFolder()
        let data = try folder.images()
        func run(_ arguments: [String]) throws -> Program.Result {
            let result = try Program.run(arguments + ["--data", data, "--json"])
            #expect(result.code == 0, "\(result.error)")
            return result
        }
        let shared = ["--epochs", "2", "--batch-size", "16", "--validation", "8"]
        _ = try run(["train", "--model", "resnet14", "--out", folder.path + "/teacher"] + shared)
        let distilled = try run(
            [
                "distill", "--teacher", folder.path + "/teacher/best.safetensors", "--teacher-model", "resnet14", "--student",
                "resnet8",
                "--out", folder.path + "/student",
            ] + shared)
        // What a number can be traced by.
        let environment = try JSONSerialization.jsonObject(
            with: Data(contentsOf: URL(fileURLWithPath: folder.path + "/student/environment.json")))
        for key in ["device", "platform", "driver", "opencl", "commit", "swift", "clblast", "data_hash"] {
            #expect(((environment as? [String: Any])?[key] as? String)?.isEmpty == false, "\(key)")
        }
        let evaluated = try run(["evaluate", "--model", "resnet8", "--weights", folder.path + "/student/last.safetensors"])
        func top1(_ text: String) throws -> Set<Double> {
            // Every number named top1 or accuracy, wherever it is nested.
            func find(_ value: Any) -> [Double] {
                switch value {
                case let object as [String: Any]:
                    object.flatMap { key, value in
                        ["top1", "accuracy"].contains(key) ? [(value as? Double) ?? -1] : find(value)
                    }
                case let list as [Any]: list.flatMap(find)
                default: []
                }
            }
            return Set(find(try JSONSerialization.jsonObject(with: Data(text.utf8))))
        }
        let found = try top1(evaluated.output)
        let reported = try top1(distilled.output)
        #expect(!found.isEmpty && found.isSubset(of: reported), "\(evaluated.output) \(distilled.output)")
    }

    @Test("the authors' recipe on CIFAR-100's archive, with their overrides; its plan and time; the curves of the run")
    func authorsRecipe() throws {
        let folder = TemporaryFolder()
        let recipe = try folder.write(
            """
            EXPERIMENT: {NAME: "", TAG: "rld", PROJECT: "cifar100_baselines"}
            DISTILLER: {TYPE: "RLD", TEACHER: "resnet8", STUDENT: "resnet8"}
            SOLVER: {BATCH_SIZE: 64, EPOCHS: 240, LR: 0.05, LR_DECAY_STAGES: [150, 180, 210], LR_DECAY_RATE: 0.1, TYPE: "SGD"}
            """, "rld.yaml")
        let data = ["--data", "cifar100:" + Goldens.path("datasets/cifar-100-python2.tar.gz")]
        let teacher = folder.path + "/teacher"
        let trained = try Program.run(
            ["train", "--model", "resnet8", "--epochs", "1", "--batch-size", "4", "--validation", "0", "--out", teacher] + data)
        #expect(trained.code == 0, "\(trained.error)")
        let common = ["distill", "--config", recipe, "--teacher", teacher + "/last.safetensors", "--set", "epochs=2"] + data
        let overrides = ["SOLVER.BATCH_SIZE", "4", "RLD.BETA", "4."]
        let plan = try Program.run(common + ["--dry-run"] + overrides)
        #expect(plan.code == 0, "\(plan.error)")
        #expect(
            plan.output.contains("beta 4") && plan.output.contains("4 steps of about") && plan.output.contains("in all"),
            "\(plan.output)")
        #expect(plan.error.contains("EXPERIMENT.PROJECT"))
        let out = folder.path + "/run"
        let result = try Program.run(common + ["--out", out] + overrides)
        #expect(result.code == 0, "\(result.error)")
        let page = folder.path + "/curves.html"
        #expect(try Program.run(["plot", teacher, out, "--output", page]).code == 0)
        #expect(try String(contentsOfFile: page, encoding: .utf8).contains("<svg"))
        let diff = try Program.run(["diff", teacher, out])
        #expect(diff.code == 0 && diff.output.contains("method.id"), "\(diff.error)")
    }

    @Test("a folder of pictures becomes a network with one command; a damaged file is named")
    func ownPictures() throws {
        let folder = TemporaryFolder()
        for part in ["train", "test"] {
            for (label, files) in [
                ("a", ["wide.jpg", "tall.png", "grey.jpg"]), ("b", ["alpha.png", "small.png", "palette.png"]),
            ] {
                let target = "\(folder.path)/pictures/\(part)/\(label)"
                try FileManager.default.createDirectory(atPath: target, withIntermediateDirectories: true)
                for file in files {
                    try FileManager.default.copyItem(atPath: Goldens.path("datasets/\(file)"), toPath: "\(target)/\(file)")
                }
            }
        }
        let broken = folder.path + "/pictures/train/a/broken.jpg"
        try Data("x".utf8).write(to: URL(fileURLWithPath: broken))
        let command = [
            "train", "--model", "resnet8", "--data", "folder:\(folder.path)/pictures", "--image-size", "16", "--epochs", "2",
            "--batch-size", "3", "--validation", "0", "--set", "augmentation.mixup=0.2", "--set", "augmentation.resized_crop=0.5",
            "--out", folder.path + "/run",
        ]
        let refused = try Program.run(command)
        #expect(
            refused.code == 2 && refused.error.contains("broken.jpg") && refused.error.contains("--skip-broken"),
            "\(refused.error)")
        let result = try Program.run(command + ["--skip-broken"])
        #expect(result.code == 0 && result.error.contains("1 damaged files were left out"), "\(result.error)")
        let data = try Program.run(["data", folder.path + "/pictures", "--sheet", folder.path + "/sheet.png"])
        #expect(data.code == 0 && data.output.contains("damaged: ") && data.output.contains("16x18 (2)"), "\(data.output)")
    }
}
