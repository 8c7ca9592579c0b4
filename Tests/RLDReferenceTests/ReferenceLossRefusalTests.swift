import RLDGraph
import RLDMethods
import RLDReference
import Testing

/// What makes no loss is refused, and the message says where it is.
@Suite struct ReferenceLossRefusalTests {
    private typealias Batch = ReferenceLossPropertyTests.Batch

    @Test func factorsThatMakeNoLossAreRefused() throws {
        let batch = Batch(rows: 2)
        func message(warmup: Double = 1, scale: Double = 1) -> String {
            do {
                _ = try ReferenceLoss.evaluate(
                    Method.defaults[6], student: batch.student, teacher: batch.teacher, labels: batch.labels, classes: 7,
                    warmup: warmup, scale: scale)
                return "none"
            } catch { return error.description }
        }
        #expect(message(warmup: .nan).contains("warm-up factor: must be finite and at least 0, found nan"))
        #expect(message(warmup: -1).contains("warm-up factor"))
        #expect(message(scale: .infinity).contains("scale: must be finite, found inf"))
        #expect(message(scale: -2) == "none")
        // Far from the end of float32, in which a device takes them.
        #expect(message(warmup: 1e10).contains("warm-up factor: must be from 0 to 1e9, found 10000000000.0"))
        #expect(message(scale: -1e10).contains("scale: must be from -1e9 to 1e9, found -10000000000.0"))
        #expect(message(warmup: 1e9, scale: -1e9) == "none")
        var method = RefinedLogitDistillation()
        method.crossEntropyWeight = 1e300
        let error = #expect(throws: InputError.self) { try Method.refinedLogitDistillation(method).validate() }
        #expect(error?.description.contains("must be from 0 to 1e9, found 1e+300") == true, "\(String(describing: error))")
    }

    @Test func weightsAreRefusedAtTheirBounds() {
        func message(_ weights: [Double]) -> String {
            do throws(InputError) {
                try LossInputs.check(weights: weights, rows: weights.count)
                return "none"
            } catch { return error.description }
        }
        let most = Double(Float(1e30))
        for weights in [[1, most], [most, 0], [1e-300, 3e-300], [1, Double(Float(1e-30))], [1, 1e-30], [0, 0], []] {
            #expect(message(weights) == "none", "\(weights)")
        }
        #expect(message([1, 1.001e30]).contains("row 1: must be at most 1e30"))
        #expect(message([1, 0, 1e-31]).contains("row 2: must be 0 or at least 1e-30 of the largest (1.0), found 1e-31"))
        #expect(message([.leastNormalMagnitude, 1]).contains("row 0: must be 0 or at least 1e-30"))
        #expect(message([-1, 1]).contains("row 0: must be finite and at least 0"))
    }

    /// Every executor refuses a method that makes no loss, with the same words.
    @Test func methodsThatDoNotValidateAreRefused() throws {
        var method = KnowledgeDistillation()
        method.temperature = 0
        let logits = Tensor(shape: [1, 2], values: [0, 1])
        let error = #expect(throws: InputError.self) {
            try LossInputs.check(
                .knowledgeDistillation(method), student: logits, teacher: logits, labels: [0], settings: LossSettings())
        }
        #expect(error?.description.contains("option 'temperature' of method 'kd'") == true)
    }

    @Test func errorsNameRowAndSide() throws {
        func message(_ change: (inout Batch) -> Void) -> String {
            var batch = Batch(rows: 3)
            change(&batch)
            do {
                _ = try batch.evaluate(Method.refinedLogitDistillation(RefinedLogitDistillation()))
                return "none"
            } catch { return "\(error)" }
        }
        #expect(message { $0.student[8] = .nan }.contains("student logits, row 1: class 1"))
        #expect(message { $0.teacher[20] = .infinity }.contains("teacher logits, row 2: class 6"))
        #expect(message { $0.labels[1] = 7 }.contains("label of row 1: is 7"))
        #expect(message { $0.labels[0] = -1 }.contains("label of row 0: is -1"))
        #expect(message { for i in 0..<7 { $0.teacher[i] = -.infinity } }.contains("teacher logits, row 0: every class"))
        #expect(message { $0.teacher.removeLast() }.contains("teacher logits: expected 3 rows"))
        #expect(throws: InputError.self) {
            try ReferenceLoss.evaluate(Method.defaults[1], student: [1, 2], teacher: nil, labels: [0], classes: 2)
        }
        // Ties go to the lower index.
        let tied = try ReferenceLoss.evaluate(
            Method.defaults[0], student: Array(repeating: 1, count: 14), teacher: nil, labels: [0, 5], classes: 7)
        #expect(tied.top1 == 1 && tied.top5 == 1)
    }
}
