import Foundation
import RLD
import TestSupport
import Testing

/// Steps with a loss of one's own: what a program makes of the logits goes back through the student as a method's gradient does.
@Suite("Losses of one's own") struct OwnLossTests {
    private static let network = Network("small", input: [1, 8, 8]) { net, x in
        let y = net.relu(net.batchNorm(net.convolution(x, 5, kernel: 3, stride: 2, name: "c"), name: "n"))
        return net.linear(net.globalAveragePool(y), 4, name: "fc")
    }
    private static let update = ParameterUpdate(UpdateRule(.sgd(SGD(learningRate: 0.1, weightDecay: 1e-3))), number: 1)
    private static let rld = Method.refinedLogitDistillation(RefinedLogitDistillation(beta: 2, warmupEpochs: 0))

    private func prepared(_ executor: any NetworkExecutor) throws -> BatchSelection {
        let table = bandImages(count: 12, seed: 3)
        try executor.load(table, as: "train")
        try executor.prepareStudent(Self.network, state: Self.network.initialState(seed: 1))
        try executor.prepareTeacher(Self.network, state: Self.network.initialState(seed: 2))
        return BatchSelection(
            table: "train", indices: [0, 3, 5, 6, 8, 11, 2], transform: ImageTransform(mean: [0.4], deviation: [0.25]), seed: 1)
    }

    /// Three steps with RLD as a method, and with its gradient computed outside.
    @Test(arguments: ExecutorInputTests.makers) func gradientsOfAProgramTrainAsAMethodDoes(
        _ make: ExecutorInputTests.Maker
    ) throws {
        let (method, own) = (try make.make(), try make.make())
        let batch = try prepared(method)
        _ = try prepared(own)
        for _ in 0..<3 {
            try method.trainStep(batch, method: Self.rld, warmup: 1, update: Self.update)
            let known = try own.teacherLogits(batch).map(Double.init)
            try own.trainStep(batch, update: Self.update) { logits, labels in
                #expect(labels == batch.indices.map { bandImages(count: 12, seed: 3).labels[$0] })
                let teacher = try Tensor(validating: logits.shape, values: known)
                return try own.loss(Self.rld, student: logits, teacher: teacher, labels: labels).gradient
            }
        }
        #expect(try method.takeMetrics().rows == 21)
        #expect(try own.takeMetrics().rows == 0, "the program counts")
        let (a, b) = (try method.studentState(), try own.studentState())
        for name in a.names {
            expectClose(b[name]?.values ?? [], a[name]?.values ?? [], .relative(2e-6, absolute: 1e-7), name)
        }
    }

    @Test(arguments: ExecutorInputTests.makers) func otherShapesAndErrorsEndTheStep(_ make: ExecutorInputTests.Maker) throws {
        let executor = try make.make()
        let batch = try prepared(executor)
        let error = #expect(throws: InputError.self) {
            try executor.trainStep(batch, update: Self.update) { _, _ in
                try Tensor(validating: [4, 7], values: Array(repeating: 0, count: 28))
            }
        }
        #expect(error?.description == "gradient: has shape [4, 7], the logits [7, 4]")
        struct Own: Error {}
        #expect(throws: Own.self) { try executor.trainStep(batch, update: Self.update) { _, _ in throw Own() } }
        let weights = try #require(Self.network.initialState(seed: 1)["fc.weight"])
        #expect(try executor.studentState()["fc.weight"] == weights, "no parameter has moved")
    }

    /// On the device, of the building blocks, without waiting: mean KL to the teacher at T = 4.
    @Test(
        .enabled(if: TestDevice.enabled, "no OpenCL device: install pocl-opencl-icd"), arguments: TestDevice.profiles)
    func blocksTrainAsAMethodDoes(_ profile: KernelProfile) throws {
        let kd = Method.knowledgeDistillation(KnowledgeDistillation(crossEntropyWeight: 0, weight: 1))
        let make = { try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile)) }
        let (method, own) = (try make(), try make())
        let batch = try prepared(method)
        _ = try prepared(own)
        let (rows, classes) = (batch.indices.count, 4)
        let engine = own.engine
        let softmax = try Softmax(.logarithms, classes: classes, on: engine)
        let divergence = try KLDivergence(classes: classes, on: engine)
        func matrix(_ count: Int) throws -> DeviceSlice { DeviceSlice(try engine.makeBuffer(count, label: "own loss")) }
        let (logP, logQ, teacher) = (try matrix(rows * classes), try matrix(rows * classes), try matrix(rows * classes))
        let (toLogP, upstream) = (try matrix(rows * classes), try matrix(rows))
        try engine.write(Array(repeating: 1 / Double(rows), count: rows), to: upstream)
        for step in 0..<4 {
            try method.trainStep(batch, method: kd, warmup: 1, update: Self.update)
            try engine.write(try own.teacherLogits(batch).map(Double.init), to: teacher)
            let waits = engine.context.counters.hostSynchronisations
            try own.trainStep(batch, update: Self.update) { (student: StudentBatch) in
                try softmax.forward(rows: rows, logits: student.logits, temperature: 4, into: logP)
                try softmax.forward(rows: rows, logits: teacher, temperature: 4, into: logQ)
                try divergence.backward(rows: rows, logQ: logQ, upstream: upstream, factor: 16, into: toLogP)
                try softmax.backward(rows: rows, result: logP, gradient: toLogP, temperature: 4, into: student.gradient)
            }
            #expect(step == 0 || engine.context.counters.hostSynchronisations == waits)
        }
        let (a, b) = (try method.studentState(), try own.studentState())
        for name in a.names {
            expectClose(b[name]?.values ?? [], a[name]?.values ?? [], .relative(1e-5, absolute: 1e-6), name)
        }
    }

    /// The student's logits in evaluation mode for a batch are those for its images.
    @Test(arguments: ExecutorInputTests.makers) func logitsOfABatchAreThoseOfItsImages(_ make: ExecutorInputTests.Maker) throws {
        let executor = try make.make()
        let batch = try prepared(executor)
        let table = bandImages(count: 12, seed: 3)
        let images = try batch.indices.flatMap { try table.image($0) }.map { (Double($0) / 255 - Double(Float(0.4))) / 0.25 }
        let wanted = try executor.studentLogits(try Tensor(validating: [7, 1, 8, 8], values: images))
        expectClose(try executor.studentLogits(batch).map(Double.init), wanted.values, .relative(1e-6, absolute: 1e-6), "logits")
        let all = try executor.studentLogits(table: "train", rows: batch.indices, transform: batch.transform, batchSize: 3)
        expectClose(all.map(Double.init), wanted.values, .relative(1e-6, absolute: 1e-6), "logits of a table")
    }
}
