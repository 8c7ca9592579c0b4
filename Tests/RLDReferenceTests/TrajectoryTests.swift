import RLDGraph
import RLDMethods
import RLDModels
import RLDReference
import TestSupport
import Testing

/// Eight steps of RLD, resnet20 to resnet8, against the authors' numbers in float64.
@Suite("Trajectory on the reference") struct TrajectoryTests {
    @Test(arguments: [("rld_resnet20_resnet8", 1e-8), ("rld_resnet20_resnet8_lr0.005", 1e-9)])
    func eightSteps(name: String, tolerance: Double) throws {
        let golden = try Goldens.trajectory(name)
        let (student, teacher) = try golden.networks()
        let studentNetwork = try ReferenceNetwork(student.network, state: student.state)
        let teacherNetwork = try ReferenceNetwork(teacher.network, state: teacher.state)
        let updater = ReferenceUpdater()
        for step in 0..<golden.steps {
            let images = golden.images(step: step).values
            let teacherLogits = try teacherNetwork.forward(images, batch: golden.batch, training: false)
            let logits = try studentNetwork.forward(images, batch: golden.batch, training: true)
            let loss = try ReferenceLoss.evaluate(
                golden.method, student: logits, teacher: teacherLogits, labels: golden.labels[step].map(Int32.init),
                classes: golden.classes, warmup: golden.warmupFactor)
            try studentNetwork.backward(loss.gradient)
            let o = golden.optimizer
            let sgd = SGD(
                learningRate: o.learningRate, momentum: o.momentum, weightDecay: o.weightDecay, nesterov: o.nesterov)
            _ = updater.apply(ParameterUpdate(UpdateRule(.sgd(sgd)), number: step + 1), to: studentNetwork)

            let expected = golden.float64.steps[step]
            let gradient = student.network.parameters.flatMap { studentNetwork.gradients[$0.name] ?? [] }
            let parameters = student.network.parameters.flatMap { studentNetwork.state[$0.name]?.values ?? [] }
            expectClose(
                [loss.total] + loss.terms + [l2(gradient), l2(parameters), l2(logits), l2(teacherLogits)],
                [
                    expected.total, expected.ce, expected.scd, expected.mcd, expected.gradientL2, expected.parameterL2AfterStep,
                    expected.studentLogitsL2, expected.teacherLogitsL2,
                ],
                .relative(tolerance), "\(name) step \(step)")
            let audit = ReferenceLoss.auditRows(
                golden.method, student: logits, teacher: teacherLogits, labels: golden.labels[step].map(Int32.init),
                classes: golden.classes, loss)
            #expect(audit.map(\.maskedClasses) == expected.maskedPerRow, "\(name) step \(step)")
            #expect(audit.count { $0.teacherTop == Int($0.label) } == expected.teacherRight, "\(name) step \(step)")
        }
        let final = golden.float64.final
        let images = golden.evaluationImages()
        expectClose(
            try studentNetwork.forward(images.values, batch: images.shape[0], training: false),
            final.studentLogits.flatMap { $0 },
            .ofMax(tolerance), "\(name) final student logits")
        expectClose(
            try teacherNetwork.forward(images.values, batch: images.shape[0], training: false),
            final.teacherLogits.flatMap { $0 },
            .ofMax(tolerance), "\(name) teacher logits")
        let tensors = student.network.stateTensors
        #expect(Set(final.parameterL2.keys) == Set(tensors.filter { $0.kind == .parameter }.map(\.name)))
        #expect(Set(final.runningL2.keys) == Set(tensors.filter { $0.kind == .buffer }.map(\.name)))
        for (tensor, expected) in final.parameterL2.merging(final.runningL2, uniquingKeysWith: { $1 }) {
            expectClose([l2(try #require(studentNetwork.state[tensor]).values)], [expected], .relative(tolerance), tensor)
        }
    }
}
