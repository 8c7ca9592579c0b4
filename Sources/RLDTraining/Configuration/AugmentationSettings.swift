import RLDDatasets
import RLDGraph
import RLDMethods

extension TrainingConfiguration {
    /// How the data set is to be read.
    public var datasetOptions: DatasetOptions {
        var options = DatasetOptions(
            imageSize: imageSize, skipBroken: skipBroken, testShare: testShare, streaming: streaming)
        (options.mean, options.deviation) = (normalizationMean, normalizationDeviation)
        return options
    }

    /// How it is to be read for a device, on which it may be too large to be held.
    /// - Parameter surveyFolder: `DatasetOptions.surveyFolder`.
    public func datasetOptions(for executor: any NetworkExecutor, surveyFolder: String? = nil) -> DatasetOptions {
        var options = datasetOptions
        options.residentBytes = executor.residentImageBytes
        options.surveyFolder = surveyFolder
        return options
    }

    /// Whether a table's images come to the device batch by batch.
    func stages(_ table: ImageTable, on executor: any NetworkExecutor) -> Bool {
        streaming == .on || (streaming == .off ? table.stream != nil : executor.mustStage(table))
    }

    /// What the data set suggests, filled in where nothing was set.
    func completed(for dataset: Dataset) -> TrainingConfiguration {
        var result = self
        if dataset.validation == nil { result.validation = validation ?? DataSplit.usualShare }
        result.cropPadding = cropPadding ?? dataset.transform.cropPadding
        result.flip = flip ?? dataset.transform.horizontalFlip
        result.resizedCrop = resizedCrop ?? dataset.transform.resizedCrop
        let transform = dataset.transform
        for (setting, suggested) in [
            (\TrainingConfiguration.brightness, transform.brightness), (\.contrast, transform.contrast),
            (\.saturation, transform.saturation), (\.mixup, transform.mixup), (\.cutmix, transform.cutmix),
        ] where result[keyPath: setting] == 0 { result[keyPath: setting] = suggested }
        return result
    }

    /// The names of data and teachers that a program holds in memory, for records, in place of those that stand for nothing.
    func naming(_ dataset: Dataset, teachers held: [String: Trainer.Teacher]) -> TrainingConfiguration {
        var result = self
        if (try? DatasetCatalog.Reference(parsing: data))?.name != dataset.name { result.data = dataset.name }
        result.teacherModel = teacherModel ?? held[""]?.network.id
        for index in teachers.indices {
            result.teachers[index].model = teachers[index].model ?? held[teachers[index].name]?.network.id
        }
        return result
    }

    /// The transform of training images.
    func trainingTransform(_ dataset: Dataset) -> ImageTransform {
        var transform = dataset.transform
        transform.cropPadding = cropPadding ?? transform.cropPadding
        transform.horizontalFlip = flip ?? transform.horizontalFlip
        if let resizedCrop { transform.resizedCrop = resizedCrop > 0 ? resizedCrop : nil }
        if transform.resizedCrop != nil { transform.cropPadding = 0 }
        (transform.brightness, transform.contrast, transform.saturation) = (brightness, contrast, saturation)
        (transform.mixup, transform.cutmix) = (mixup, cutmix)
        return transform
    }

    var augmentationDescription: String {
        var parts: [String] = []
        if let resizedCrop, resizedCrop > 0 {
            parts.append("random crop of \(resizedCrop.plainText) to 1 of the area")
        } else {
            parts.append("crop padding \(cropPadding.map(String.init) ?? "as the data's")")
        }
        parts.append("flip \(flip.map { $0 ? "on" : "off" } ?? "as the data's")")
        for (name, value) in [
            ("brightness", brightness), ("contrast", contrast), ("saturation", saturation), ("mixup", mixup), ("cutmix", cutmix),
        ] where value > 0 { parts.append("\(name) \(value.plainText)") }
        return parts.joined(separator: ", ")
    }
}
