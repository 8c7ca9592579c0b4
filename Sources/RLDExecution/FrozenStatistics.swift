import OpenCLRuntime
import RLDGraph

/// What a frozen network's batch norms multiply by, made of their running statistics once, when these are loaded. (Most are folded
/// into convolutions; those in front of a rectifier and a convolution cannot be.)
struct FrozenStatistics {
    private var places: [String: DeviceSlice] = [:]
    private var launches: [Launch] = []

    /// - Parameters:
    ///   - running: means and variances.
    ///   - offset: of one of them in `running`, by name.
    init(_ network: Network, running: Buffer, engine: DeviceEngine, offset: (String) -> Int) throws(DeviceError) {
        var norms: [(name: String, norm: BatchNorm)] = []
        for node in network.nodes { if case .batchNorm(let norm) = node.operation { norms.append((node.name, norm)) } }
        guard !norms.isEmpty else { return }
        // Each begins at a multiple of four, as kernels over vectors of channels want it.
        func size(_ norm: BatchNorm) -> Int { ceilDivide(2 * norm.channels, 4) * 4 }
        let buffer = try engine.makeBuffer(norms.reduce(0) { $0 + size($1.norm) }, label: "frozen statistics")
        var first = 0
        for (name, norm) in norms {
            let place = DeviceSlice(buffer, offset: first, count: 2 * norm.channels)
            first += size(norm)
            places[name] = place
            launches.append(
                try engine.runningStatistics(
                    name, norm, running: running, mean: offset("\(name).running_mean"),
                    variance: offset("\(name).running_var"), into: place))
        }
    }

    /// [mean, 1 / sqrt(variance + epsilon)] of a batch norm.
    func place(_ node: String) -> DeviceSlice? { places[node] }

    /// Enqueues the making of all.
    func update(on engine: DeviceEngine) throws(DeviceError) { try engine.replay(launches) }
}

extension DeviceEngine {
    /// The running statistics of a batch norm in the place of a batch's.
    func runningStatistics(
        _ node: String, _ b: BatchNorm, running: Buffer, mean: Int, variance: Int, into statistics: DeviceSlice
    ) throws(DeviceError) -> Launch {
        // The program that others of batch_norm.cl have, though this kernel takes channels one by one.
        try launch(
            node, "batch_norm.cl", "batch_norm_statistics_running", defines: [("VECTOR", "\(laneWidth)")], global: [b.channels],
            [.int(b.channels), .buffer(running), .long(mean), .long(variance), .slice(statistics), .float(b.epsilon)])
    }
}
