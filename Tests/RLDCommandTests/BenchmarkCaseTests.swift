import Foundation
import OpenCLRuntime
import RLD
import RLDBenchmarks
import TestSupport
import Testing

/// What benchmarks run and write; no figure of theirs is looked at.
@Suite struct BenchmarkCaseTests {
    @Test(
        "each distinct convolution appears once, with all its multiply-adds accounted for",
        arguments: ["resnet20", "MobileNetV2"])
    func layers(id: String) throws {
        let network = try ModelCatalog.network(id, classes: 100)
        let layers = ConvolutionBenchmarks.layers(of: [network])
        #expect(Set(layers.map(\.layer)).count == layers.count)
        let linear = network.nodes.reduce(0) { sum, node in
            if case .linear(let l) = node.operation { sum + l.inputs * l.outputs } else { sum }
        }
        let products = layers.reduce(0) { sum, entry in
            sum + entry.count * ConvolutionBenchmarks.benchmark(entry.layer, .forward, batch: 1).network.multiplyAdds
        }
        #expect(products + linear == network.multiplyAdds)
        if id == "resnet20" {
            #expect(layers.map(\.count) == [1, 6, 1, 5, 1, 1, 5, 1])
            #expect(layers[1].layer.text == "16x32x32 to 16, 3x3")
        }
        // A second network of the same layers adds none.
        #expect(ConvolutionBenchmarks.layers(of: [network, network]).map(\.count) == layers.map { 2 * $0.count })
    }

    @Test func aTeacherRunsForwardOnlyAStudentInAllDirections() throws {
        let network = try ModelCatalog.network("resnet8", classes: 10)
        let cases = ConvolutionBenchmarks.cases(frozen: [network], trained: [network], batch: 4)
        let layers = ConvolutionBenchmarks.layers(of: [network]).count
        #expect(cases.count == 4 * layers)
        #expect(cases.count { $0.direction == .frozenForward } == layers)
        #expect(cases.count { $0.direction == .weightGradient } == layers)
        for id in ConvolutionBenchmarks.paperNetworks { _ = try ModelCatalog.entry(id) }
    }

    @Test func percentilesAreNearestRanks() {
        let spread = Spread((1...11).reversed().map(Double.init))
        #expect((spread.p20, spread.p50, spread.p80) == (3, 6, 9))
        #expect(Spread([7]) == Spread([7, 7]))
        // A rate falls as the time grows: its percentiles change places.
        let rate = spread.map { 18 / $0 }
        #expect((rate.p20, rate.p50, rate.p80) == (2, 3, 6))
    }

    /// A case that says what a test wants it to say.
    private struct Fake: BenchmarkCase {
        var name = "fake, \"quoted\""
        var mode = "run"
        var shape = "1"
        var bytes: Double { 0 }
        var flops: Double { 1e6 }
        var images: Int { 8 }
        var error: Double

        struct Run: BenchmarkRun {
            let error: Double
            func check() -> Double { error }
            func enqueue() {}
        }
        func prepare(on engine: DeviceEngine) -> any BenchmarkRun { Run(error: error) }
    }

    /// Builds a program in its tenth call.
    private struct Builder: BenchmarkCase {
        let name = "builder", mode = "run", shape = "1"
        let bytes = 0.0, flops = 0.0
        let images = 0

        final class Run: BenchmarkRun {
            let engine: DeviceEngine
            var calls = 0

            init(_ engine: DeviceEngine) { self.engine = engine }

            func check() -> Double { 0 }
            func enqueue() throws {
                calls += 1
                if calls == 10 { _ = try engine.programs.program("copy.cl", defines: [("TENTH", "1")]) }
            }
        }
        let last: (Run) -> Void

        func prepare(on engine: DeviceEngine) -> any BenchmarkRun {
            let run = Run(engine)
            last(run)
            return run
        }
    }

    @Test("what is built while a case runs is no run's time", .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func building() throws {
        var run: Builder.Run?
        let session = try BenchmarkSession(TestDevice.device(), profile: .cpu, effort: .quick)
        let result = try session.run(Builder { run = $0 })
        #expect(result.building > 0)
        // A run is two calls, one for each clock; the eleventh is the second of the run in which it was built.
        #expect(try #require(run).calls == 11 + 2 * result.runs)
    }

    @Test("a wrong case is not timed, a right one fills its rows", .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func rows() throws {
        let session = try BenchmarkSession(TestDevice.device(), profile: .cpu, effort: .quick)
        for error in [1.5, .nan] {
            #expect(throws: BenchmarkError.self) { try session.run(Fake(error: error)) }
        }
        var result = try session.run(Fake(error: 0.5))
        result.rate = Spread([50])
        let record = BenchmarkRecord(session: session)
        let rows = record.rows(result, copy: 10, peak: 200)
        #expect(rows.allSatisfy { $0.count == BenchmarkRecord.columns.count })
        func value(_ metric: String) -> String? { rows.first { $0[3] == metric }?[6] }
        #expect(value("share of peak") == "25" && value("rate") == "50" && value("share of copy") == nil)
        #expect(value("launches") == "0" && value("memory") == "0" && value("setup") != nil && value("building") == "0")
        #expect(value("images") != nil)
        #expect(rows[0][13].contains(session.tuning.source), "the parameters' source stands in each row")

        let folder = TemporaryFolder()
        let file = folder.path + "/rows.csv"
        try BenchmarkRecord.append(rows, to: file)
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(text.contains("\"fake, \"\"quoted\"\"\",rld cpu,run,"))
    }

    @Test(
        "layers, products, batches and updates give what the reference gives",
        .enabled(if: TestDevice.enabled, "no OpenCL device"), arguments: TestDevice.profiles)
    func checks(profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        func layer(_ outputs: Int, stride: Int, groups: Int = 1) -> Network {
            Network("layer", input: [16, 7, 6]) {
                $0.convolution($1, outputs, kernel: 3, stride: stride, groups: groups, name: "c")
            }
        }
        let norm = Network("norm", input: [16, 3, 5]) { $0.relu($0.batchNorm($1, name: "n")) }
        var cases: [any BenchmarkCase] = [LayerBenchmark.Direction.forward, .inputGradient, .weightGradient].flatMap {
            direction in
            [layer(16, stride: 1), layer(32, stride: 2), layer(16, stride: 1, groups: 16)].map {
                LayerBenchmark("layer", direction, network: $0, batch: 3, shape: "")
            }
        }
        cases.append(LayerBenchmark("layer", .frozenForward, network: layer(16, stride: 1), batch: 3, shape: ""))
        cases += [.forward, .backward].map { LayerBenchmark("norm", $0, network: norm, batch: 3, shape: "") }
        cases += [false, true].flatMap { a in
            [false, true].map { b in GemmBenchmark(m: 9, n: 33, k: 65, transposeA: a, transposeB: b) }
        }
        cases += AugmentationBenchmark.Kind.allCases.map { AugmentationBenchmark($0, batch: 2) }
        cases += [
            OptimizerBenchmark("sgd", .sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)), count: 3000),
            OptimizerBenchmark("adamw", .adamW(AdamW(learningRate: 1e-3)), count: 3000),
        ]
        for benchmark in cases {
            let run = try benchmark.prepare(on: engine)
            try run.enqueue()
            let worst = try run.check()
            #expect(worst <= 1, "\(benchmark.name) \(benchmark.shape): \(worst)")
        }
    }

    @Test(
        "every method's loss gives what the reference gives, label revision with means over some of the rows",
        .enabled(if: TestDevice.enabled, "no OpenCL device"), arguments: TestDevice.profiles)
    func losses(profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        for method in Method.defaults {
            let run = try LossBenchmark(method, rows: 21, classes: 30).prepare(on: engine)
            try run.enqueue()
            let worst = try run.check()
            #expect(worst > 0 && worst <= 1, "\(method.id): \(worst)")
        }
    }

    @Test(
        "in tf32, products are those of linear layers and steps are held to a reference that rounds",
        .enabled(if: TestDevice.enabled, "no OpenCL device"))
    func reducedPrecision() throws {
        let engine = try DeviceEngine(
            TestDevice.device(), profile: .gpu, registers: nil, precision: .tf32, emulatesMatrixUnits: true)
        let products = try ["nt", "nn", "tn"].map { try #require(LayerBenchmark.product($0, m: 9, n: 33, k: 65)) }
        #expect(LayerBenchmark.product("tt", m: 9, n: 33, k: 65) == nil)
        for product in products { #expect(product.shape == "9x33x65" && product.flops == 2.0 * 9 * 33 * 65) }
        let step = try StepBenchmark(.whole, teacher: "resnet8", student: "resnet8", batch: 4, classes: 5, input: [3, 8, 8])
        let half = try StepBenchmark(
            .whole, teacher: "resnet8", student: "resnet8", batch: 4, classes: 5, input: [3, 8, 8], teacherStorage: .half)
        for benchmark in products + [step, half] as [any BenchmarkCase] {
            let run = try benchmark.prepare(on: engine)
            try run.enqueue()
            let worst = try run.check()
            #expect(worst > 0 && worst <= 1, "\(benchmark.name) \(benchmark.shape): \(worst)")
        }
    }
}
