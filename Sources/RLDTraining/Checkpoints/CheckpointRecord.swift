import RLDExecution
import RLDMethods

/// What a checkpoint knows beside the tensors: where the run is and what it has seen. Random numbers and the order of the data
/// need no state of their own: they are functions of seed, epoch and image.
struct CheckpointRecord: Codable, Sendable, Equatable {
    /// Of the records that this program writes and reads.
    static let version = 1

    var version = Self.version
    /// The effective configuration as `TrainingConfiguration.yaml` writes it.
    var configuration: String
    /// The epoch that goes on, from 1; one more than the last when training is over.
    var epoch: Int
    /// Its steps that are done.
    var step: Int
    var stepsPerEpoch: Int
    /// Updates of the parameters that are done; nil in records from before they were counted.
    var updates: Int?
    /// Sums over the epoch up to the last logged step.
    var epochSums: ExactMetrics
    /// Sums over the steps since then, and the first of them.
    var pendingSums: ExactMetrics
    var firstUnread: Int
    var epochs: [EpochRecord]
    var bestEpoch: Int
    var bestScore: ExactDouble
    /// The checkpoint that holds the best weights; nil when this one does, or when no epoch was finished.
    var bestFile: String?
    /// Since the run began, over all its processes.
    var seconds: Double
    /// Bytes of the files that grow line by line.
    var fileLengths: [String: Int]
    var dataHash: String
    /// Hash of the teacher's weights, "" without a teacher.
    var teacherHash: String
    var executor: String
    /// The choices among kernels that the executor computed with; nil without a device.
    var tuning: Tuning?

    /// The updates that are done if every epoch had as many steps.
    func impliedUpdates(accumulation size: Int) -> Int {
        (epoch - 1) * ((stepsPerEpoch + size - 1) / size) + (step == stepsPerEpoch ? (step + size - 1) / size : step / size)
    }
}

/// A Double that JSON gives back to the last bit: as text, shortest form.
struct ExactDouble: Codable, Sendable, Equatable {
    var value: Double

    init(_ value: Double) { self.value = value }

    init(from decoder: any Decoder) throws {
        let text = try decoder.singleValueContainer().decode(String.self)
        guard let value = Double(text) else {
            throw DecodingError.dataCorrupted(.init(codingPath: decoder.codingPath, debugDescription: "'\(text)' is no number"))
        }
        self.value = value
    }

    func encode(to encoder: any Encoder) throws {
        var container = encoder.singleValueContainer()
        try container.encode("\(value)")
    }
}

/// `StepMetrics` to the last bit.
struct ExactMetrics: Codable, Sendable, Equatable {
    var rows: Int
    var terms: [ExactDouble]
    var total: ExactDouble
    var top1: Int
    var top5: Int

    init(_ metrics: StepMetrics) {
        rows = metrics.rows
        terms = metrics.termSums.map(ExactDouble.init)
        total = ExactDouble(metrics.totalSum)
        top1 = metrics.top1
        top5 = metrics.top5
    }

    var metrics: StepMetrics {
        StepMetrics(rows: rows, termSums: terms.map(\.value), totalSum: total.value, top1: top1, top5: top5)
    }
}
