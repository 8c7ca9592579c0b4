import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference

/// Whole training steps.
extension DeviceChecks {
    static func stepChecks(tiny: Bool) -> [Check] {
        [
            Check(name: "batch, crop and flip") { try checkStep(tiny: tiny, engine: $0) },
            Check(name: "batches that bring their images") { try checkStep(tiny: tiny, staged: true, engine: $0) },
            Check(name: "AdamW, clipping, accumulation, average, soft targets") { engine in
                try checkStep(
                    tiny: tiny,
                    rule: UpdateRule(
                        .adamW(AdamW(learningRate: 0.01, epsilon: 1e-3)), clipNorm: 0.1, averageDecay: 0.9, accumulation: 2),
                    smoothing: 0.1, mixing: BatchMixing(share: 0.7), engine: engine)
            },
        ]
            + ["pasted", "kept"].map { boxes in
                Check(name: "scaled crops, colours and \(boxes) boxes") { engine in
                    var transform = ImageTransform(
                        mean: [0.3, 0.4, 0.5], deviation: [0.25, 0.3, 0.2], horizontalFlip: true, size: tiny ? 4 : 9,
                        resizedCrop: 0.3
                    )
                    (transform.brightness, transform.contrast, transform.saturation) = (0.4, 0.3, 0.5)
                    return try checkStep(
                        tiny: tiny, transform: transform,
                        mixing: BatchMixing(share: 0.75, box: [1, 0, 2, 2], keepsBox: boxes == "kept"), engine: engine)
                }
            }
    }

    /// Two training steps from the uint8 table to the updated weights, on the device and on the reference: gathering, crop,
    /// flip, normalisation, both networks, loss, backward and Nesterov SGD.
    private static func checkStep(
        tiny: Bool,
        rule: UpdateRule = UpdateRule(.sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4, nesterov: true))),
        transform: ImageTransform = ImageTransform(
            mean: [0.3, 0.4, 0.5], deviation: [0.25, 0.3, 0.2], cropPadding: 2, horizontalFlip: true),
        smoothing: Double = 0, mixing: BatchMixing? = nil, staged: Bool = false, engine: DeviceEngine
    ) throws -> CheckResult {
        let (size, count, batch) = tiny ? (5, 6, 3) : (12, 40, 13)
        let table = ImageTable(
            channels: 3, height: size, width: size + 1,
            pixels: (0..<count * 3 * size * (size + 1)).map {
                UInt8(CounterRandom.integer(below: 256, seed: 1, stream: 40, counter: UInt64($0)))
            },
            labels: (0..<count).map { Int32($0 % 4) }, classNames: ["a", "b", "c", "d"])
        func network(_ width: Int) -> Network {
            Network("step\(width)", input: transform.inputShape(of: table)) { net, x in
                var y = net.convolution(x, width, kernel: 3, name: "conv1")
                y = net.relu(net.batchNorm(y, name: "bn1"))
                return net.linear(net.globalAveragePool(y), 4, name: "fc")
            }
        }
        let (student, teacher) = (network(3), network(5))
        func train(_ executor: any NetworkExecutor, staged: Bool = false) throws -> ([NetworkState], StepMetrics) {
            try executor.load(table, as: "table", staged: staged)
            try executor.prepareStudent(student, state: randomState(student))
            try executor.prepareTeacher(teacher, state: randomState(teacher))
            try executor.prepareUpdates(rule)
            for step in 0..<2 * rule.accumulation {
                var selection = BatchSelection(
                    table: "table", indices: (0..<batch).map { ($0 * 7 + step) % count }, transform: transform, seed: 5,
                    epoch: step + 1)
                if staged { selection.pixels = try selection.indices.flatMap { try table.image($0) } }
                selection.labelSmoothing = smoothing
                selection.mixing = mixing
                let (number, part) = (step / rule.accumulation, step % rule.accumulation)
                try executor.trainStep(
                    selection, method: .refinedLogitDistillation(RefinedLogitDistillation()), warmup: 0.5,
                    update: ParameterUpdate(
                        rule, number: number + 1, share: 1 / Double(rule.accumulation), begins: part == 0,
                        ends: part == rule.accumulation - 1))
            }
            let metrics = try executor.takeMetrics()
            let state = try executor.studentState()
            guard rule.averageDecay != nil else { return ([state], metrics) }
            try executor.exchangeWithAverage()
            return ([state, try executor.studentState()], metrics)
        }
        let (found, metrics) = try train(DeviceExecutor(engine: engine), staged: staged)
        let (expected, expectedMetrics) = try train(ReferenceExecutor())
        var worst = Worst()
        for (a, b) in zip(found, expected) {
            for tensor in student.stateTensors {
                worst.add(relativeError(a[tensor.name]?.values ?? [], b[tensor.name]?.values ?? []) / (10 * bound), tensor.name)
            }
        }
        worst.add(relativeError(metrics.termSums, expectedMetrics.termSums) / (10 * bound), "terms")
        if (metrics.rows, metrics.top1) != (expectedMetrics.rows, expectedMetrics.top1) { worst.add(.infinity, "counts") }
        return CheckResult(worst)
    }
}
