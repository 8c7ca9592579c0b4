import Foundation
import RLDGraph

/// A network as ONNX nodes and initialisers, in the network's order.
struct ONNXGraph {
    let network: Network
    let state: NetworkState
    private(set) var message = ONNXGraphProto()
    /// The name of each node's value.
    private var values: [String] = []

    init(network: Network, state: NetworkState) {
        self.network = network
        self.state = state
    }

    static let inputName = "images"
    static let outputName = "logits"

    /// - Parameter normalization: mean and deviation per channel, to be applied to the input.
    mutating func build(normalization: (mean: [Float], deviation: [Float])?) throws(InputError) {
        message.name = network.id
        message.input = [Self.info(Self.inputName, network.inputShape)]
        message.output = [Self.info(Self.outputName, network.nodes[network.output].shape)]
        for (id, node) in network.nodes.enumerated() {
            guard id > 0 else {
                values.append(normalization.map { normalizing($0.mean, $0.deviation) } ?? Self.inputName)
                continue
            }
            // A layer may be called as the model's input or output are, which no other value may be.
            let isTaken = [Self.inputName, Self.outputName].contains(node.name)
            values.append(id == network.output ? Self.outputName : isTaken ? "\(node.name).layer" : node.name)
            try append(node, output: values[id])
        }
    }

    // MARK: - Nodes

    private mutating func append(_ node: Network.Node, output: String) throws(InputError) {
        let inputs = node.inputs.map { values[$0] }
        let source = network.nodes[node.inputs.first ?? 0].shape
        guard node.operation.epilogue == Epilogue() else {
            throw InputError("network \(network.id)", "node \(node.name) has a fused epilogue, which is not exported")
        }
        switch node.operation {
        case .input: break
        case .convolution(let c):
            var tensors = [try parameter("\(node.name).weight")]
            if c.bias { tensors.append(try parameter("\(node.name).bias")) }
            add(
                "Conv", inputs + tensors, output,
                [
                    Self.ints("kernel_shape", [c.kernel, c.kernel]), Self.ints("strides", [c.stride, c.stride]),
                    Self.ints("pads", Array(repeating: c.padding, count: 4)), Self.int("group", c.groups),
                ])
        case .batchNorm(let b):
            var tensors: [String] = []
            for name in ["weight", "bias", "running_mean", "running_var"] {
                tensors.append(try parameter("\(node.name).\(name)"))
            }
            add("BatchNormalization", inputs + tensors, output, [Self.float("epsilon", b.epsilon)])
        case .linear(let l):
            var tensors = [try parameter("\(node.name).weight")]
            if l.bias { tensors.append(try parameter("\(node.name).bias")) }
            add("Gemm", inputs + tensors, output, [Self.int("transB", 1)])
        case .relu: add("Relu", inputs, output)
        case .relu6:
            constant("\(node.name).lowest", [], [0])
            constant("\(node.name).highest", [], [6])
            add("Clip", inputs + ["\(node.name).lowest", "\(node.name).highest"], output)
        case .add: add("Add", inputs, output)
        case .maxPool(let p): add("MaxPool", inputs, output, Self.window(p))
        case .averagePool(let p): add("AveragePool", inputs, output, Self.window(p) + [Self.int("count_include_pad", 1)])
        case .adaptiveAveragePool: appendAdaptivePool(node, source: source, inputs, output)
        case .globalAveragePool:
            add("GlobalAveragePool", inputs, "\(node.name).plane")
            add("Flatten", ["\(node.name).plane"], output, [Self.int("axis", 1)])
        case .flatten: add("Flatten", inputs, output, [Self.int("axis", 1)])
        case .concat: add("Concat", inputs, output, [Self.int("axis", 1)])
        case .slice(let first):
            let starts = integers("\(node.name).starts", [first])
            let ends = integers("\(node.name).ends", [first + node.shape[0]])
            add("Slice", inputs + [starts, ends, integers("\(node.name).axes", [1])], output)
        case .channelShuffle(let groups):
            // [C] seen as [groups, C / groups], transposed; 0 keeps the batch as it is.
            let (channels, plane) = (node.shape[0], Array(node.shape.dropFirst()))
            let split = integers("\(node.name).split", [0, groups, channels / groups] + plane)
            let joined = integers("\(node.name).joined", [0, channels] + plane)
            add("Reshape", inputs + [split], "\(node.name).groups")
            let order = [0, 2, 1] + plane.indices.map { $0 + 3 }
            add("Transpose", ["\(node.name).groups"], "\(node.name).transposed", [Self.ints("perm", order)])
            add("Reshape", ["\(node.name).transposed", joined], output)
        }
    }

    /// Means over windows that cover the plane, as PyTorch chooses them: a plain pooling where they are all of one size, else two
    /// products with matrices of means, A x B^T.
    private mutating func appendAdaptivePool(_ node: Network.Node, source: [Int], _ inputs: [String], _ output: String) {
        let (rows, columns) = ((from: source[1], to: node.shape[1]), (from: source[2], to: node.shape[2]))
        if rows.from % rows.to == 0, columns.from % columns.to == 0 {
            let window = [rows.from / rows.to, columns.from / columns.to]
            return add("AveragePool", inputs, output, [Self.ints("kernel_shape", window), Self.ints("strides", window)])
        }
        func weight(_ axis: (from: Int, to: Int), _ window: Int, _ position: Int) -> Double {
            let start = window * axis.from / axis.to
            let end = ((window + 1) * axis.from + axis.to - 1) / axis.to
            return (start..<end).contains(position) ? 1 / Double(end - start) : 0
        }
        let a = (0..<rows.to).flatMap { window in (0..<rows.from).map { weight(rows, window, $0) } }
        let b = (0..<columns.from).flatMap { position in (0..<columns.to).map { weight(columns, $0, position) } }
        constant("\(node.name).rows", [rows.to, rows.from], a)
        constant("\(node.name).columns", [columns.from, columns.to], b)
        add("MatMul", ["\(node.name).rows"] + inputs, "\(node.name).pooled_rows")
        add("MatMul", ["\(node.name).pooled_rows", "\(node.name).columns"], output)
    }

    private static func window(_ p: Pooling) -> [ONNXAttributeProto] {
        [
            ints("kernel_shape", [p.kernel, p.kernel]), ints("strides", [p.stride, p.stride]),
            ints("pads", Array(repeating: p.padding, count: 4)),
        ]
    }

    private mutating func normalizing(_ mean: [Float], _ deviation: [Float]) -> String {
        constant("normalization.mean", [1, mean.count, 1, 1], mean.map(Double.init))
        constant("normalization.deviation", [1, deviation.count, 1, 1], deviation.map(Double.init))
        add("Sub", [Self.inputName, "normalization.mean"], "normalization.centred")
        add("Div", ["normalization.centred", "normalization.deviation"], "normalization.normalised")
        return "normalization.normalised"
    }

    private mutating func add(_ type: String, _ inputs: [String], _ output: String, _ attributes: [ONNXAttributeProto] = []) {
        var node = ONNXNodeProto()
        node.opType = type
        node.name = output
        node.input = inputs
        node.output = [output]
        node.attribute = attributes
        message.node.append(node)
    }

    // MARK: - Initialisers

    /// A tensor of the state, as float32 under its own name.
    private mutating func parameter(_ name: String) throws(InputError) -> String {
        guard let tensor = state[name] else { throw InputError("state", "lacks \(name)") }
        let stored = try StoredTensor(name, tensor, as: .float32, source: "network \(network.id)")
        initializer(name, .float, stored.shape, stored.bytes)
        return name
    }

    private mutating func constant(_ name: String, _ shape: [Int], _ values: [Double]) {
        initializer(name, .float, shape, encode(values.map { Float($0).bitPattern }))
    }

    private mutating func integers(_ name: String, _ values: [Int]) -> String {
        initializer(name, .int64, [values.count], encode(values.map(Int64.init)))
        return name
    }

    private mutating func initializer(_ name: String, _ type: ONNXTensorProto.DataType, _ shape: [Int], _ bytes: [UInt8]) {
        var tensor = ONNXTensorProto()
        tensor.name = name
        tensor.dims = shape.map(Int64.init)
        tensor.dataType = Int32(type.rawValue)
        tensor.rawData = Data(bytes)
        message.initializer.append(tensor)
    }

    // MARK: - Small messages

    private static func info(_ name: String, _ shape: [Int]) -> ONNXValueInfoProto {
        var batch = ONNXTensorShapeProto.Dimension()
        batch.dimParam = "N"
        var type = ONNXTypeProto()
        type.tensorType.elemType = Int32(ONNXTensorProto.DataType.float.rawValue)
        type.tensorType.shape.dim =
            [batch]
            + shape.map {
                var dimension = ONNXTensorShapeProto.Dimension()
                dimension.dimValue = Int64($0)
                return dimension
            }
        var info = ONNXValueInfoProto()
        info.name = name
        info.type = type
        return info
    }

    private static func ints(_ name: String, _ values: [Int]) -> ONNXAttributeProto {
        var attribute = ONNXAttributeProto()
        (attribute.name, attribute.type, attribute.ints) = (name, .ints, values.map(Int64.init))
        return attribute
    }

    private static func int(_ name: String, _ value: Int) -> ONNXAttributeProto {
        var attribute = ONNXAttributeProto()
        (attribute.name, attribute.type, attribute.i) = (name, .int, Int64(value))
        return attribute
    }

    private static func float(_ name: String, _ value: Double) -> ONNXAttributeProto {
        var attribute = ONNXAttributeProto()
        (attribute.name, attribute.type, attribute.f) = (name, .float, Float(value))
        return attribute
    }
}
