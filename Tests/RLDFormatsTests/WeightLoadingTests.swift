import RLDFormats
import RLDGraph
import RLDModels
import TestSupport
import Testing

/// Fitting a file's tensors to a network.
struct WeightLoadingTests {
    let folder = TemporaryFolder()
    let network: Network

    init() throws {
        network = try ModelCatalog.network("resnet8", classes: 10)
    }

    /// A file with the network's formula weights after a change.
    private func file(_ network: Network? = nil, prefix: String = "", _ change: (inout NetworkState) -> Void = { _ in }) throws
        -> String
    {
        var state = formulaState(for: network ?? self.network)
        change(&state)
        var named = NetworkState()
        for name in state.names { named[prefix + name] = state[name] }
        let path = folder.file("w.safetensors")
        try named.save(safetensors: path)
        return path
    }

    @Test func everythingWrongIsNamedAtOnce() throws {
        let path = try file {
            $0["conv1.weight"] = nil
            $0["bn1.bias"] = Tensor(shape: [3], repeating: 0)
            $0["stray"] = Tensor(shape: [], repeating: 0)
        }
        for fragment in ["missing conv1.weight [16, 3, 3, 3]", "bn1.bias: expected shape [16], found [3]", "unexpected stray"] {
            expectRefusal(fragment) { _ = try LoadedWeights(path, for: network) }
        }
        let loose = try LoadedWeights(path, for: network, options: WeightOptions(strict: false), seed: 4)
        #expect(loose.notes.count == 3)
        let fresh = network.initialState(seed: 4)
        let formula = formulaState(for: network)
        for name in formula.names {
            let expected = ["conv1.weight", "bn1.bias"].contains(name) ? fresh[name] : formula[name]
            #expect(loose.state[name] == expected, "\(name)")
        }
        #expect(loose.state.names == formula.names)
    }

    @Test("of a checkpoint of a run the weights are taken, not what the optimiser remembers")
    func checkpointOfARun() throws {
        let state = formulaState(for: network)
        var both = NetworkState()
        for name in state.names {
            both["momentum/" + name] = Tensor(shape: [1], repeating: 0)
            both["weights/" + name] = state[name]
        }
        let path = folder.file("epoch.safetensors")
        try both.save(safetensors: path)
        let loaded = try LoadedWeights(path, for: network)
        for name in state.names { #expect(loaded.state[name] == state[name], "\(name)") }

        // What a run with a moving average evaluates is that.
        let bias = Tensor(shape: [10], repeating: 7)
        for name in state.names { both["average/" + name] = name == "fc.bias" ? bias : state[name] }
        try both.save(safetensors: path)
        #expect(try LoadedWeights(path, for: network).state["fc.bias"] == bias)
    }

    @Test func anotherNumberOfClasses() throws {
        let path = try file(try ModelCatalog.network("resnet8", classes: 100))
        expectRefusal("--reset-head starts the last layer anew") { _ = try LoadedWeights(path, for: network) }
        let loaded = try LoadedWeights(path, for: network, options: WeightOptions(resetHead: true), seed: 9)
        let fresh = network.initialState(seed: 9)
        #expect(loaded.state["fc.weight"] == fresh["fc.weight"])
        #expect(loaded.state["fc.bias"] == fresh["fc.bias"])
        #expect(loaded.state["conv1.weight"] == formulaState(for: network)["conv1.weight"])
        #expect(
            loaded.notes.count == 2
                && loaded.notes[0].contains("fc.weight starts anew: the file has [100, 64], the network [10, 64]"))
        // Only the head may differ.
        let other = try ModelCatalog.network("resnet8x4", classes: 10)
        expectRefusal("conv1.weight: expected shape", naming: other.stateTensors.count) {
            _ = try LoadedWeights(path, for: other, options: WeightOptions(resetHead: true))
        }
    }

    @Test func namesInsideLongerNames() throws {
        let path = try file(prefix: "student.net.")
        expectRefusal("its names begin with 'student.net.'", naming: 2 * network.stateTensors.count) {
            _ = try LoadedWeights(path, for: network)
        }
        #expect(
            try NetworkState(weights: path, for: network, options: WeightOptions(key: "student.net"))
                == formulaState(for: network))
        expectRefusal("nothing of it fits", naming: 2 * network.stateTensors.count) {
            _ = try LoadedWeights(path, for: network, options: WeightOptions(strict: false))
        }
        #expect(try NetworkState(weights: try file(prefix: "module."), for: network) == formulaState(for: network))
    }

    @Test func metadataSurvivesAsText() throws {
        let metadata = ModelMetadata(
            model: "resnet8", classes: 3, input: [1, 28, 28], mean: [0.2860], deviation: [1.0 / 3],
            classNames: ["T-shirt/top", "a \"b\"", "é"])
        #expect(ModelMetadata(metadata.text) == metadata)
        #expect(ModelMetadata([:]) == ModelMetadata())
        #expect(
            ModelMetadata(["mean": "[1]", "deviation": "[0]", "input": "3x0x2", "class_names": "x", "classes": "many"])
                == ModelMetadata())
    }

    @Test("conversion keeps values, order, metadata and asked-for types")
    func conversion() throws {
        let path = try file()
        let half = folder.file("h.safetensors")
        let conversion = try TensorConversion(TensorFile(path: path), for: network, options: WeightOptions(), type: .float16)
        #expect(conversion.count == 56)
        try conversion.write(to: half)
        let stored = try SafetensorsFile(path: half)
        #expect(stored.entry("conv1.weight")?.type == .float16)
        #expect(stored.entry("bn1.num_batches_tracked")?.type == .int64)
        #expect(stored.metadata["model"] == "resnet8" && stored.metadata["classes"] == "10")
        let formula = formulaState(for: network)
        for (name, tensor) in formula.names.map({ ($0, formula[$0]) }) {
            #expect(try stored.tensor(name).values == tensor?.values.map { Double(Float16($0)) })
        }
    }
}
