import RLDGraph
import TestSupport
import Testing

/// Every golden file can be read whole, and says what its readers count on.
struct GoldensTests {
    @Test func modelsDecode() throws {
        // Those of the 224 x 224 family name themselves without it.
        for id in try Goldens.modelIDs() {
            let name = try Goldens.model(id).id
            #expect([name, "imagenet_\(name)"].contains(id))
        }
        let golden = try Goldens.model("resnet20")
        #expect(golden.evaluation?.logits.map(\.count) == [100, 100])
        #expect(golden.evaluation?.featureProbe.byName.count == 9)
        #expect(golden.training?.batch == 8)
        #expect(golden.runningVarScale == 2)
    }

    @Test(arguments: ["rld_resnet20_resnet8", "rld_resnet20_resnet8_lr0.005"])
    func trajectoriesDecode(name: String) throws {
        let golden = try Goldens.trajectory(name)
        #expect(golden.float64.steps.count == golden.steps)
        #expect(golden.float32.steps.count == golden.steps)
        #expect(golden.labels.map(\.count) == Array(repeating: golden.batch, count: golden.steps))
        #expect(golden.teacher.fcBias.count == golden.classes)
        #expect(golden.warmupFactor == 1)
    }

    @Test func lossCasesFindTheirTensors() throws {
        let index = try Goldens.losses()
        #expect(index.cases.count == 472)
        let files = try Dictionary(uniqueKeysWithValues: index.sets.map { ($0.name, try Goldens.lossTensors($0.name)) })
        for set in index.sets {
            for side in ["student", "teacher"] { #expect(files[set.name]?.entry(side)?.shape == [set.batch, set.classes]) }
            #expect(files[set.name]?.entry("labels")?.shape == [set.batch])
        }
        for golden in index.cases {
            let file = try #require(files[golden.set])
            let student = file.entry("student")?.shape
            #expect(file.entry(golden.gradient)?.shape == student, "\(golden)")
            for name in golden.perSample.values { #expect(file.entry(name) != nil, "\(golden): \(name)") }
            if let name = golden.logDomain?.gradient { #expect(file.entry(name)?.shape == student, "\(golden)") }
            #expect(golden.officialFinite.loss == golden.total.isFinite, "\(golden)")
        }
        #expect(index.cases.contains { $0.total.isNaN })
        #expect(index.cases.contains { $0.terms.values.contains(.infinity) })
        #expect(!index.cases(method: "RLD").isEmpty)
    }
}
