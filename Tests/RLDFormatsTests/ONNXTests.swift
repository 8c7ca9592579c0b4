import RLDFormats
import RLDGraph
import RLDModels
import TestSupport
import Testing

/// What an exported model may hold. (That other runtimes compute with it what we do is checked in Tests/Interop.)
struct ONNXTests {
    private func network() -> Network {
        Network("own", input: [1, 2, 2]) { net, image in
            let inner = net.relu(net.linear(net.flatten(image), 3, name: "logits"))
            return net.linear(net.relu(net.linear(inner, 3, name: "images")), 2, name: "fc")
        }
    }

    @Test("a layer that is called as the model's input or output gets another name")
    func names() throws {
        let network = network()
        let bytes = try ONNXExport().bytes(network, state: network.initialState(seed: 1), model: ModelMetadata())
        // A node's name is its output's, and both are written: length, then letters. Weights keep their names.
        func count(_ name: String) -> Int {
            let pattern = [0x0A, UInt8(name.utf8.count)] + Array(name.utf8)
            return bytes.indices.count { bytes[$0...].starts(with: pattern) }
        }
        let logits = Array("\u{12}\u{6}logits".utf8)
        #expect(bytes.indices.count { bytes[$0...].starts(with: logits) } == 1, "one node gives the model's output")
        #expect(count("images") == 2, "one node takes the model's input, and the model declares it")
        #expect(count("logits.layer") == 1 && count("images.layer") == 1)
        #expect(bytes.indices.contains { bytes[$0...].starts(with: Array("logits.weight".utf8)) })
    }

    @Test("a weight that float32 does not hold is refused by its name")
    func largeWeights() throws {
        let network = network()
        var state = network.initialState(seed: 1)
        state["fc.bias"] = Tensor(shape: [2], values: [0, 1e40])
        expectRefusal("tensor 'fc.bias': value 1e+40 at 1 does not fit F32") {
            _ = try ONNXExport().bytes(network, state: state, model: ModelMetadata())
        }
    }
}
