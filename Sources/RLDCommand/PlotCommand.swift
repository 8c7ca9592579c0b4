import ArgumentParser
import Foundation
import RLD

struct PlotCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "plot", abstract: "Loss and accuracy curves of one or several runs, as one HTML file.",
        discussion: "Example: rld plot runs/kd runs/rld --output curves.html")

    @Argument(help: "Folders of runs.", completion: .directory)
    var runs: [String]

    @Option(
        name: [.customLong("output"), .customShort("o")], help: "The file to write.", completion: .file(extensions: ["html"]))
    var output = "curves.html"

    @Flag(help: "Print nothing but errors.")
    var quiet = false

    func run() throws {
        var table = [
            ["run", "model", "method", "seed", "epochs", "best epoch", "chosen on", "test top-1, best", "test top-1, last"]
        ]
        var (loss, accuracy, steps, rate): ([Curve], [Curve], [Curve], [Curve]) = ([], [], [], [])
        var terms: [String: [Curve]] = [:]
        var seeds = SeedGroups()
        for (index, run) in runs.enumerated() {
            let metrics = try RunMetrics(run)
            var reader = ConfigurationReader()
            try reader.read(file: run + "/config.yaml")
            let configuration = try reader.finish().configuration
            let best = metrics.tests.first { $0.weights == "best" }
            let last = metrics.tests.first { $0.weights == "last" }
            func percent(_ test: TestRecord?) -> String { test.map { NumberText.percent($0.accuracy) } ?? "-" }
            table.append([
                run, configuration.model, configuration.objective.id, "\(configuration.seed)", "\(metrics.epochs.count)",
                metrics.epochs.last(where: \.best).map { "\($0.epoch)" } ?? "-", best?.selectedOn ?? "-", percent(best),
                percent(last),
            ])
            seeds.add(configuration, best: best?.accuracy, last: last?.accuracy)
            func curve(_ name: String, dashed: Bool = false, _ value: (EpochRecord) -> Double?) -> Curve {
                Curve(
                    runs.count > 1 ? "\(run): \(name)" : name,
                    metrics.epochs.compactMap { record in value(record).map { (Double(record.epoch), $0) } }, colour: index,
                    dashed: dashed)
            }
            loss.append(curve("training, weighted total", dashed: true) { $0.trainLoss })
            loss.append(curve("validation (cross-entropy)") { $0.validationLoss })
            loss.append(curve("test (cross-entropy)") { $0.testLoss })
            accuracy.append(curve("training", dashed: true) { 100 * $0.trainAccuracy })
            accuracy.append(curve("validation") { $0.validationAccuracy.map { 100 * $0 } })
            accuracy.append(curve("test") { $0.testAccuracy.map { 100 * $0 } })
            rate.append(curve("learning rate") { $0.learningRate })
            // By epoch: a run that goes on with another batch has another number of steps from there.
            steps.append(
                Curve(
                    runs.count > 1 ? run : "training",
                    metrics.steps.map { (Double($0.epoch) - 1 + Double($0.step) / Double(max($0.steps, 1)), $0.loss) },
                    colour: index))
            for term in configuration.objective.termNames {
                terms[term, default: []].append(curve("training") { $0.terms[term] })
            }
        }
        table += seeds.rows
        func shown(_ curves: [Curve]) -> [Curve] { curves.filter { !$0.points.isEmpty } }
        let html = CurvePage.html(
            title: runs.count == 1 ? runs[0] : "\(runs.count) runs", table: table,
            figures: [
                Figure("Accuracy, per cent", xLabel: "epoch", curves: shown(accuracy)),
                Figure("Loss (totals of two methods do not compare)", xLabel: "epoch", curves: shown(loss)),
                Figure("Training loss by step, weighted total", xLabel: "epoch", curves: shown(steps)),
            ]
                + terms.sorted { $0.key < $1.key }.map { name, curves in
                    Figure("Term \(name) in training, unweighted", xLabel: "epoch", curves: shown(curves))
                } + [Figure("Learning rate", xLabel: "epoch", curves: shown(rate))])
        try AtomicFile.write(Array(html.utf8), to: output)
        if !quiet { Output.line(output) }
    }
}

/// Runs that differ in nothing but their seeds, and what that makes of their accuracy.
struct SeedGroups {
    private struct Member {
        var model: String
        var method: String
        var seed: UInt64
        var best: Double?
        var last: Double?
    }

    private var groups: [(settings: [String: String], members: [Member])] = []

    /// - Parameters:
    ///   - best, last: top-1 on the test images, a share of one.
    mutating func add(_ configuration: TrainingConfiguration, best: Double?, last: Double?) {
        let settings = configuration.values.filter { !["seed", "device", "log_every"].contains($0.key) }
        let member = Member(
            model: configuration.model, method: configuration.objective.id, seed: configuration.seed, best: best, last: last)
        if let index = groups.firstIndex(where: { $0.settings == settings }) {
            groups[index].members.append(member)
        } else {
            groups.append((settings, [member]))
        }
    }

    /// A row of the table for each group of several seeds: mean and deviation (n - 1).
    var rows: [[String]] {
        groups.filter { $0.members.count > 1 && Set($0.members.map(\.seed)).count == $0.members.count }.map { _, members in
            [
                "mean of \(members.count)", members[0].model, members[0].method, "\(members.count) seeds", "", "", "",
                Self.text(members.map(\.best)), Self.text(members.map(\.last)),
            ]
        }
    }

    private static func text(_ shares: [Double?]) -> String {
        let known = shares.compactMap { $0 }
        guard known.count == shares.count, known.count > 1 else { return "-" }
        let mean = known.reduce(0, +) / Double(known.count)
        let deviation = (known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(known.count - 1)).squareRoot()
        return "\(NumberText.fixed(100 * mean, decimals: 2)) ± \(NumberText.percent(deviation))"
    }
}
