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
        var table = [["run", "model", "method", "epochs", "best epoch", "chosen on", "test top-1, best", "test top-1, last"]]
        var (loss, accuracy, steps, rate): ([Curve], [Curve], [Curve], [Curve]) = ([], [], [], [])
        for (index, run) in runs.enumerated() {
            let metrics = try RunMetrics(run)
            var reader = ConfigurationReader()
            try reader.read(file: run + "/config.yaml")
            let configuration = try reader.finish().configuration
            let best = metrics.tests.first { $0.weights == "best" }
            let last = metrics.tests.first { $0.weights == "last" }
            func percent(_ test: TestRecord?) -> String { test.map { NumberText.percent($0.accuracy) } ?? "-" }
            table.append([
                run, configuration.model, configuration.objective.id, "\(metrics.epochs.count)",
                metrics.epochs.last(where: \.best).map { "\($0.epoch)" } ?? "-", best?.selectedOn ?? "-", percent(best),
                percent(last),
            ])
            func curve(_ name: String, dashed: Bool = false, _ value: (EpochRecord) -> Double?) -> Curve {
                Curve(
                    runs.count > 1 ? "\(run): \(name)" : name,
                    metrics.epochs.compactMap { record in value(record).map { (Double(record.epoch), $0) } }, colour: index,
                    dashed: dashed)
            }
            loss.append(curve("training", dashed: true) { $0.trainLoss })
            loss.append(curve("validation (cross-entropy)") { $0.validationLoss })
            loss.append(curve("test (cross-entropy)") { $0.testLoss })
            accuracy.append(curve("training", dashed: true) { 100 * $0.trainAccuracy })
            accuracy.append(curve("validation") { $0.validationAccuracy.map { 100 * $0 } })
            accuracy.append(curve("test") { $0.testAccuracy.map { 100 * $0 } })
            rate.append(curve("learning rate") { $0.learningRate })
            steps.append(
                Curve(
                    runs.count > 1 ? run : "training",
                    metrics.steps.map { ((Double($0.epoch) - 1) * Double($0.steps) + Double($0.step), $0.loss) }, colour: index))
        }
        func shown(_ curves: [Curve]) -> [Curve] { curves.filter { !$0.points.isEmpty } }
        let html = CurvePage.html(
            title: runs.count == 1 ? runs[0] : "\(runs.count) runs", table: table,
            figures: [
                Figure("Accuracy, per cent", xLabel: "epoch", curves: shown(accuracy)),
                Figure("Loss", xLabel: "epoch", curves: shown(loss)),
                Figure("Loss by step", xLabel: "step", curves: shown(steps)),
                Figure("Learning rate", xLabel: "epoch", curves: shown(rate)),
            ])
        try AtomicFile.write(Array(html.utf8), to: output)
        if !quiet { Output.line(output) }
    }
}
