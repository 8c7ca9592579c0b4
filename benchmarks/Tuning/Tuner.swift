import OpenCLRuntime
import RLDExecution
import RLDMethods

/// Searches CLBlast's parameters and the tiles of convolutions for the shapes of a training, one kernel after the other, within a time
/// budget. A candidate is checked against the reference before it is timed, and has to be faster by more than noise.
package final class Tuner {
    /// How far a search is.
    package struct Progress: Sendable {
        package var kernel: String
        package var done: Int
        package var total: Int
        /// Seconds of the budget that are left.
        package var secondsLeft: Double
        /// Time of the shapes of this kernel with what is best, over that before.
        package var best: Double
    }

    /// What was found for one kernel.
    package struct Finding: Sendable, Equatable {
        package var kernel: String
        /// Milliseconds per step in the shapes that it concerns, measured in turns at the end.
        package var before: Double
        package var after: Double
        package var choice: String
        package var tried: Int
        package var wrong: Int
        package var refused: Int
    }

    package private(set) var findings: [Finding] = []
    package private(set) var tuning: Tuning
    package let work: TuningWork
    private let device: Device
    private let profile: KernelProfile
    private let product: TileProduct
    private let deadline: ContinuousClock.Instant
    private let effort: BenchmarkSession.Effort
    private let candidates: (String) -> [ProductCandidates.Parameters]
    private let tiles: (String, [Int]) -> [Int]
    private let progress: (Progress) -> Void
    private var done = 0
    private var total = 0

    /// A candidate has to save this share.
    private static let margin = 0.03

    /// - Parameters:
    ///   - precision: of the training, whose tiles have choices of their own.
    ///   - budget: seconds, after which no further candidate is begun.
    ///   - candidates: of CLBlast's kernels by name; nil for those that suit the device.
    ///   - tiles: of a use by its name, and all that it can have: those to try; nil for all.
    package init(
        _ step: StepBenchmark, device: Device, profile: KernelProfile?, precision: Precision = .float32, budget: Double,
        effort: BenchmarkSession.Effort = .quick,
        candidates: ((String) -> [ProductCandidates.Parameters])? = nil, tiles: ((String, [Int]) -> [Int])? = nil,
        progress: @escaping (Progress) -> Void = { _ in }
    ) throws {
        let profile = try profile ?? KernelProfile.automatic(for: device)
        let engine = try DeviceEngine(device, profile: profile, precision: precision)
        (self.device, self.profile, self.effort, self.progress) = (device, profile, effort, progress)
        product = engine.tileProduct
        self.candidates = candidates ?? { ProductCandidates.candidates($0, profile: device.isCPU ? .cpu : .gpu) }
        self.tiles = tiles ?? { $1 }
        tuning = engine.tuning.tuning
        deadline = .now + .seconds(budget)
        work = try TuningWork(step, on: engine)
    }

    private var isOver: Bool { ContinuousClock.now >= deadline }
    private var secondsLeft: Double { max(0, seconds(ContinuousClock.now.duration(to: deadline))) }

    /// What is tried of one use of tiles.
    private struct TileSearch {
        var use: String
        var values: [Int]
        var text: (Int) -> String
        var layers: [(benchmark: LayerBenchmark, layer: ConvolutionBenchmarks.Layer, count: Int)]
    }

    /// In the order in which they are searched, with what the tuning has now.
    private var tileSearches: [TileSearch] {
        switch profile {
        case .cpu:
            let kind = RegisterClass(nativeFloatWidth: device.nativeFloatWidth)
            let present = RegisterTiles(kind, rows: tuning.tiles)
            return RegisterTiles.Use.allCases.map { use in
                TileSearch(
                    use: use.rawValue, values: tiles(use.rawValue, use.rows).filter { $0 != present.rows(use) },
                    text: { "\($0) rows" }, layers: work.layers(use, kind))
            }
        case .gpu:
            let present = TileChoices(device, product: product, values: tuning.tiles)
            return TileChoices.Use.allCases.map { use in
                let name = use.name(product.precision)
                return TileSearch(
                    use: name, values: tiles(name, use.values(product.precision)).filter { $0 != present.value(use) },
                    text: use.text, layers: work.layers(use, present))
            }
        }
    }

    /// Searches; `tuning` and `findings` then hold the result.
    package func run() throws {
        let uses = tileSearches
        total =
            uses.reduce(0) { $0 + $1.values.count }
            + (work.products.isEmpty ? 0 : ProductCandidates.kernels.reduce(0) { $0 + candidates($1).count })
        for index in uses.indices {
            // Which layers a use concerns may depend on what was chosen before.
            let search = tileSearches[index]
            try self.search(
                search.use, search.layers.isEmpty ? [] : search.values.map(search.text),
                cases: search.layers.map { ($0.benchmark, $0.count) },
                set: { tuning, candidate in tuning.tiles[search.use] = search.values[candidate] })
            if search.layers.isEmpty { done += search.values.count }
        }
        guard !work.products.isEmpty else { return }
        for kernel in ProductCandidates.kernels {
            let sets = candidates(kernel)
            try search(
                kernel, sets.map { $0.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ") },
                cases: work.products.map { ($0.product.benchmark, $0.count) },
                set: { tuning, index in tuning.clblast[kernel] = sets[index] })
        }
    }

    /// Tries one kernel's candidates on its cases, and keeps the best.
    private func search(
        _ kernel: String, _ names: [String], cases: [(any BenchmarkCase, Int)], set: (inout Tuning, Int) -> Void
    ) throws {
        var finding = Finding(kernel: kernel, before: 0, after: 0, choice: "as before", tried: 0, wrong: 0, refused: 0)
        guard !isOver, !names.isEmpty else {
            done += names.count
            return
        }
        let before = tuning
        // CLBlast cannot be set back to its own parameters within a process: where those were in use, they are not measured again.
        let canReturn = !ProductCandidates.kernels.contains(kernel) || before.clblast[kernel] != nil
        guard let base = try time(cases, before) else {
            done += names.count
            (finding.before, finding.after, finding.choice) = (.nan, .nan, "wrong as it is")
            findings.append(finding)
            return
        }
        var best = base
        var quickest: (tuning: Tuning, time: Double)?
        for index in names.indices {
            defer { done += 1 }
            guard !isOver else { continue }
            progress(Progress(kernel: kernel, done: done, total: total, secondsLeft: secondsLeft, best: best / base))
            var candidate = before
            set(&candidate, index)
            guard candidate != before else { continue }
            finding.tried += 1
            do {
                guard let found = try time(cases, candidate) else {
                    finding.wrong += 1
                    continue
                }
                if found < quickest?.time ?? .infinity { quickest = (candidate, found) }
                if found < best * (1 - Self.margin) {
                    best = found
                    tuning = candidate
                    finding.choice = names[index]
                }
            } catch let error as DeviceError where ![.badEnvironment, .deviceLost, .noDevice].contains(error.code) {
                // Parameters that this device or CLBlast does not take.
                finding.refused += 1
            }
        }
        // Once more in turns: the first measurement may have met a slow moment.
        (finding.before, finding.after) = (1e3 * base, 1e3 * base)
        if !canReturn {
            finding.after = 1e3 * best
            // What comes next is not measured beside the last candidate, whatever that was.
            if let quickest { _ = try time(cases, quickest.tuning, checked: false) }
        } else if tuning != before {
            let pairs = try (0..<3).map { _ in
                (try time(cases, before, checked: false) ?? .nan, try time(cases, tuning, checked: false) ?? .nan)
            }
            finding.before = 1e3 * Spread(pairs.map(\.0)).p50
            finding.after = 1e3 * Spread(pairs.map(\.1)).p50
            if !pairs.allSatisfy({ $0.1 < $0.0 }) {
                tuning = before
                (finding.choice, finding.after) = ("as before", finding.before)
            }
        }
        findings.append(finding)
    }

    /// Seconds that the cases take, each as often as a step does; nil if one of them is wrong.
    private func time(_ cases: [(any BenchmarkCase, Int)], _ tuning: Tuning, checked: Bool = true) throws -> Double? {
        let session = try BenchmarkSession(
            device, profile: profile, effort: effort, tuning: ChosenTuning(tuning, source: "being tuned"),
            precision: product.precision, timesWallApart: false)
        var sum = 0.0
        for (benchmark, count) in cases {
            do { sum += Double(count) * (try session.run(benchmark, checked: checked).device.p50) } catch is BenchmarkError {
                return nil
            }
        }
        return sum
    }
}
