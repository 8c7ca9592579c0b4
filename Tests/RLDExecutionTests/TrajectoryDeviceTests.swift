import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDModels
import TestSupport
import Testing

/// Eight steps of RLD, resnet20 to resnet8, on the device in both kernel profiles, at the float32 tolerances of the goldens.
@Suite("Trajectory on a device", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct TrajectoryDeviceTests {
    /// Per step, and for the final logits over their largest (`Tests/Goldens/README.md`).
    struct Tolerance: Sendable {
        let name: String
        let step: @Sendable (Int) -> Double
        let logits: Double
    }

    static let runs = [
        Tolerance(name: "rld_resnet20_resnet8_lr0.005", step: { _ in 1e-4 }, logits: 1e-3),
        Tolerance(name: "rld_resnet20_resnet8", step: { $0 <= 4 ? 1e-4 : 3e-3 }, logits: 5e-2),
    ]

    /// A rectifier whose input is 0 within rounding passes or stops a whole gradient: of starts half an ulp apart about one in five
    /// takes another path than float64, whose gradients are off by up to 5e-4. So a start has to keep the bound, not each.
    private static let starts = 5

    @Test(arguments: [0, 1], TestDevice.profiles) func eightSteps(run: Int, profile: KernelProfile) throws {
        let tolerance = Self.runs[run]
        let golden = try Goldens.trajectory(tolerance.name)
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        var gradients: [Double] = []
        let expected = golden.float64.steps.map(\.gradientL2)
        for start in 0..<Self.starts {
            gradients = try steps(golden, tolerance, engine, start: start)
            let worst = zip(gradients, expected).enumerated().map { abs($1.0 - $1.1) / ($1.1 * tolerance.step($0)) }.max() ?? 0
            if worst <= 1 { break }
        }
        let bounds = expected.enumerated().map { $1 * tolerance.step($0) }
        expectClose(gradients, expected, .each(bounds), "\(tolerance.name) gradients, \(profile)")
    }

    /// Losses, parameters and final logits are compared, and the norms of the gradients returned.
    private func steps(
        _ golden: TrajectoryGolden, _ tolerance: Tolerance, _ engine: DeviceEngine, start: Int
    ) throws -> [Double] {
        let (student, teacher) = try golden.networks()
        let what = "\(tolerance.name), \(engine.profile), start \(start)"
        let studentNetwork = try DeviceNetwork(student.network, state: student.state, role: .student, engine: engine)
        let teacherNetwork = try DeviceNetwork(teacher.network, state: teacher.state, role: .teacher, engine: engine)
        let plan = try studentNetwork.plan(batch: golden.batch, mode: .training)
        let teacherPlan = try teacherNetwork.plan(batch: golden.batch, mode: .inference, input: plan.input)
        let step = try DeviceStep(engine, plan, method: golden.method, labels: golden.labels[0].map(Int32.init))
        if start > 0 {
            let parameters = DeviceSlice(studentNetwork.store.parameters)
            let values = try engine.read(parameters).enumerated().map { i, value in
                value * (1 + 6e-8 * Double((i &* (2 * start + 1)) % 3 - 1))
            }
            try engine.write(values, to: parameters)
        }

        var norms: [Double] = []
        for index in 0..<golden.steps {
            try plan.write(golden.images(step: index).values)
            try step.write(labels: golden.labels[index].map(Int32.init))
            try teacherPlan.forward()
            try plan.forward()
            let metrics = try step.loss(teacher: teacherPlan.output, warmup: golden.warmupFactor)
            try plan.backward()
            let o = golden.optimizer
            let sgd = SGD(
                learningRate: o.learningRate, momentum: o.momentum, weightDecay: o.weightDecay, nesterov: o.nesterov)
            try studentNetwork.store.apply(ParameterUpdate(UpdateRule(.sgd(sgd)), number: index + 1))
            let expected = golden.float64.steps[index]
            let rows = Double(metrics.rows)
            norms.append(l2(try engine.read(DeviceSlice(try #require(studentNetwork.store.gradients)))))
            expectClose(
                [metrics.loss] + metrics.termSums.map { $0 / rows }
                    + [l2(try engine.read(DeviceSlice(studentNetwork.store.parameters)))],
                [expected.total, expected.ce, expected.scd, expected.mcd, expected.parameterL2AfterStep],
                .relative(tolerance.step(index)), "\(what), step \(index)")
        }
        let final = golden.float64.final
        let images = golden.evaluationImages()
        for (network, logits, bound) in [
            (studentNetwork, final.studentLogits, tolerance.logits), (teacherNetwork, final.teacherLogits, 1e-5),
        ] {
            let plan = try network.plan(batch: images.shape[0], mode: .inference)
            try plan.write(images.values)
            try plan.forward()
            expectClose(try engine.read(plan.output), logits.flatMap { $0 }, .ofMax(bound), "\(what), final logits")
        }
        return norms
    }
}
