import RLDDatasets
import RLDFormats
import RLDGraph
import RLDMethods

/// How what a model was trained on, as its file says, compares with a data set. What either does not say agrees with everything.
extension ModelMetadata {
    /// Side of the square that the model was trained to see; nil where it is unknown, no square, or smaller than images are scaled.
    public var imageSize: Int? {
        guard input.count == 3, input[1] == input[2], DatasetOptions.imageSizes.contains(input[1]) else { return nil }
        return input[1]
    }

    /// Where images come to the model otherwise than in its training, one line each.
    /// - Parameter source: the model's file.
    func differences(from dataset: Dataset, source: String) -> [String] {
        var lines: [String] = []
        if differsInNormalisation(from: dataset) {
            lines.append(
                "\(source): was trained on images of mean \(Self.text(mean)), deviation \(Self.text(deviation)), and those here are "
                    + "normalised by mean \(Self.text(dataset.mean)), deviation \(Self.text(dataset.deviation))")
        }
        if !input.isEmpty, input != dataset.inputShape {
            func text(_ shape: [Int]) -> String { shape.map(String.init).joined(separator: "x") }
            lines.append("\(source): was trained on images of \(text(input)) and sees \(text(dataset.inputShape))")
        }
        return lines
    }

    /// Less than half a grey level is rounding.
    fileprivate func differsInNormalisation(from dataset: Dataset) -> Bool {
        guard mean.count == dataset.mean.count else { return false }
        return zip(mean + deviation, dataset.mean + dataset.deviation).contains { abs($0 - $1) > 0.5 / 255 }
    }

    /// Means or deviations, to four digits behind the point.
    static func text(_ values: [Float]) -> String {
        values.map { ((Double($0) * 1e4).rounded() / 1e4).plainText }.joined(separator: " ")
    }

    /// For each class of the data its index among the model's; nil where that is the same.
    /// - Parameter source: the model's file, for messages.
    /// - Throws: when both name their classes and the names are others.
    func classOrder(of names: [String], source: String) throws(InputError) -> [Int32]? {
        guard !classNames.isEmpty, classNames != names else { return nil }
        let (ours, theirs) = (Set(classNames), Set(names))
        if ours == theirs, ours.count == classNames.count, theirs.count == names.count {
            return names.compactMap { name in classNames.firstIndex(of: name).map(Int32.init) }
        }
        // Numbers in their order stand for classes without names.
        func isNumbered(_ names: [String]) -> Bool { names == names.indices.map(String.init) }
        guard !isNumbered(classNames), !isNumbered(names) else { return nil }
        let (missing, extra) = (classNames.filter { !theirs.contains($0) }, names.filter { !ours.contains($0) })
        var words: [String] = []
        if !missing.isEmpty { words.append("was trained on class \(listed(missing)), which the data has not") }
        if !extra.isEmpty { words.append("\(missing.isEmpty ? "was not trained on class" : "the data has") \(listed(extra))") }
        if words.isEmpty { words.append("names classes twice, in another order than the data") }
        throw InputError(
            source, words.joined(separator: "; "),
            advice: "give data of the same classes; if only the names differ, 'rld convert' the weights to .npz, which keeps none"
        )
    }
}

extension Dataset {
    /// The data as a model was trained to see it: normalised alike, its classes in the model's order.
    /// - Parameters:
    ///   - model: what the model's file says.
    ///   - source: that file, for messages.
    /// - Returns: the data, and what of it is not as it would be without the model, or not as the model's, one line each.
    /// - Throws: when the classes are others.
    public func seen(
        by model: ModelMetadata, source: String
    ) throws(InputError) -> (dataset: Dataset, notes: [String]) {
        var dataset = self
        var notes: [String] = []
        if model.mean.count == mean.count {
            (dataset.transform.mean, dataset.transform.deviation) = (model.mean, model.deviation)
            if model.differsInNormalisation(from: self) {
                notes.append("images are normalised as \(source) says, not by this data's own mean and deviation")
            }
        }
        if let order = try model.classOrder(of: classNames, source: source) {
            func reordered(_ table: ImageTable) -> ImageTable {
                var table = table
                table.labels = table.labels.map { order[Int($0)] }
                table.classNames = model.classNames
                return table
            }
            (dataset.train, dataset.test) = (reordered(train), reordered(test))
            dataset.validation = validation.map(reordered)
        }
        return (dataset, notes + model.differences(from: dataset, source: source))
    }
}
