import Foundation
import RLD
import TestSupport
import Testing

/// A user's own network is trained, distilled into and from, saved, loaded, folded and inspected as a built-in one is; and one of
/// each published family trains and distills.
@Suite("Networks in training") struct OwnNetworkTests {
    private static let registered: Result<Void, any Error> = Result { try registerTinyNet() }

    private func recipe(_ model: String) -> TrainingConfiguration {
        var recipe = TrainingConfiguration()
        recipe.model = model
        recipe.epochs = 1
        recipe.batchSize = 8
        recipe.validation = 8
        recipe.optimizer.learningRate = 0.01
        return recipe
    }

    private static var executors: [String] { TestDevice.enabled ? ["reference", "device"] : ["reference"] }

    private func executor(_ kind: String) throws -> any NetworkExecutor {
        kind == "reference" ? ReferenceExecutor() : try DeviceExecutor(TestDevice.device())
    }

    @Test(arguments: executors) func ownNetworkDoesWhatABuiltInOneDoes(kind: String) throws {
        try Self.registered.get()
        let folder = TemporaryFolder()
        let data = bandData(train: 24, test: 8)
        let teacher = try data.network("resnet8")
        var own = recipe("tinynet")
        own.method = .refinedLogitDistillation(RefinedLogitDistillation())
        let executor = try executor(kind)
        let student = try Trainer(
            configuration: own, executor: executor, dataset: data,
            teacher: .init(network: teacher, state: teacher.initialState(seed: 3)),
            folder: RunFolder(folder.path + "/run", overwrite: false)
        ).run()
        #expect(student.network.id == "tinynet" && student.network.classes == 4)
        #expect(student.network.parameters.first?.name == "stem.0.weight")
        #expect(try folder.text("run/config.yaml").contains("tinynet"))

        // Loaded again by its id, as a frozen teacher of another.
        var next = recipe("resnet8")
        next.method = own.method
        next.teacherModel = "tinynet"
        next.teacherWeights = folder.path + "/run/best.safetensors"
        let other = try Trainer(configuration: next, executor: executor, dataset: data).run()
        #expect(other.lastState.allFinite)

        let network = try data.network("tinynet")
        let state = try NetworkState(weights: folder.path + "/run/best.safetensors", for: network)
        try executor.prepareStudent(network, state: state)
        let images = Tensor(shape: [2, 1, 8, 8], values: (0..<128).map { Double($0 % 7) / 3 - 1 })
        let last = try #require(try executor.studentFeatures(images, named: ["last"])["last"])
        #expect(last.shape == [2, 16, 8, 8] && last.values.allSatisfy { $0 >= 0 })
        #expect(try executor.studentLogits(images).shape == [2, 4])
    }

    /// A network that no catalogue knows, handed over as a value.
    @Test func networksTrainAsValues() throws {
        let data = bandData(train: 24, test: 8)
        func network(_ classes: Int) -> Network {
            Network("unnamed", input: [1, 8, 8]) { net, x in net.linear(net.flatten(x), classes, name: "fc") }
        }
        let result = try Trainer(
            configuration: recipe("resnet8"), executor: ReferenceExecutor(), dataset: data, network: network(4)
        ).run()
        #expect(result.network.id == "unnamed" && result.bestState.names == ["fc.weight", "fc.bias"])
        let problem = inputErrorText {
            _ = try Trainer(
                configuration: recipe("resnet8"), executor: ReferenceExecutor(), dataset: data, network: network(5)
            ).run()
        }
        #expect(problem.contains("unnamed") && problem.contains("4 classes"), "\(problem)")
    }

    /// One of each family that has no other training test: an epoch alone, and one with itself as the frozen teacher.
    @Test(
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"),
        arguments: [
            "wrn_10_1", "vgg8", "MobileNetV2", "ShuffleV1", "ShuffleV2", "imagenet_MobileNetV1", "imagenet_ResNet18",
        ])
    func everyFamilyTrainsAndDistills(id: String) throws {
        let data = bandData(train: 24, test: 8)
        let executor = try DeviceExecutor(TestDevice.device())
        let alone = try Trainer(configuration: recipe(id), executor: executor, dataset: data).run()
        #expect(alone.lastState.allFinite && alone.epochs.count == 1)
        #expect(alone.lastState != alone.network.initialState(seed: 1))
        var distill = recipe(id)
        distill.method = .refinedLogitDistillation(RefinedLogitDistillation())
        let distilled = try Trainer(
            configuration: distill, executor: executor, dataset: data,
            teacher: .init(network: alone.network, state: alone.lastState)
        ).run()
        #expect(distilled.lastState.allFinite && distilled.bestTest != nil)
        #expect((executor.plannedBytes ?? 0) > 4 * alone.network.parameterCount)
    }

    private var root: URL {
        URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().deletingLastPathComponent()
    }

    @Test("the README shows the example as it is, and the table of networks") func readme() throws {
        let readme = try String(contentsOf: root.appending(path: "README.md"), encoding: .utf8)
        let example = root.appending(path: "Tests/RLDTrainingTests/OwnNetworkExample.swift")
        #expect(readme.contains("```swift\n\(try String(contentsOf: example, encoding: .utf8))```"))
        let rows = try ModelCatalog.entries.prefix(32).map { entry in
            let network = try ModelCatalog.network(entry.id, classes: entry.classes, input: entry.input)
            return "| `\(entry.id)` | \(grouped(network.parameterCount)) | \(grouped(network.multiplyAdds)) |"
        }
        #expect(readme.contains(rows.joined(separator: "\n")), "the table should be:\n\(rows.joined(separator: "\n"))")
    }

    /// 1234567 as 1,234,567.
    private func grouped(_ number: Int) -> String {
        var text = ""
        for (index, digit) in String(number).reversed().enumerated() {
            if index > 0, index % 3 == 0 { text.append(",") }
            text.append(digit)
        }
        return String(text.reversed())
    }
}
