import RLDExecution
import RLDGraph

/// What a training really runs, so far as a choice changes it: matrix products and convolutions.
package struct TuningWork: Sendable {
    /// A product and how often a step takes it.
    package struct Product: Hashable, Sendable {
        package var m: Int
        package var n: Int
        package var k: Int
        package var transposeA: Bool
        package var transposeB: Bool

        package var benchmark: GemmBenchmark {
            GemmBenchmark(m: m, n: n, k: k, transposeA: transposeA, transposeB: transposeB)
        }
    }

    package var products: [(product: Product, count: Int)]
    package var layers: [(benchmark: LayerBenchmark, layer: ConvolutionBenchmarks.Layer, count: Int)]
    /// In words: "resnet32x4->resnet8x4, batch 64".
    package var purpose: String

    /// Most entries of each list: those with the most arithmetic.
    private static let most = 8

    /// - Throws: what planning throws.
    package init(_ step: StepBenchmark, on engine: DeviceEngine) throws {
        purpose = "\(step.teacher.id)->\(step.student.id), batch \(step.batch)"
        var counts: [Product: Int] = [:]
        func add(_ network: Network, _ role: DeviceNetwork.Role) throws {
            let state = network.initialState(seed: 1)
            let device = try DeviceNetwork(network, state: state, role: role, engine: engine)
            let plan = try device.plan(batch: step.batch, mode: role == .student ? .training : .inference)
            for p in plan.products {
                let product = Product(m: p.m, n: p.n, k: p.k, transposeA: p.transposeA, transposeB: p.transposeB)
                counts[product, default: 0] += 1
            }
        }
        try add(step.teacher, .teacher)
        try add(step.student, .student)
        products = Self.largest(counts.map { (product: $0.key, count: $0.value) }) { entry in
            Double(entry.count) * entry.product.benchmark.flops
        }
        let teacher = ConvolutionBenchmarks.layers(of: [step.teacher]).map {
            (ConvolutionBenchmarks.benchmark($0.layer, .frozenForward, batch: step.batch), $0.layer, $0.count)
        }
        let student = ConvolutionBenchmarks.layers(of: [step.student]).flatMap { entry in
            [LayerBenchmark.Direction.forward, .inputGradient, .weightGradient].map {
                (ConvolutionBenchmarks.benchmark(entry.layer, $0, batch: step.batch), entry.layer, entry.count)
            }
        }
        layers = (teacher + student).filter { $0.1.groups == 1 }
    }

    /// The layers whose kernels the gpu profile sizes by a choice.
    package func layers(_ use: TileChoices.Use, _ tiles: TileChoices)
        -> [(benchmark: LayerBenchmark, layer: ConvolutionBenchmarks.Layer, count: Int)]
    {
        let concerned = layers.filter { entry in
            let direction = entry.benchmark.direction
            if use == .winograd || use == .halo, entry.layer.kernel != 3 || entry.layer.stride != 1 { return false }
            if use == .winograd, direction == .forward { return false }
            return tiles.concerns(
                use, channels: direction == .inputGradient ? entry.layer.input[0] : entry.layer.outputs,
                weightGradient: direction == .weightGradient)
        }
        return Self.largest(concerned) { Double($0.count) * $0.benchmark.flops }
    }

    /// The layers whose kernels have a register tile of a use.
    package func layers(_ use: RegisterTiles.Use, _ kind: RegisterClass)
        -> [(benchmark: LayerBenchmark, layer: ConvolutionBenchmarks.Layer, count: Int)]
    {
        let lanes = RegisterTiles(kind).lanes
        let fitting = layers.filter { entry in
            let inputs = entry.layer.input[0]
            switch entry.benchmark.direction {
            case .weightGradient:
                // Tiles over input channels, or over columns of patches.
                let blocks = [inputs, inputs * entry.layer.kernel * entry.layer.kernel].map { kind.block($0) > lanes }
                return use == .wideWeights ? blocks.contains(true) : use == .narrowWeights && blocks.contains(false)
            case .inputGradient:
                return use == (kind.block(inputs) > lanes ? .wide : .narrow)
            default:
                return use == (kind.block(entry.layer.outputs) > lanes ? .wide : .narrow)
            }
        }
        return Self.largest(fitting) { Double($0.count) * $0.benchmark.flops }
    }

    private static func largest<Entry>(_ entries: [Entry], by cost: (Entry) -> Double) -> [Entry] {
        Array(entries.sorted { cost($0) > cost($1) }.prefix(most))
    }
}
