import Foundation
import RLDExecution
import RLDFormats
import RLDGraph
import RLDMethods

/// What a run says.
extension TrainingSession {
    func begin() throws {
        let lines =
            configuration.effectiveDescription(chosenOn: selection) + [
                split.description(trainer.dataset),
                "device     \(executor.executorDescription)",
            ] + streamingDescription
            + (executor.plannedBytes.map { ["memory     \(($0 + (1 << 20) - 1) >> 20) MiB on the device"] } ?? [])
        for line in lines { try trainer.folder?.note(line) }
        trainer.observer(.begins(lines))
        for line in earlyNotes + trainer.dataset.notes { try note(line) }
        let table = trainer.dataset.train
        let seen = Set(split.training.map { table.labels[$0] })
        let unseen = table.classNames.indices.filter { !seen.contains(Int32($0)) }.map { table.classNames[$0] }
        if !unseen.isEmpty {
            let names = unseen.prefix(5).joined(separator: ", ") + (unseen.count > 5 ? " ..." : "")
            try note(
                "no training image is of \(unseen.count) of \(table.classNames.count) classes (\(names))"
                    + (configuration.limit == nil ? "" : ": limit takes the first images of the data"))
        }
        if let own = trainer.dataset.validation, !split.validatesOnOwn {
            try note("the \(own.count) images of the data's own validation part are not used: validation was given")
        }
        for error in trainer.dataset.skipped.prefix(20) { try note("left out: \(error)") }
        if !trainer.dataset.skipped.isEmpty { try note("\(trainer.dataset.skipped.count) damaged files were left out") }
        guard let resumption = trainer.resumption else { return }
        for error in resumption.broken { try note("passed over a checkpoint: \(error)") }
        trainer.folder?.checkpoints.setAside(resumption.broken)
        let record = resumption.checkpoint.record
        try note("resumed from \(resumption.checkpoint.path): \(resumption.checkpoint.place)")
        let changes = resumption.changes(in: configuration)
        if !changes.isEmpty { try note("goes on with other settings: \(changes.joined(separator: ", "))") }
        if record.stepsPerEpoch != stepsPerEpoch, record.step > 0 {
            try note(
                "an epoch has \(stepsPerEpoch) steps now and had \(record.stepsPerEpoch): epoch \(record.epoch) begins again")
        }
        if hasOtherTerms, progress.step > 0 {
            try note("the loss has other terms than before: the numbers of epoch \(progress.epoch) count from here on")
        }
        if record.executor != executor.executorDescription {
            try note("the run computed on \(record.executor) before: the numbers go on, but not to the last bit")
        }
    }

    private var streamingDescription: [String] {
        guard isStaged(Self.trainTable) else { return [] }
        let table = trainer.dataset.train
        let place =
            table.stream == nil ? "in memory" : "in their files, read by \(ProcessInfo.processInfo.activeProcessorCount) threads"
        return ["streaming  \(table.bytes >> 20) MiB of images stay \(place), and reach the device batch by batch"]
    }

    func note(_ line: String) throws {
        try trainer.folder?.note(line)
        trainer.observer(.note(line))
    }

    /// What goes with saved weights: all that export and later use need to know of the model, and where it came from.
    func metadata(epoch: Int) -> [String: String] {
        let transform = trainer.dataset.transform
        let model = ModelMetadata(
            model: network.id, classes: network.classes, input: network.inputShape, mean: transform.mean,
            deviation: transform.deviation, classNames: trainer.dataset.classNames)
        return model.text.merging([
            "epoch": "\(epoch)", "seed": "\(configuration.seed)", "method": objective.id, "data": configuration.data,
            "data_hash": trainer.dataHash, "config": configuration.yaml,
        ]) { $1 }.merging(teacherHashes.isEmpty ? [:] : ["teacher_hash": teacherHash]) { $1 }
    }

    func environment() -> RunEnvironment {
        let device = (executor as? DeviceExecutor)?.device
        return RunEnvironment(
            executor: executor.executorDescription, device: device?.name, platform: device?.platformName,
            driver: device?.driverVersion, opencl: device?.version, data: configuration.data, dataHash: trainer.dataHash,
            teacherHashes: teacherHashes.isEmpty ? nil : teacherHashes, initialHash: initialHash,
            trainingImages: split.training.count, validationImages: split.validation.count,
            testImages: trainer.dataset.test.count, classNames: trainer.dataset.classNames,
            skippedFiles: trainer.dataset.skipped.map(\.description))
    }
}
