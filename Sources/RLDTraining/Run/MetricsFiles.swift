import Foundation
import RLDGraph
import RLDReports

/// A line of metrics.jsonl that other tools can read too.
protocol RunRecord: Encodable {
    /// By column of metrics.csv, without the terms.
    var cells: [String: String] { get }
    /// Unweighted terms by name.
    var terms: [String: Double] { get }
    /// For TensorBoard: numbers by tag, over the run's steps or its epochs.
    var scalars: [(tag: String, value: Double)] { get }
    var scalarStep: Int { get }
}

/// The files of a run that grow: metrics.jsonl (everything, full precision), metrics.csv (the same as a table) and TensorBoard's
/// event file.
final class MetricsFiles {
    static let names = ["metrics.jsonl", "metrics.csv", EventFile.name]

    private let lines: LineFile
    private let table: MetricsTable
    private let events: LineFile

    /// - Parameters:
    ///   - terms: names of the objective's terms, the table's last columns.
    ///   - lengths: bytes of the files where the run goes on; what was written after that is cut off. The table follows the lines.
    init(folder: String, terms: [String], lengths: [String: Int] = [:]) throws(InputError) {
        for name in Self.names where name != Self.names[1] {
            if let length = lengths[name] { try LineFile.cut("\(folder)/\(name)", to: length) }
        }
        let path = folder + "/metrics.jsonl"
        table = try MetricsTable(
            path: folder + "/metrics.csv", terms: terms, keeping: lengths.isEmpty ? 0 : LineFile.count(path))
        lines = try LineFile(path: path)
        events = try LineFile(path: "\(folder)/\(EventFile.name)")
        if try events.flush() == 0 { try events.append(bytes: EventFile.version(at: Self.now)) }
    }

    private static var now: Double { Date().timeIntervalSince1970 }

    /// - Parameter json: the record as one line.
    func append(_ record: some RunRecord, json: String) throws(InputError) {
        try lines.append(json)
        try table.append(record)
        try events.append(bytes: EventFile.scalars(record.scalars, step: record.scalarStep, at: Self.now))
    }

    func text(_ tag: String, _ text: String, step: Int) throws(InputError) {
        try events.append(bytes: EventFile.text(tag, text, step: step, at: Self.now))
    }

    func image(_ tag: String, _ image: BarImage, step: Int) throws(InputError) {
        try events.append(
            bytes: EventFile.image(tag, png: image.png, width: image.width, height: image.height, step: step, at: Self.now))
    }

    /// Their bytes, all of them safe on the disk.
    func lengths() throws(InputError) -> [String: Int] {
        [Self.names[0]: try lines.flush(), Self.names[1]: try table.flush(), Self.names[2]: try events.flush()]
    }
}

extension StepRecord: RunRecord {
    var cells: [String: String] {
        [
            "kind": kind, "epoch": "\(epoch)", "step": "\(step)", "images": "\(images)", "learning_rate": "\(learningRate)",
            "warmup": "\(warmup)", "loss": "\(loss)", "accuracy": "\(accuracy)", "top5": "\(top5)",
            "images_per_second": "\(imagesPerSecond)", "seconds": "\(seconds)",
        ]
    }

    var scalarStep: Int { (epoch - 1) * steps + step }

    var scalars: [(tag: String, value: Double)] {
        [("step/loss", loss), ("step/accuracy", accuracy), ("step/learning rate", learningRate)]
            + terms.sorted { $0.key < $1.key }.map { ("step/term \($0.key)", $0.value) }
    }
}

extension EpochRecord: RunRecord {
    var cells: [String: String] {
        var cells = [
            "kind": kind, "epoch": "\(epoch)", "learning_rate": "\(learningRate)", "loss": "\(trainLoss)",
            "accuracy": "\(trainAccuracy)", "images_per_second": "\(imagesPerSecond)", "seconds": "\(seconds)", "best": "\(best)",
        ]
        for (name, value) in [
            ("validation_loss", validationLoss), ("validation_accuracy", validationAccuracy), ("validation_top5", validationTop5),
            ("test_loss", testLoss), ("test_accuracy", testAccuracy), ("test_top5", testTop5),
        ] { cells[name] = value.map { "\($0)" } }
        return cells
    }

    var scalarStep: Int { epoch }

    var scalars: [(tag: String, value: Double)] {
        var scalars = [
            (tag: "epoch/training loss", value: trainLoss), ("epoch/training accuracy", trainAccuracy),
            ("epoch/learning rate", learningRate),
            ("epoch/images per second", imagesPerSecond),
        ]
        for (tag, value) in [
            ("validation loss", validationLoss), ("validation accuracy", validationAccuracy), ("test loss", testLoss),
            ("test accuracy", testAccuracy),
        ] { if let value { scalars.append(("epoch/\(tag)", value)) } }
        return scalars
    }
}

extension TestRecord: RunRecord {
    var cells: [String: String] {
        [
            "kind": kind, "epoch": "\(epoch)", "weights": weights, "images": "\(images)", "test_loss": "\(loss)",
            "test_accuracy": "\(accuracy)", "test_top5": "\(top5)",
        ]
    }

    var terms: [String: Double] { [:] }
    var scalarStep: Int { epoch }

    var scalars: [(tag: String, value: Double)] {
        [("test/accuracy, \(weights)", accuracy), ("test/top-5, \(weights)", top5), ("test/loss, \(weights)", loss)]
    }
}
