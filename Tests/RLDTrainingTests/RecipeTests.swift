import Foundation
import RLD
import TestSupport
import Testing

struct RecipeTests {
    private static let folder = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .deletingLastPathComponent().appending(path: "configs").path

    private func recipes() -> [String] {
        let all = FileManager.default.enumerator(atPath: Self.folder)?.compactMap { $0 as? String } ?? []
        return all.filter { $0.hasSuffix(".yaml") }.sorted()
    }

    private func read(_ yaml: String, set: [String] = [], authors: [String] = []) throws -> (TrainingConfiguration, [String]) {
        var reader = ConfigurationReader()
        try reader.read(yaml: yaml, source: "run.yaml")
        for assignment in set { try reader.set(assignment: assignment) }
        try reader.set(authors: authors)
        return try reader.finish()
    }

    @Test("every recipe is valid, warns of nothing, and names networks and data that exist")
    func all() throws {
        let names = recipes()
        let known = Set(ModelCatalog.ids)
        // 14 pairs on CIFAR-100, 2 on ImageNet and one on Fashion-MNIST for each of six methods; teachers and students alone.
        for method in ["kd", "dkd", "la", "rc", "lr", "rld"] {
            #expect(names.count { $0.hasPrefix("\(method)/") } == 17, "\(method)")
        }
        #expect(names.count { $0.hasPrefix("ce/") } == 15 && names.count == 6 * 17 + 15)
        for name in names {
            var reader = ConfigurationReader()
            try reader.read(file: "\(Self.folder)/\(name)")
            let (configuration, warnings) = try reader.finish()
            #expect(warnings.isEmpty, "\(name): \(warnings)")
            #expect(configuration.method.id == name.split(separator: "/")[0])
            for model in [configuration.model, configuration.teacherModel].compactMap({ $0 }) where !known.contains(model) {
                Issue.record("\(name) names the network \(model)")
            }
            #expect((configuration.teacherModel != nil) == configuration.method.needsTeacher)
            #expect(DatasetCatalog.names.contains(configuration.data))
        }
    }

    @Test("the recipe of the paper's first pair is the authors'")
    func first() throws {
        var reader = ConfigurationReader()
        try reader.read(file: Self.folder + "/rld/cifar100_resnet32x4_resnet8x4.yaml")
        let recipe = try reader.finish().configuration
        #expect(recipe.optimizer == SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4))
        #expect(recipe.schedule == Schedule())
        #expect(recipe.method == .refinedLogitDistillation(RefinedLogitDistillation()))
        #expect(recipe.epochs == 240 && recipe.batchSize == 64 && recipe.cropPadding == 4 && recipe.flip == true)
    }

    private let authors: String
    init() throws { authors = try String(contentsOfFile: Goldens.path("authors_rld_res32x4_res8x4.yaml"), encoding: .utf8) }

    @Test("the authors' file is taken as it is; what has no counterpart is named")
    func authorsFile() throws {
        let (recipe, warnings) = try read(authors)
        #expect(recipe.model == "resnet8x4" && recipe.teacherModel == "resnet32x4")
        #expect(recipe.optimizer == SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4))
        #expect(recipe.schedule.milestones == [150, 180, 210] && recipe.epochs == 240 && recipe.validation == 0)
        #expect(recipe.method == .refinedLogitDistillation(RefinedLogitDistillation()))
        #expect(warnings.count == 1 && warnings[0].contains("EXPERIMENT.PROJECT"), "\(warnings)")
        // Their default, which differs from ours, where the file says nothing.
        let silent = try read("DISTILLER: {TYPE: KD, TEACHER: resnet56, STUDENT: resnet20}\nKD: {TEMPERATURE: 2.}").0
        #expect(silent.optimizer.weightDecay == 1e-4)
        #expect(silent.method.value(of: .temperature) == 2)
    }

    @Test("their overrides, dotted and upper-case, as pairs and with --set; those of another method do nothing and say so")
    func authorsOverrides() throws {
        let (recipe, warnings) = try read(
            authors, set: ["RLD.ALPHA_T=2", "epochs=2"], authors: ["RLD.BETA", "4.", "SOLVER.LR", "0.1", "DKD.BETA", "6"])
        #expect(recipe.epochs == 2 && recipe.optimizer.learningRate == 0.1)
        #expect(recipe.method.value(of: .beta) == 4 && recipe.method.value(of: .confidenceTemperature) == 2)
        #expect(warnings.contains { $0.contains("DKD.BETA does nothing: the method is 'rld'") }, "\(warnings)")
        #expect(inputErrorText { _ = try read(authors, authors: ["RLD.BETA"]) }.contains("has no value"))
        #expect(inputErrorText { _ = try read(authors, authors: ["beta", "4"]) }.contains("RLD.BETA 8"))
        #expect(inputErrorText { _ = try read("DISTILLER: {TYPE: CRD}") }.contains("DISTILLER.TYPE 'CRD'"))
        #expect(inputErrorText { _ = try read("DISTILLER: {TYPE: KD}\nSOLVR: {LR: 1}") }.contains("did you mean 'SOLVER'?"))
        #expect(inputErrorText { _ = try read(authors, authors: ["RLD.BETTA", "8"]) }.contains("did you mean 'RLD.BETA'?"))
        #expect(inputErrorText { _ = try read("DISTILLER: {TYPE: KD}\nSOLVER: {EPOCH: 3}") }.contains("'SOLVER.EPOCHS'?"))
        let other = try read("DISTILLER: {TYPE: KD}\nSOLVER: {TRAINER: base}\nLOG: {WANDB: false}\nRLD: {SOMETHING_ELSE: 3}").1
        #expect(other == ["not translated, without effect here: SOLVER.TRAINER, LOG.WANDB, RLD.SOMETHING_ELSE"], "\(other)")
        #expect(inputErrorText { _ = try read("DISTILLER: {TYPE: KD}\nSOLVER: {TYPE: Lion}") }.contains("only SGD"))
    }
}
