import Foundation
import RLD
import TestSupport
import Testing

/// The best weights of a run have a checkpoint of their own, whose loss must not cost the run.
struct BestCheckpointTests {
    private let temporary = TemporaryFolder()
    private var path: String { temporary.path + "/run" }

    /// A run whose first epoch stays the best, finished after 4 of its 6 epochs.
    private func begun() throws -> (recipe: TrainingConfiguration, whole: TrainingResult) {
        var recipe = bandConfiguration(epochs: 4)
        recipe.schedule = Schedule(kind: .multistep, milestones: [1], factor: 3000)
        let first = try trainBands(path, recipe)
        try #require(first.bestEpoch == 1)
        recipe.epochs = 6
        try FileManager.default.copyItem(atPath: path, toPath: temporary.path + "/whole")
        return (recipe, try trainBands(temporary.path + "/whole", recipe, resume: true))
    }

    private var best: String { path + "/checkpoints/epoch-0001.safetensors" }

    private func damage(_ file: String) throws {
        var bytes = try [UInt8](Data(contentsOf: URL(fileURLWithPath: file)))
        bytes[bytes.count - 5] ^= 0x11
        try Data(bytes).write(to: URL(fileURLWithPath: file))
    }

    @Test("with its checkpoint damaged or missing, the best comes out of best.safetensors", arguments: [true, false])
    func saved(missing: Bool) throws {
        let (recipe, whole) = try begun()
        if missing { try FileManager.default.removeItem(atPath: best) } else { try damage(best) }
        var notes: [String] = []
        let result = try trainBands(path, recipe, resume: true) { notes.append($0) }
        #expect(result.lastState == whole.lastState && result.bestEpoch == whole.bestEpoch)
        // The fake computes in Double, the file holds float32.
        for name in whole.bestState.names {
            #expect(result.bestState[name]?.values == whole.bestState[name]?.values.map { Double(Float($0)) }, "\(name)")
        }
        #expect(notes.filter { $0.contains("epoch-0001") && $0.contains("taken from best.safetensors") }.count == 1, "\(notes)")
        #expect(!notes.contains { $0.contains("passed over") })
        #expect(notes.contains { $0.contains("resumed from") && $0.contains("the end of epoch 4") })
    }

    @Test("without that file, too, the run goes on from its newest checkpoint, which stands for the best")
    func lost() throws {
        let (recipe, whole) = try begun()
        try damage(best)
        // Weights of another epoch are not the best.
        try FileManager.default.removeItem(atPath: path + "/best.safetensors")
        try FileManager.default.copyItem(atPath: path + "/last.safetensors", toPath: path + "/best.safetensors")
        var notes: [String] = []
        let result = try trainBands(path, recipe, resume: true) { notes.append($0) }
        #expect(result.lastState == whole.lastState && result.bestEpoch >= 5)
        #expect(notes.filter { $0.contains("the best weights (epoch 1) are lost") }.count == 1, "\(notes)")
        #expect(try SafetensorsFile(path: path + "/best.safetensors").metadata["epoch"] == "\(result.bestEpoch)")
    }

    @Test("a run that is interrupted leaves the moving average in last.safetensors, as a finished one does")
    func average() throws {
        var recipe = bandConfiguration(epochs: 2)
        recipe.limit = 40
        recipe.validation = 8
        recipe.averageDecay = 0.9
        let executor = ReferenceExecutor()
        let result = try trainBands(path, recipe, executor: executor, stopAt: 2)
        #expect(result.interrupted)
        let names = try FileManager.default.contentsOfDirectory(atPath: path + "/checkpoints")
        let checkpoint = try SafetensorsFile(path: path + "/checkpoints/" + #require(names.first))
        let last = try SafetensorsFile(path: path + "/last.safetensors")
        for name in ["conv1.weight", "fc.weight", "bn1.running_mean"] {
            let average = try checkpoint.tensor("average/\(name)").values
            #expect(try average != checkpoint.tensor("weights/\(name)").values)
            #expect(try last.tensor(name).values == average.map { Double(Float($0)) }, "\(name)")
            #expect(result.lastState[name]?.values == average)
        }
        // The executor itself goes on with the weights.
        #expect(try executor.studentState()["fc.weight"]?.values == checkpoint.tensor("weights/fc.weight").values)
    }
}
