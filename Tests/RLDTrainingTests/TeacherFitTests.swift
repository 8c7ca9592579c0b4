import Foundation
import RLD
import TestSupport
import Testing

/// A teacher's file says what it was trained on, and the run says where that is not what it gets.
struct TeacherFitTests {
    private let temporary = TemporaryFolder()
    private var weights: String { temporary.path + "/teacher.safetensors" }
    private static let bands = (0..<4).map { "band \($0)" }

    private func write(_ metadata: ModelMetadata) throws {
        let state = try bandData().network("resnet14").initialState(seed: 5)
        try state.save(safetensors: weights, metadata: metadata.text)
    }

    private var recipe: TrainingConfiguration {
        var configuration = bandConfiguration(epochs: 1)
        configuration.method = .knowledgeDistillation(KnowledgeDistillation())
        configuration.teacherModel = "resnet14"
        configuration.teacherWeights = weights
        return configuration
    }

    /// The notes of a run with a teacher of such metadata.
    private func notes(_ metadata: ModelMetadata) throws -> [String] {
        try write(metadata)
        var notes: [String] = []
        _ = try trainBands("\(temporary.path)/\(UUID().uuidString)", recipe) { notes.append($0) }
        return notes
    }

    @Test("a teacher of the same data, or of which nothing is known, is used in silence")
    func same() throws {
        let input = [1, 8, 8]
        for metadata in [
            ModelMetadata(), ModelMetadata(input: input, mean: [0.4], deviation: [0.25], classNames: Self.bands),
            // Rounded, and without names.
            ModelMetadata(input: input, mean: [0.4004], deviation: [0.2497], classNames: (0..<4).map(String.init)),
        ] { #expect(try notes(metadata).isEmpty) }
    }

    @Test("another normalisation and another size are said once")
    func other() throws {
        let normalised = try notes(ModelMetadata(mean: [0.5], deviation: [0.25]))
        #expect(
            normalised.count == 1
                && normalised.first?.hasPrefix("\(weights): was trained on images of mean 0.5, deviation 0.25") == true)
        #expect(normalised.joined().contains("those here are normalised by mean 0.4, deviation 0.25"), "\(normalised)")
        let sized = try notes(ModelMetadata(input: [1, 16, 16]))
        #expect(sized == ["\(weights): was trained on images of 1x16x16 and sees 1x8x8"])
    }

    @Test("other classes, or the same in another order, are refused before anything is written")
    func classes() throws {
        let order = inputErrorText { _ = try notes(ModelMetadata(classNames: Self.bands.reversed())) }
        #expect(order.contains("\(weights): has the data's classes in another order"), "\(order)")
        let other = inputErrorText { _ = try notes(ModelMetadata(classNames: ["stripe", "band 1", "band 2", "band 3"])) }
        #expect(other.contains("was trained on class stripe, which the data has not; the data has band 0"), "\(other)")
        #expect(temporary.contents == ["teacher.safetensors"])
    }

    @Test("a run that began with such a teacher goes on with it; only a new one is refused")
    func resumed() throws {
        try write(ModelMetadata())
        let path = temporary.path + "/run"
        #expect(try trainBands(path, recipe, stopAt: 3).interrupted)
        try write(ModelMetadata(classNames: Self.bands.reversed()))
        let text = inputErrorText { _ = try trainBands(path, recipe, resume: true, allowing: ["teacher.weights"]) }
        #expect(text.contains("in another order"), "\(text)")
        var notes: [String] = []
        #expect(try !trainBands(path, recipe, resume: true) { notes.append($0) }.interrupted)
        #expect(notes.contains { $0.contains("has the data's classes in another order") }, "\(notes)")
    }
}
