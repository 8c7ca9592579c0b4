import OpenCLRuntime
import RLD
import TestSupport
import Testing

/// RLD_VALIDATE: every operation of a step beside the reference, and errors planted one at a time.
@Suite("Validation of steps", .enabled(if: TestDevice.enabled, "no OpenCL device")) struct StepValidatorTests {
    private static let table = ImageTable(
        channels: 3, height: 8, width: 8,
        pixels: (0..<20 * 192).map { UInt8(CounterRandom.integer(below: 256, seed: 1, stream: 40, counter: UInt64($0))) },
        labels: (0..<20).map { Int32($0 % 4) }, classNames: ["a", "b", "c", "d"])

    /// Residual branches, strides, pooling, a layer with a bias before its batch norm (whose gradient is 0), and a linear bottleneck,
    /// behind whose batch norm every mean is 0 but for rounding.
    private static func network(_ id: String, width: Int) -> Network {
        Network(id, input: [3, 8, 8]) { net, x in
            var y = net.relu(net.batchNorm(net.convolution(x, width, kernel: 3, bias: true, name: "conv1"), name: "bn1"))
            let branch = net.batchNorm(net.convolution(y, width, kernel: 3, name: "conv2"), name: "bn2")
            y = net.maxPool(net.relu(net.add(branch, y)), kernel: 2)
            y = net.relu6(net.batchNorm(net.depthwiseConvolution(y, kernel: 3, stride: 2, name: "depth"), name: "bn3"))
            let narrow = net.batchNorm(net.convolution(y, width, kernel: 1, name: "project"), name: "bn4")
            y = net.add(net.batchNorm(net.convolution(narrow, width, kernel: 1, name: "expand"), name: "bn5"), narrow)
            return net.linear(net.globalAveragePool(y), 4, name: "fc")
        }
    }

    private let validator = StepValidator()
    private let engine: DeviceEngine
    private let executor: DeviceExecutor
    private let rule = UpdateRule(
        .sgd(SGD(learningRate: 0.05, momentum: 0.9, weightDecay: 5e-4)), clipNorm: 1, averageDecay: 0.9, accumulation: 2)

    init() throws {
        engine = try DeviceEngine(TestDevice.device())
        executor = try Self.executor(engine, validator, rule)
    }

    private static func executor(
        _ engine: DeviceEngine, _ validator: StepValidator, _ rule: UpdateRule, teacherStorage: TeacherStorage = .float32
    ) throws -> DeviceExecutor {
        let executor = try DeviceExecutor(engine: engine, teacherStorage: teacherStorage)
        executor.watcher = validator
        try executor.load(table, as: "t")
        let (student, teacher) = (network("student", width: 16), network("teacher", width: 5))
        try executor.prepareStudent(student, state: student.initialState(seed: 1))
        try executor.prepareTeacher(teacher, state: teacher.initialState(seed: 2))
        try executor.prepareUpdates(rule)
        return executor
    }

    private func step(_ index: Int, _ executor: DeviceExecutor, method: String = "rld") throws {
        var selection = BatchSelection(
            table: "t", indices: (0..<6).map { ($0 * 3 + index) % 20 },
            transform: ImageTransform(mean: [0.4, 0.5, 0.6], deviation: [0.2, 0.3, 0.25], cropPadding: 1, horizontalFlip: true),
            seed: 3, epoch: 1)
        selection.labelSmoothing = 0.1
        try executor.trainStep(
            selection, method: Method.make(id: method).method, warmup: 0.5,
            update: ParameterUpdate(rule, number: index / 2 + 1, share: 0.5, begins: index % 2 == 0, ends: index % 2 == 1))
    }

    @Test(arguments: TestDevice.profiles) func soundStepsPass(profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let executor = try Self.executor(engine, validator, rule)
        for index in 0..<4 { try step(index, executor) }
        // Of each step: batch, the nodes forward, statistics, loss, gradients, weights, slots.
        #expect(validator.comparisons > 4 * 60)
        #expect(validator.worst > 0 && validator.worst <= 1)
        // Watching changes nothing: the same steps without it.
        let plain = try Self.executor(engine, StepValidator(), rule)
        plain.watcher = nil
        for index in 0..<4 { try step(index, plain) }
        #expect(try plain.studentState() == executor.studentState())
    }

    /// Dark images with something in the middle: most terms of the first layer's gradient are alike, and their sum over all pixels
    /// nearly cancels, so that rounding must not gather along it.
    @Test(arguments: TestDevice.profiles) func darkImagesKeepTheirDigits(profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let dark = ImageTable(
            channels: 1, height: 28, width: 28,
            pixels: (0..<32 * 784).map { i in
                let (row, column) = (i / 28 % 28, i % 28)
                guard (8..<20).contains(row), (8..<20).contains(column) else { return 0 }
                return UInt8(CounterRandom.integer(below: 256, seed: 1, stream: 41, counter: UInt64(i)))
            }, labels: (0..<32).map { Int32($0 % 4) }, classNames: ["a", "b", "c", "d"])
        let network = try ModelCatalog.network("resnet8", classes: 4, input: [1, 28, 28])
        let executor = try DeviceExecutor(engine: engine)
        executor.watcher = validator
        try executor.load(dark, as: "dark")
        try executor.prepareStudent(network, state: network.initialState(seed: 1))
        try executor.prepareTeacher(network, state: network.initialState(seed: 2))
        try executor.prepareUpdates(rule)
        for index in 0..<3 {
            let selection = BatchSelection(
                table: "dark", indices: (0..<16).map { (2 * $0 + index) % 32 },
                transform: ImageTransform(mean: [0.286], deviation: [0.353], cropPadding: 2, horizontalFlip: true), seed: 3,
                epoch: 1)
            try executor.trainStep(
                selection, method: Method.make(id: "rld").method, warmup: 1,
                update: ParameterUpdate(rule, number: index + 1, share: 1, begins: true, ends: true))
        }
        #expect(validator.worst > 0 && validator.worst <= 1)
    }

    /// In tf32 beside a reference with rounded operands; one that does not round finds the first product.
    @Test func stepsInReducedPrecisionPass() throws {
        let engine = try DeviceEngine(
            TestDevice.device(), profile: .gpu, registers: nil, precision: .tf32, emulatesMatrixUnits: true)
        let validator = StepValidator(precision: .tf32)
        let executor = try Self.executor(engine, validator, rule)
        for index in 0..<2 { try step(index, executor) }
        #expect(validator.worst > 0 && validator.worst <= 1)
        executor.watcher = self.validator
        let error = try #require(throws: DeviationError.self) { try step(2, executor) }
        #expect(error.part == "teacher forward" && error.node == "conv1")
    }

    /// A teacher's activations as half are off by their own rounding; an error of a hundredth is still found.
    @Test(arguments: TestDevice.profiles) func stepsWithHalfTeachersPass(profile: KernelProfile) throws {
        let engine = try DeviceEngine(TestDevice.device(), profile: profile)
        let executor = try Self.executor(engine, validator, rule, teacherStorage: .half)
        for index in 0..<2 { try step(index, executor) }
        #expect(validator.worst > 0.5 && validator.worst <= 1)
        let plain = try Self.executor(engine, StepValidator(), rule)
        for index in 0..<2 { try step(index, plain) }
        #expect(try plain.studentState() != executor.studentState())
        validator.beforeComparing = { part, node, slice in
            guard (part, node) == ("teacher forward", "conv2") else { return }
            let values = try engine.read(slice)
            let wrong = Float16(values[3] + 1e-2 * values.reduce(0) { max($0, abs($1)) })
            try engine.queue.write([wrong], to: slice.buffer, at: slice.offset + 3)
        }
        let error = try #require(throws: DeviationError.self) { try step(2, executor) }
        #expect(error.node == "conv2")
    }

    /// One element is moved by a thousandth of the largest after the device has written it.
    @Test func plantedErrorsAreNamed() throws {
        let places = [
            ("batch", "input"), ("teacher forward", "conv1"), ("teacher forward", "fc"), ("student forward", "bn1"),
            ("student forward", "depth"), ("loss", "rld"), ("backward", "fc.weight"), ("backward", "conv2"), ("backward", "bn2"),
            ("backward", "conv1.weight"), ("update", "optimizer"),
        ]
        for (part, node) in places {
            let validator = StepValidator()
            let executor = try Self.executor(engine, validator, rule)
            try step(0, executor)
            let place = 3
            validator.beforeComparing = { [engine] foundPart, foundNode, slice in
                guard (foundPart, foundNode) == (part, node) else { return }
                let values = try engine.read(slice)
                let largest = values.reduce(0) { max($0, abs($1)) }
                try engine.queue.write([Float(values[place] + 1e-3 * largest)], to: slice.buffer, at: slice.offset + place)
            }
            let error = try #require(throws: DeviationError.self) { try step(1, executor) }
            #expect(error.step == 2 && error.part == part)
            #expect(error.quantity == "gradient of \(node)" || node == "rld" && error.node == "loss" || error.node == node)
            #expect(abs(error.found - error.expected) > error.bound && error.bound > 0)
            #expect("\(error)".contains("step 2, \(part), node") && "\(error)".contains("times the bound"))
        }
    }

    /// A value that a node reads twice has one gradient, the whole; a layer that nothing reads is not moved, nor decayed.
    @Test(arguments: TestDevice.profiles) func sharedAndUnreadValuesPass(profile: KernelProfile) throws {
        let network = Network("shared", input: [3, 8, 8]) { net, x in
            let y = net.convolution(x, 8, kernel: 3, name: "c")
            _ = net.convolution(y, 4, kernel: 1, name: "aux")
            let z = net.relu(net.add(net.batchNorm(y, name: "bn"), y))
            return net.linear(net.globalAveragePool(net.add(z, z)), 4, name: "fc")
        }
        let executor = try DeviceExecutor(engine: DeviceEngine(TestDevice.device(), profile: profile))
        executor.watcher = validator
        try executor.load(Self.table, as: "t")
        try executor.prepareStudent(network, state: network.initialState(seed: 1))
        try executor.prepareUpdates(rule)
        for index in 0..<4 { try step(index, executor, method: "ce") }
        #expect(validator.worst > 0 && validator.worst <= 1)
    }

    @Test func whatIsNotANumberIsNamed() throws {
        validator.beforeComparing = { [engine] part, node, slice in
            guard part == "student forward", node == "conv2" else { return }
            try engine.queue.write([Float.nan], to: slice.buffer, at: slice.offset + 5)
        }
        let error = try #require(throws: DeviationError.self) { try step(0, executor) }
        #expect(error.node == "conv2" && error.found.isNaN)
    }
}
