import Foundation
import RLDGraph
import RLDMethods
import RLDReports

/// What the steps since the previous reading did: one line of metrics.jsonl.
public struct StepRecord: Sendable, Equatable, Codable {
    public var kind = "step"
    /// From 1.
    public var epoch: Int
    /// Steps of the epoch that are done.
    public var step: Int
    public var steps: Int
    /// Of the last of these steps.
    public var learningRate: Double
    /// Factor of the distillation terms.
    public var warmup: Double
    /// Images that these steps trained on.
    public var images: Int
    /// Weighted total, mean over the images.
    public var loss: Double
    /// Unweighted terms by name, mean over the images.
    public var terms: [String: Double]
    /// Shares of one.
    public var accuracy: Double
    public var top5: Double
    public var imagesPerSecond: Double
    /// Since the run began, all included.
    public var seconds: Double
    /// Estimate until the last epoch ends.
    public var secondsLeft: Double
}

/// What an epoch did: one line of metrics.jsonl.
public struct EpochRecord: Sendable, Equatable, Codable {
    public var kind = "epoch"
    public var epoch: Int
    public var epochs: Int
    /// Of the epoch's last step.
    public var learningRate: Double
    public var trainLoss: Double
    /// On the augmented images, in training mode, while the weights moved. Share of one.
    public var trainAccuracy: Double
    public var terms: [String: Double]
    /// Cross-entropy on the validation part; nil without one.
    public var validationLoss: Double?
    public var validationAccuracy: Double?
    public var validationTop5: Double?
    /// The same of the test set, where that was asked to choose the best epoch.
    public var testLoss: Double?
    public var testAccuracy: Double?
    public var testTop5: Double?
    /// Training loop only, without the first reading of the run (plans and kernels are built there).
    public var imagesPerSecond: Double
    /// Since the run began, all included.
    public var seconds: Double
    /// Whether this epoch's weights are the best so far.
    public var best: Bool

    /// Whether it ended with an evaluation.
    var isEvaluated: Bool { validationAccuracy != nil || testAccuracy != nil }
}

/// The test set's verdict on one set of weights: one line of metrics.jsonl.
public struct TestRecord: Sendable, Equatable, Codable {
    public var kind = "test"
    /// "last" or "best".
    public var weights: String
    /// The epoch that these weights ended.
    public var epoch: Int
    public var images: Int
    /// Cross-entropy, mean.
    public var loss: Double
    /// Shares of one.
    public var accuracy: Double
    public var top5: Double
    /// Which images chose the best epoch: "validation", "test" or "last".
    public var selectedOn: String
    /// Of the best weights.
    public var classes: [ClassAccuracy]?
}

/// How one class fared.
public struct ClassAccuracy: Sendable, Equatable, Codable {
    public var name: String
    public var images: Int
    /// Share of one; 0 without images.
    public var accuracy: Double
}

/// How a run ended: result.json.
public struct RunSummary: Sendable, Equatable, Codable {
    public var model: String
    public var epochs: Int
    public var bestEpoch: Int
    /// The test set with the last and with the best weights.
    public var last: TestRecord?
    public var best: TestRecord?
    public var imagesPerSecond: Double
    public var seconds: Double

    /// What `RunFolder` wrote.
    /// - Throws: `InputError` when it is something else.
    public init(json: Data, source: String) throws(InputError) {
        do {
            self = try RecordJSON.decoder().decode(RunSummary.self, from: json)
        } catch {
            throw InputError(source, "is no result of a run")
        }
    }

    init(
        model: String, epochs: Int, bestEpoch: Int, last: TestRecord?, best: TestRecord?, imagesPerSecond: Double, seconds: Double
    ) {
        self.model = model
        self.epochs = epochs
        self.bestEpoch = bestEpoch
        self.last = last
        self.best = best
        self.imagesPerSecond = imagesPerSecond
        self.seconds = seconds
    }
}

/// What a run tells while it goes on.
public enum TrainingEvent: Sendable {
    /// Lines about what the run will do, before its first step.
    case begins([String])
    case steps(StepRecord)
    case epoch(EpochRecord)
    case test(TestRecord)
    /// Something a person should know.
    case note(String)
}

extension StepMetrics {
    /// Unweighted terms by name, mean over the rows.
    func terms(named names: [String]) -> [String: Double] {
        Dictionary(uniqueKeysWithValues: zip(names, termSums.map { rows > 0 ? $0 / Double(rows) : 0 }))
    }

    /// Whether every number that it holds is finite.
    var isFinite: Bool { totalSum.isFinite && termSums.allSatisfy(\.isFinite) }
}

extension EpochRecord {
    /// One line for a person.
    public var text: String {
        let validation =
            validationAccuracy.map { ", validation \(NumberText.percent($0))" }
            ?? testAccuracy.map { ", test \(NumberText.percent($0))" } ?? ""
        return
            "epoch \(epoch)/\(epochs): loss \(NumberText.fixed(trainLoss, decimals: 4)), training "
            + "\(NumberText.percent(trainAccuracy))\(validation), \(NumberText.fixed(imagesPerSecond, decimals: 0)) images/s"
            + (best ? ", best so far" : "")
    }
}

extension TestRecord {
    /// One line for a person.
    public var text: String {
        let chosen =
            weights == "best" && selectedOn != "last" ? ", chosen on \(selectedOn == "test" ? "the TEST set" : selectedOn)" : ""
        return
            "test: \(weights) weights (epoch \(epoch)\(chosen)): top-1 \(NumberText.percent(accuracy)), top-5 "
            + "\(NumberText.percent(top5)), cross-entropy \(NumberText.fixed(loss, decimals: 4)), \(images) images"
    }
}
