import OpenCLRuntime
import RLDExecution
import RLDGraph
import RLDMethods
import RLDReference

/// Runs every operation on a device against the Double reference.
public enum DeviceChecks {
    /// Largest error of one value, relative to the largest magnitude in its tensor: float32 sums of up to a few thousand
    /// products stay a few times below it.
    package static let bound = 1e-5

    /// The same for what an operation computes. Products in tf32 are compared with a reference that rounds the operands as they do:
    /// these products are exact, and the sums are float32's but for one thing. Where float32 rounds a sum, a matrix unit leaves the
    /// digits behind the last one off (Fasi et al., "Numerical behavior of NVIDIA tensor cores", PeerJ Computer Science 7, 2021): half
    /// of the last one after every 8 products, all in the same direction. Operands rounded otherwise miss it several times over.
    package static func bound(_ operation: Network.Operation, _ precision: Precision) -> Double {
        guard precision == .tf32 else { return bound }
        let depth =
            switch operation {
            case .convolution(let c) where c.groups == 1: max(c.inputChannels, c.outputChannels) * c.kernel * c.kernel
            case .linear(let l): max(l.inputs, l.outputs)
            default: 0
            }
        return bound + Double(depth) / 8 * 0x1p-24
    }

    /// The largest of a network's operations.
    package static func bound(_ network: Network, _ precision: Precision) -> Double {
        network.nodes.reduce(bound) { max($0, bound($1.operation, precision)) }
    }

    /// - Parameters:
    ///   - profile: which kernels; those of the device's kind if nil.
    ///   - registers: the cpu profile's register tiles; those of the device if nil.
    ///   - losses: also the losses and a whole step.
    ///   - tiny: only the small cases, for simulators.
    ///   - progress: called after each check.
    package static func run(
        _ device: Device, profile: KernelProfile?, registers: RegisterClass?, losses: Bool, tiny: Bool,
        progress: (CheckResult) -> Void = { _ in }
    ) throws -> [CheckResult] {
        let engine = try DeviceEngine(device, profile: profile, registers: registers, guardElements: 16)
        let sharing = tiny ? nil : try DeviceEngine(device, profile: profile, registers: registers)
        let operations = (tiny ? OperationCase.tiny : OperationCase.all).map { operation in
            Check(name: operation.name) { try check(operation, engine: $0, sharing: sharing) }
        }
        let stored = (tiny ? OperationCase.tinyStored : OperationCase.stored).map { operation in
            Check(name: operation.name) { try checkStored(operation, engine: $0) }
        }
        let results = try (operations + stored + (losses ? trainingChecks(tiny: tiny, engine: engine) : [])).map { check in
            let result = try check.run(engine)
            progress(result)
            return result
        }
        guard engine.profile == .gpu else { return results }
        return try results + productChecks(device, tiny: tiny, progress: progress)
    }

    /// Products in tf32, and of both precisions in every tile, whatever a device of this size would choose.
    private static func productChecks(
        _ device: Device, tiny: Bool, progress: (CheckResult) -> Void
    ) throws -> [CheckResult] {
        func run(
            _ operations: [OperationCase], _ precision: Precision, rows: Int?, named name: (String) -> String
        ) throws -> [CheckResult] {
            let engine = try DeviceEngine(
                device, profile: .gpu, registers: nil, guardElements: 16, precision: precision,
                emulatesMatrixUnits: !device.hasMatrixUnits, forcedTiles: TileChoices.Forced(rows: rows))
            return try operations.map { operation in
                let result = try Check(name: name(operation.name)) { try check(operation, engine: $0) }.run(engine)
                progress(result)
                return result
            }
        }
        return try run(tiny ? OperationCase.tinyProducts : OperationCase.products, .tf32, rows: nil) { "tf32 \($0)" }
            + Precision.allCases.flatMap { precision in
                try TileSize.rowChoices.flatMap { rows in
                    try run(tiny ? OperationCase.tinyTiles : OperationCase.tiles, precision, rows: rows) {
                        "\(precision.rawValue), tiles of \(16 * rows) pixels: \($0)"
                    }
                }
            }
    }

    /// What the checks in tf32 say about a device; nil where there were none.
    public static func matrixUnits(of device: Device, _ results: [CheckResult]) -> String? {
        let results = results.filter { $0.precision == .tf32 }
        guard !results.isEmpty else { return nil }
        let failures = results.count { !$0.passed }
        guard device.hasMatrixUnits else {
            return "tf32: \(device.name) has no matrix units that are known; the kernels for them, emulated, "
                + (failures == 0 ? "passed" : "failed \(failures) of \(results.count) checks")
        }
        return failures == 0
            ? "tf32: verified on the matrix units of \(device.name)"
            : "tf32: FAILED \(failures) of \(results.count) checks on the matrix units of \(device.name); do not use it"
    }

    /// Every check on one device and profile.
    /// - Parameters:
    ///   - profile: which kernels; those of the device's kind if nil.
    ///   - tiny: only the small cases, for simulators.
    ///   - progress: called after each check.
    public static func run(
        _ device: Device, profile: KernelProfile? = nil, tiny: Bool = false, progress: (CheckResult) -> Void = { _ in }
    ) throws -> [CheckResult] {
        try run(device, profile: profile, registers: nil, losses: true, tiny: tiny, progress: progress)
    }

    /// One case: forward, and unless it is a folded network backward (twice: it must overwrite) and running statistics.
    /// - Parameters:
    ///   - engine: with guard zones, where every value has memory of its own.
    ///   - sharing: without; backward runs once more there, over memory that values share in turn, as in training.
    package static func check(
        _ operation: OperationCase, engine: DeviceEngine, sharing: DeviceEngine? = nil
    ) throws -> CheckResult {
        let network = operation.network
        var worst = Worst()
        let bound = bound(network, engine.precision)
        func compare(_ found: [Double], _ expected: [Double], _ name: String) {
            worst.add(relativeError(found, expected) / bound, name)
        }

        let state = randomState(network)
        let images = random(operation.batch * network.nodes[0].size, stream: 1)
        let reference = try ReferenceNetwork(network, state: state, inputGradient: true, precision: engine.precision)
        let expected = try reference.forward(images, batch: operation.batch, training: !operation.folded)

        func make(_ engine: DeviceEngine) throws -> (DeviceNetwork, NetworkPlan) {
            let device = try DeviceNetwork(
                network, state: state, role: operation.folded ? .teacher : .student, engine: engine, inputGradient: true)
            return (
                device,
                try NetworkPlan(
                    device.network, store: device.store, batch: operation.batch,
                    mode: operation.folded ? .inference : .training, inputGradient: !operation.folded)
            )
        }
        func compareGradients(_ device: DeviceNetwork, _ plan: NetworkPlan, _ engine: DeviceEngine, _ how: String) throws {
            if let dx = plan.gradientOfInput {
                let found = Layout.toNCHW(try engine.read(dx), batch: operation.batch, shape: network.inputShape)
                compare(found, reference.gradient(of: 0), "input gradient\(how)")
            }
            for parameter in network.parameters {
                let found = try engine.read(device.store.gradient(parameter.name, count: parameter.count))
                compare(found, reference.gradients[parameter.name] ?? [], "gradient of \(parameter.name)\(how)")
            }
        }
        let (device, plan) = try make(engine)
        try plan.write(images)
        try plan.forward()
        let shape = network.nodes[network.output].shape
        compare(Layout.toNCHW(try engine.read(plan.output), batch: operation.batch, shape: shape), expected, "output")

        if let outputGradient = plan.outputGradient {
            let gradient = random(expected.count, stream: 2)
            try reference.backward(gradient)
            for _ in 0..<2 {
                try engine.write(Layout.toNHWC(gradient, batch: operation.batch, shape: shape), to: outputGradient)
                try plan.backward()
            }
            try compareGradients(device, plan, engine, "")
            let after = try device.store.state()
            for tensor in network.stateTensors where tensor.kind != .parameter {
                compare(after[tensor.name]?.values ?? [], reference.state[tensor.name]?.values ?? [], tensor.name)
            }
            if let sharing {
                let (device, plan) = try make(sharing)
                try plan.write(images)
                try plan.forward()
                if let outputGradient = plan.outputGradient {
                    try sharing.write(Layout.toNHWC(gradient, batch: operation.batch, shape: shape), to: outputGradient)
                }
                try plan.backward()
                try compareGradients(device, plan, sharing, ", in shared memory")
            }
        }
        return CheckResult(worst, damagedGuards: try plan.damagedGuards(), precision: engine.precision)
    }

    /// A frozen network with its activations stored as half, node by node: the reference goes on with what the device has stored, so
    /// that each value is off by float32's bound and its own rounding alone.
    package static func checkStored(_ operation: OperationCase, engine: DeviceEngine) throws -> CheckResult {
        let (network, batch) = (operation.network, operation.batch)
        let state = randomState(network)
        let images = random(batch * network.nodes[0].size, stream: 1)
        let device = try DeviceNetwork(network, state: state, role: .teacher, engine: engine, storage: .half)
        let plan = try device.plan(batch: batch, mode: .inference)
        let reference = try ReferenceNetwork(
            device.network, state: network.foldingBatchNorm(state: state).state, precision: engine.precision)
        var worst = Worst()
        var halves = 0
        try plan.write(images)
        try reference.forward(images, batch: batch, training: false) { id, expected in
            try plan.runForward(id)
            let found = try plan.currentValue(of: id)
            let element = plan.place(of: id).element
            halves += element == .float16 ? 1 : 0
            if found.count != expected.count { worst.add(.infinity, device.network.nodes[id].name) }
            let allowed = bound(device.network.nodes[id].operation, engine.precision) * expected.reduce(0) { max($0, abs($1)) }
            for (a, b) in zip(found, expected) {
                worst.add(abs(a - b) / (allowed + element.rounding(of: b)), device.network.nodes[id].name)
            }
            return found
        }
        if halves == 0 { worst.add(.infinity, "nothing is stored as half") }
        return CheckResult(worst, damagedGuards: try plan.damagedGuards())
    }

    /// Largest |error| over the largest |expected|; infinite if the counts differ, NaN if a value is.
    package static func relativeError(_ found: [Double], _ expected: [Double]) -> Double {
        guard found.count == expected.count else { return .infinity }
        let scale = expected.reduce(0) { max($0, abs($1)) }
        var worst = 0.0
        for (a, b) in zip(found, expected) {
            let error = abs(a - b)
            if !(error <= worst) { worst = error }
            if error.isNaN { return .nan }
        }
        return worst == 0 ? 0 : worst / scale
    }

    /// Values in [-1, 1), rounded to float32.
    package static func random(_ count: Int, stream: UInt64) -> [Double] {
        (0..<count).map { Double(Float(2 * CounterRandom.uniform(seed: 7, stream: stream, counter: UInt64($0)) - 1)) }
    }

    /// Parameters and running statistics of ordinary size, none at its initial value.
    package static func randomState(_ network: Network) -> NetworkState {
        var state = NetworkState()
        for (index, tensor) in network.stateTensors.enumerated() {
            let values = random(tensor.count, stream: UInt64(100 + index))
            let isNorm =
                network.node(named: String(tensor.name.split(separator: ".").dropLast().joined(separator: ".")))
                .map { if case .batchNorm = network.nodes[$0].operation { true } else { false } } ?? false
            let scaled: [Double] =
                switch tensor.kind {
                case .counter: [3]
                case .buffer: tensor.name.hasSuffix("running_var") ? values.map { 1 + 0.5 * $0 } : values
                case .parameter: isNorm && tensor.name.hasSuffix("weight") ? values.map { 1 + 0.5 * $0 } : values
                }
            state[tensor.name] = Tensor(shape: tensor.shape, values: scaled.map { Double(Float($0)) })
        }
        return state
    }
}
