import Foundation
import RLD

/// Images that a linear classifier can tell apart: class k is bright in its own band of rows, with noise.
func bandImages(count: Int, classes: Int = 4, extent: Int = 8, seed: UInt64) -> ImageTable {
    var pixels: [UInt8] = []
    var labels: [Int32] = []
    for image in 0..<count {
        let label = CounterRandom.integer(below: classes, seed: seed, stream: 1, counter: UInt64(image))
        labels.append(Int32(label))
        for row in 0..<extent {
            for column in 0..<extent {
                let counter = UInt64((image * extent + row) * extent + column)
                let noise = CounterRandom.integer(below: 120, seed: seed, stream: 2, counter: counter)
                pixels.append(UInt8((row * classes / extent == label ? 100 : 0) + noise))
            }
        }
    }
    return ImageTable(
        channels: 1, height: extent, width: extent, pixels: pixels, labels: labels,
        classNames: (0..<classes).map { "band \($0)" })
}

func bandData(train: Int = 100, test: Int = 40) -> Dataset {
    Dataset(
        name: "bands", path: "", train: bandImages(count: train, seed: 1), test: bandImages(count: test, seed: 2),
        transform: ImageTransform(mean: [0.4], deviation: [0.25], horizontalFlip: true))
}

/// A small recipe for the fake executor.
func bandConfiguration(epochs: Int = 3) -> TrainingConfiguration {
    var configuration = TrainingConfiguration()
    configuration.epochs = epochs
    configuration.batchSize = 16
    configuration.validation = 20
    configuration.logEvery = 2
    configuration.optimizer.learningRate = 0.5
    configuration.cropPadding = 1
    configuration.flip = true
    return configuration
}

/// Trains on the bands in a folder.
/// - Parameters:
///   - resume: goes on with the run in the folder.
///   - stopAt: how often the run may ask whether to stop before it is told to.
///   - allowing: keys that may differ from the run's.
///   - notes: hears the notes.
func trainBands(
    _ path: String, _ configuration: TrainingConfiguration, executor: any NetworkExecutor = FakeExecutor(),
    data: Dataset = bandData(), resume: Bool = false, stopAt: Int? = nil, allowing: Set<String> = [],
    notes: (String) -> Void = { _ in }
) throws -> TrainingResult {
    let folder = try RunFolder(path, existing: resume ? .resume : .refuse)
    var resumption = try folder.resumption()
    resumption?.allowed = allowing
    var asked = 0
    return try withoutActuallyEscaping(notes) { notes in
        try Trainer(
            configuration: configuration, executor: executor, dataset: data, folder: folder, resuming: resumption,
            shouldStop: {
                asked += 1
                return stopAt.map { asked > $0 } ?? false
            },
            observer: { if case .note(let line) = $0 { notes(line) } }
        ).run()
    }
}

/// What an `InputError` says, or "" if nothing or something else was thrown.
func inputErrorText(_ body: () throws -> Void) -> String {
    do {
        try body()
        return ""
    } catch {
        return (error as? InputError)?.description ?? ""
    }
}
