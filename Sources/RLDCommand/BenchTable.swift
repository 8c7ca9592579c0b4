import RLD
import RLDBenchmarks

/// What `rld bench` prints: the columns that say something for a group.
struct BenchTable {
    /// GB/s; nil where no case counts bytes.
    let copy: Double?
    /// GFLOP/s; nil where no case counts operations.
    let peak: Double?
    private let columns: [(TextTable.Column, (BenchmarkResult) -> String)]
    private let table: TextTable

    init(group: BenchGroup, copy: Double?, peak: Double?) {
        (self.copy, self.peak) = (copy, peak)
        func right(_ title: String, _ width: Int) -> TextTable.Column { .init(title, width: width, alignment: .right) }
        func number(_ value: Double?, _ decimals: Int) -> String {
            value.map { NumberText.fixed($0, decimals: decimals) } ?? ""
        }
        func microseconds(_ value: Double) -> String { NumberText.fixed(value * 1e6, decimals: value < 1e-3 ? 1 : 0) }
        func percent(_ value: Double?, _ whole: Double?) -> String {
            guard let value, let whole else { return "" }
            return NumberText.fixed(100 * value / whole, decimals: 1) + " %"
        }
        var columns: [(TextTable.Column, (BenchmarkResult) -> String)] = [
            (
                .init("case", width: group.isBrief ? 34 : 15),
                { $0.provider == "rld" ? $0.name : "\($0.name), \($0.provider.dropFirst(4))" }
            ),
            (.init("shape", width: 30), { $0.shape }), (right("device us", 11), { microseconds($0.device.p50) }),
            (right("p20 .. p80", 21), { "\(microseconds($0.device.p20)) .. \(microseconds($0.device.p80))" }),
            (right("wall us", 11), { microseconds($0.wall.p50) }),
        ]
        if [.losses, .elementwise].contains(group) {
            columns += [
                (right("GB/s", 7), { number($0.bandwidth?.p50, 2) }),
                (right("of copy", 8), { percent($0.bandwidth?.p50, copy) }),
            ]
        }
        if [.gemm, .convolution, .step].contains(group) {
            columns += [
                (right("GFLOP/s", 8), { number($0.rate?.p50, 1) }), (right("of peak", 8), { percent($0.rate?.p50, peak) }),
            ]
        }
        if [.step, .epoch, .pictures].contains(group) {
            columns.append((right("images/s", 8), { number($0.imagesPerSecond?.p50, 1) }))
        }
        columns += [
            (right("launches", 8), { "\($0.launches)" }), (right("MiB", 6), { "\($0.memory >> 20)" }),
            (right("runs", 5), { "\($0.runs)" }),
            (right("error/bound", 11), { $0.worstError.map { number($0, 3) } ?? "unchecked" }),
            (right("setup s", 7), { number($0.setup, 1) }), (right("building s", 10), { number($0.building, 1) }),
        ]
        self.columns = columns
        table = TextTable(columns.map(\.0))
    }

    /// What the shares are shares of.
    var yardsticks: [String] {
        [
            copy.map { "copy bandwidth: \(NumberText.fixed($0, decimals: 1)) GB/s (256 MB buffers)" },
            peak.map { "arithmetic peak: \(NumberText.fixed($0, decimals: 1)) GFLOP/s (multiply-adds, float32)" },
        ].compactMap { $0 }
    }

    var header: String { table.header }

    func row(_ result: BenchmarkResult) -> String { table.row(columns.map { $0.1(result) }) }

    /// One line per kernel of the result's last run.
    func kernels(_ result: BenchmarkResult) -> [String] {
        let times = LaunchTrace.byKernel(result.records)
        let total = times.reduce(0) { $0 + $1.seconds }
        return times.map { time in
            let share = NumberText.fixed(100 * time.seconds / total, decimals: 1)
            return
                "    \(NumberText.fixed(time.seconds * 1e6, decimals: 0)) us, \(share) %, \(time.launches) launches: \(time.kernel)"
        }
    }
}
