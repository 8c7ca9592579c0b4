import RLD
import RLDBenchmarks

/// Which cases `rld bench` runs.
extension BenchCommand {
    /// The profile is asked for only where it decides.
    func cases(
        of group: BenchGroup, profile: @autoclosure () throws -> KernelProfile, precision: Precision
    ) throws -> [any BenchmarkCase] {
        switch group {
        case .losses: try lossCases()
        case .gemm: try gemmCases(profile, precision)
        case .convolution: try convolutionCases()
        case .elementwise: try elementwiseCases()
        case .step: try stepCases()
        case .epoch, .pictures: try checkNothingChosen()
        }
    }

    /// An epoch is one case, reading pictures another.
    private func checkNothingChosen() throws(InputError) -> [any BenchmarkCase] {
        for name in names(only) ?? [] where name != group { throw InputError.unknown("case", name, known: [group]) }
        return []
    }

    private func stepCases() throws -> [any BenchmarkCase] {
        let all = StepBenchmark.Part.allCases
        let parts = try names(only).map { names in
            try names.map { name in
                guard let part = StepBenchmark.Part(rawValue: name) else {
                    throw InputError.unknown("case", name, known: all.map(\.rawValue))
                }
                return part
            }
        }
        return try (parts ?? all).map(stepBenchmark)
    }

    func stepBenchmark(_ part: StepBenchmark.Part) throws -> StepBenchmark {
        guard let storage = TeacherStorage(rawValue: teacherStorage) else {
            throw InputError.unknown("teacher storage", teacherStorage, known: TeacherStorage.allCases.map(\.rawValue))
        }
        return try StepBenchmark(
            part, teacher: teacherOfStep, student: studentOfStep, batch: imagesOfStep, teacherStorage: storage)
    }

    /// In tf32 the directions of linear layers; CLBlast computes in float32.
    private func gemmCases(_ profile: () throws -> KernelProfile, _ precision: Precision) throws -> [any BenchmarkCase] {
        let sizes = try names(shapes)?.map { text in
            let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) ?? 0 }
            guard parts.count == 3, parts.allSatisfy({ (1...1 << 16).contains($0) }) else {
                throw InputError("shape '\(text)'", "is not MxNxK", advice: "for example 64x100x256")
            }
            return (m: parts[0], n: parts[1], k: parts[2])
        }
        let kinds = names(only) ?? ["nn", "nt", "tn"]
        for kind in kinds where !GemmBenchmark.names.contains(kind) {
            throw InputError.unknown("case", kind, known: GemmBenchmark.names)
        }
        return try (sizes ?? GemmBenchmark.sizes(profile())).flatMap { size in
            try kinds.map { kind -> any BenchmarkCase in
                guard precision == .float32 else {
                    guard let layer = LayerBenchmark.product(kind, m: size.m, n: size.n, k: size.k) else {
                        throw InputError("case '\(kind)'", "is no direction of a layer, and \(precision.rawValue) has no other")
                    }
                    return layer
                }
                return GemmBenchmark(
                    m: size.m, n: size.n, k: size.k, transposeA: kind.first == "t", transposeB: kind.last == "t")
            }
        }
    }

    private func convolutionCases() throws -> [any BenchmarkCase] {
        func network(_ id: String) throws(InputError) -> Network {
            let isLarge = id.hasPrefix("imagenet_")
            return try ModelCatalog.network(
                id, classes: isLarge ? 1000 : 100, input: [3, isLarge ? 224 : 32, isLarge ? 224 : 32])
        }
        let listed = try names(networks)?.flatMap { $0 == "paper" ? ConvolutionBenchmarks.paperNetworks : [$0] }.map(network)
        let cases = ConvolutionBenchmarks.cases(
            frozen: try listed ?? [network(teacherOfStep)], trained: try listed ?? [network(studentOfStep)], batch: imagesOfStep)
        return try choose(cases) { $0.mode }
    }

    private func elementwiseCases() throws -> [any BenchmarkCase] {
        let parameters = try ModelCatalog.network(studentOfStep, classes: 100).parameterCount
        let cases = ElementwiseBenchmarks.cases(batch: imagesOfStep, parameters: parameters)
        return try choose(cases) { benchmark in
            ElementwiseBenchmarks.names.first { benchmark.name.hasPrefix($0) } ?? benchmark.name
        }
    }

    /// The cases that `--only` asks for, by a name that several may share.
    private func choose<Case>(_ cases: [Case], name: (Case) -> String) throws(InputError) -> [Case] {
        guard let wanted = names(only) else { return cases }
        let known = cases.map(name)
        for word in wanted where !known.contains(word) {
            throw InputError.unknown("case", word, known: Array(Set(known)).sorted())
        }
        return cases.filter { wanted.contains(name($0)) }
    }

    private func lossCases() throws -> [any BenchmarkCase] {
        let sizes = try names(shapes).map { try $0.map(size) } ?? LossBenchmark.shapes
        let unfused = UnfusedLoss.methodIDs.map { "\($0)-unfused" }
        let known = Method.ids + unfused
        let chosen = names(only)
        for name in chosen ?? [] where !known.contains(name) { throw InputError.unknown("case", name, known: known) }
        return try sizes.flatMap { rows, classes in
            try (chosen ?? known).compactMap { name -> (any BenchmarkCase)? in
                let isUnfused = unfused.contains(name)
                let id = isUnfused ? String(name.dropLast("-unfused".count)) : name
                let benchmark = LossBenchmark(try Method.make(id: id).method, rows: rows, classes: classes)
                // By default no larger than what fits and can be checked.
                let limit =
                    isUnfused
                    ? UnfusedLossBenchmark.largest
                    : benchmark.method.comparesRows ? LossBenchmark.largestAlignment : Int.max
                guard chosen != nil || rows * classes <= limit else { return nil }
                return isUnfused ? UnfusedLossBenchmark(benchmark) : benchmark
            }
        }
    }

    private func names(_ list: String?) -> [String]? { list?.split(separator: ",").map(String.init) }

    private func size(_ text: String) throws(InputError) -> (Int, Int) {
        let parts = text.split(separator: "x", omittingEmptySubsequences: false).map { Int($0) }
        guard parts.count == 2, let rows = parts[0], let classes = parts[1], rows > 0, classes > 0, rows < 1 << 31,
            classes < 1 << 24
        else { throw InputError("shape '\(text)'", "is not ROWSxCLASSES", advice: "for example 512x1000") }
        return (rows, classes)
    }
}
