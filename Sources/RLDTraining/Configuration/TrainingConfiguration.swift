import Foundation
import RLDDatasets
import RLDFormats
import RLDGraph
import RLDMethods

/// Everything that decides a training run, as one value. The defaults are the authors' CIFAR recipe.
public struct TrainingConfiguration: Sendable, Equatable {
    /// Published id of the network to train ("resnet8").
    public var model = "resnet8"
    /// NAME or NAME:PATH, as `DatasetCatalog` reads it.
    public var data = "fashion-mnist"
    /// Only the first so many training images; nil for all.
    public var limit: Int?
    /// Side of the square that the network gets to see; nil for what suits the data set.
    public var imageSize: Int?
    /// Per channel, of pixels scaled to 0...1; nil for the data set's own. A teacher from elsewhere may have been trained with others.
    public var normalizationMean: [Double]?
    public var normalizationDeviation: [Double]?
    /// Share of the images that become the test set, where the files have none.
    public var testShare = 0.2
    /// Leave damaged files out instead of stopping at the first.
    public var skipBroken = false
    /// Whether images come to the device batch by batch instead of all at once. Decides nothing about the numbers.
    public var streaming = Streaming.auto
    /// Below 1 a share of the training images, from 1 on a number of images; 0 for no validation part; nil for the part that the
    /// data set brings, or a tenth of the training images where it brings none.
    public var validation: Double?
    /// Of the fresh weights, the order of the images and their augmentation.
    public var seed: UInt64 = 1
    public var epochs = 240
    public var batchSize = 64
    public var optimizerKind = OptimizerKind.sgd
    /// Learning rate and weight decay of either optimiser, momentum of SGD.
    public var optimizer = SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)
    /// Of AdamW.
    public var beta1 = 0.9
    public var beta2 = 0.999
    public var epsilon = 1e-8
    /// Longest gradient over all parameters; 0 for no limit.
    public var clipNorm = 0.0
    /// Of the moving average of the weights, which is then what is evaluated and saved; 0 for none.
    public var averageDecay = 0.0
    /// Batches whose gradients are added up for one update.
    public var accumulation = 1
    public var schedule = Schedule()
    /// Pixels of zero padding before a random crop, 0 for none; nil for what suits the data set.
    public var cropPadding: Int?
    /// Mirror left-right with probability one half; nil for what suits the data set.
    public var flip: Bool?
    /// Smallest share of the area that a random crop takes before it is scaled to the network's input, 0 for no such crop; nil
    /// for what suits the data set.
    public var resizedCrop: Double?
    /// Ranges of random factors, 0 for none.
    public var brightness = 0.0
    public var contrast = 0.0
    public var saturation = 0.0
    /// Parameters of the Beta distributions of mixup and cutmix, 0 for none.
    public var mixup = 0.0
    public var cutmix = 0.0
    /// Share of each label that is spread over the classes, in the cross-entropy with the label.
    public var labelSmoothing = 0.0
    /// Epochs between two evaluations; the last epoch is always evaluated.
    public var evaluateEvery = 1
    /// Ends the run when the best is so many epochs old, after an evaluation; 0 for never.
    public var earlyStopping = 0
    /// Which images choose the best epoch.
    public var select = Selection.validation
    public var method: Method = .crossEntropy(CrossEntropy())
    /// Several distillation terms, in place of `method`; in the order of their names.
    public var terms: [TermSettings] = []
    /// Several teachers, in place of the one of `teacherModel` and `teacherWeights`; in the order of their names.
    public var teachers: [TeacherSettings] = []
    /// Published id of the teacher's network.
    public var teacherModel: String?
    /// File with the teacher's weights.
    public var teacherWeights: String?
    /// Where they hang in the file ("model.student"); nil for the usual places.
    public var teacherKey: String?
    /// File with the weights to start from; nil for fresh ones.
    public var initialWeights: String?
    /// How they are fitted to the network.
    public var initialOptions = WeightOptions()
    /// Folder of cached teacher logits; nil for none.
    public var teacherCache: String?
    public var teacherCacheType = TeacherCacheType.float32
    /// Different augmentations of each image when the teacher's logits are cached.
    public var teacherCacheDraws = 4
    /// Of the activations of teachers; the executor must be made for it.
    public var teacherStorage = TeacherStorage.float32
    /// Steps between two readings of the metrics from the device.
    public var logEvery = 50
    /// Steps between two checkpoints within an epoch; 0 for one after each epoch only.
    public var checkpointEvery = 0
    /// How many of the newest checkpoints are kept, beside the best.
    public var checkpointKeep = 2
    /// Of the products of convolutions and linear layers; the executor must be made for it.
    public var precision = Precision.float32
    /// Index or name of the device, or "reference"; nil for the best one found.
    public var device: String?

    public init() {}

    /// Throws an `InputError` that names the first setting that cannot be.
    public func validate() throws(InputError) {
        try Setting.requireWhole(epochs, "epochs", atLeast: 1)
        try Setting.requireWhole(batchSize, "batch_size", atLeast: 1)
        try Setting.requireWhole(logEvery, "log_every", atLeast: 1)
        try Setting.requireWhole(checkpointEvery, "checkpoint.every", atLeast: 0)
        try Setting.requireWhole(checkpointKeep, "checkpoint.keep", atLeast: 1)
        try Setting.requireWhole(evaluateEvery, "evaluate_every", atLeast: 1)
        try Setting.requireWhole(earlyStopping, "early_stopping", atLeast: 0)
        if let limit { try Setting.requireWhole(limit, "limit", atLeast: 1) }
        if let validation { try Setting.requireImages(validation, "validation") }
        try Setting.requireShare(labelSmoothing, "label_smoothing")
        try validateOptimizer()
        try schedule.validate(epochs: epochs)
        if let cropPadding {
            try Setting.require((0...128).contains(cropPadding), "augmentation.crop_padding", "in 0...128", cropPadding)
        }
        if let resizedCrop {
            try Setting.require(resizedCrop >= 0 && resizedCrop <= 1, "augmentation.resized_crop", "in 0...1", resizedCrop)
        }
        for (key, value) in [
            ("brightness", brightness), ("contrast", contrast), ("saturation", saturation), ("mixup", mixup), ("cutmix", cutmix),
        ] { try Setting.requireNonNegative(value, "augmentation.\(key)") }
        try Setting.requireWhole(teacherCacheDraws, "teacher.cache_draws", atLeast: 1)
        if teacherCache != nil, mixup > 0 || cutmix > 0 {
            throw InputError("teacher.cache", "does not go with mixup or cutmix: each batch mixes other images")
        }
        try validateObjective()
    }

    /// What the run will really do, line by line, for a person to read before it starts.
    public var effectiveDescription: [String] { effectiveDescription(chosenOn: selectsNothing ? .last : select) }

    /// - Parameter selection: which images really choose the best epoch.
    func effectiveDescription(chosenOn selection: Selection) -> [String] {
        var lines = [
            "model      \(model), seed \(seed)",
            "data       \(data)" + (limit.map { ", first \($0) training images" } ?? "")
                + (validation == 0
                    ? ", no validation part"
                    : ", validation \(validation.map(\.plainText) ?? "by the part that the data brings")"),
            "optimizer  \(optimizerDescription)",
            "schedule   \(schedule.effectiveDescription(epochs: epochs))",
            "precision  \(precision.rawValue)",
            "training   \(epochs) epochs, batch \(batchSize), \(augmentationDescription)"
                + (labelSmoothing > 0 ? ", label smoothing \(labelSmoothing.plainText)" : ""),
            "best       chosen on \(selectionDescription(selection))",
        ]
        lines.insert(contentsOf: objectiveDescription, at: 2)
        if let initialWeights { lines.insert("start      weights \(initialWeights)", at: 1) }
        return lines
    }
}
