import OpenCLRuntime
import RLDGraph

/// Copies of convolution weights in the order in which kernels read them. Those of a trained network, and all of the gpu profile,
/// are made after the optimiser, or once a network is loaded, by one launch per buffer. A frozen network's on the cpu profile are
/// made one by one while it is loaded, from a place that all share, and are the only ones that stay.
struct PackedWeights {
    /// What a copy is for; the numbers are the kernel's.
    private enum Kind: Int {
        case patches = 0
        case patchesTransposed = 1
        case winograd = 2
        case winogradTransposed = 3
        case smallWinograd = 4
        case groups = 5
        case groupsTransposed = 6

        /// Rows and columns of the results of one Winograd tile; nil elsewhere.
        var winogradResults: Int? {
            switch self {
            case .patches, .patchesTransposed, .groups, .groupsTransposed: nil
            case .winograd, .winogradTransposed: 4
            case .smallWinograd: 2
            }
        }
        var isTransposed: Bool { self == .patchesTransposed || self == .winogradTransposed || self == .groupsTransposed }
        var isOfGroups: Bool { self == .groups || self == .groupsTransposed }
    }

    private struct Entry {
        let key: Key
        let kind: Kind
        let c: Convolution
        let source: Int
        /// Channels that lie together; of a copy in groups, the number of groups.
        let block: Int
        var outer: Int { kind.isTransposed ? c.inputChannels : c.outputChannels }
        var inner: Int { kind.isTransposed ? c.outputChannels : c.inputChannels }
        /// What an item of a GPU may take part in: of a copy in groups its elements, else pairs of channels.
        var parts: Int { kind.isOfGroups ? count : outer * inner }
        /// Elements.
        var count: Int {
            if kind.isOfGroups { return PackedWeights.groupsCount(c) }
            let side = kind.winogradResults.map { $0 + 2 } ?? c.kernel
            return ceilDivide(outer, block) * block * inner * side * side
        }
    }

    private struct Key: Hashable {
        let node: String
        let transposed: Bool
    }

    /// Where a copy lies, and for which algorithm it is.
    struct Place {
        let slice: DeviceSlice
        /// Of Winograd's F(results x results, 3x3); nil elsewhere.
        let winogradResults: Int?
    }

    private var places: [Key: Place] = [:]
    private var launches: [Launch] = []
    /// Of a frozen network, by parameter.
    private var single: [String: Launch] = [:]
    private let engine: DeviceEngine

    /// The parameters of a frozen network that exist as packed copies only.
    static func names(_ network: Network, engine: DeviceEngine) -> Set<String> {
        guard engine.profile == .cpu else { return [] }
        return Set(
            network.nodes.compactMap {
                if case .convolution = $0.operation { "\($0.name).weight" } else { nil }
            })
    }

    /// - Parameters:
    ///   - parameters: where the weights are read.
    ///   - trainable: the forward pass is one that is differentiated. F(4x4, 3x3) rounds two to three times as much as a plain sum, and
    ///     a rectifier whose input is 0 within rounding passes or stops a whole gradient: there the forward pass takes F(2x2, 3x3).
    ///   - needsInputGradient: convolutions that get a second, transposed copy.
    ///   - offset: of a parameter in `parameters`, by name.
    init(
        _ network: Network, parameters: Buffer, engine: DeviceEngine, trainable: Bool,
        needsInputGradient: Set<Network.NodeID>, offset: (String) -> Int
    ) throws(DeviceError) {
        self.engine = engine
        var entries: [Entry] = []
        for (id, node) in network.nodes.enumerated() {
            guard let c = Self.convolution(node.operation, engine: engine, trainable: trainable) else { continue }
            func add(transposed: Bool) {
                let channels = transposed ? c.inputChannels : c.outputChannels
                entries.append(
                    Entry(
                        key: Key(node: node.name, transposed: transposed),
                        kind: Self.kind(
                            ConvolutionGeometry(network, id, c), engine, trainable: trainable, transposed: transposed),
                        c: c, source: offset("\(node.name).weight"),
                        block: c.groups > 1
                            ? c.groups
                            : engine.profile == .cpu ? engine.registers.block(channels) : engine.tiles.block(channels)))
            }
            add(transposed: false)
            if needsInputGradient.contains(id), !c.isDepthwise { add(transposed: true) }
        }
        // Large networks take several buffers on devices that allocate little at once.
        let limit = engine.allocationLimit / 4
        while !entries.isEmpty {
            var (count, taken) = (0, 0)
            while taken < entries.count, taken == 0 || count + entries[taken].count <= limit {
                count += entries[taken].count
                taken += 1
            }
            try pack(
                Array(entries[..<taken]), count: count, parameters: parameters, together: trainable || engine.profile == .gpu)
            entries.removeFirst(taken)
        }
    }

    /// What a node's weights are packed for: a convolution, and on the gpu profile a linear layer that may become one.
    private static func convolution(_ operation: Network.Operation, engine: DeviceEngine, trainable: Bool) -> Convolution? {
        switch operation {
        case .convolution(let c): c
        case .linear(let l) where engine.profile == .gpu && (!trainable || engine.precision == .tf32): l.convolution
        default: nil
        }
    }

    private static func kind(_ g: ConvolutionGeometry, _ engine: DeviceEngine, trainable: Bool, transposed: Bool) -> Kind {
        if g.c.groups > 1 { return transposed ? .groupsTransposed : .groups }
        return switch (engine.profile, transposed) {
        case (.gpu, true): g.winograd(on: engine, transposed: true) ? .winogradTransposed : .patchesTransposed
        case (.gpu, false): !trainable && g.winograd(on: engine, transposed: false) ? .winograd : .patches
        case (.cpu, true): g.winogradInputGradient ? .winogradTransposed : .patchesTransposed
        case (.cpu, false) where trainable: g.smallWinogradForward ? .smallWinograd : .patches
        case (.cpu, false): g.winogradForward ? .winograd : .patches
        }
    }

    private mutating func pack(_ entries: [Entry], count: Int, parameters: Buffer, together: Bool) throws(DeviceError) {
        let buffer = try engine.makeBuffer(count, label: "packed weights")
        var table: [Int64] = []
        var target = 0
        for entry in entries {
            table += [
                entry.source, target, entry.c.outputChannels, entry.c.inputChannels, entry.c.kernel * entry.c.kernel,
                entry.kind.rawValue, entry.block, entry.count,
            ].map(Int64.init)
            let place = Place(
                slice: DeviceSlice(buffer, offset: target, count: entry.count), winogradResults: entry.kind.winogradResults)
            places[entry.key] = place
            // One channel for one is the same in both directions.
            if entry.c.isDepthwise { places[Key(node: entry.key.node, transposed: true)] = place }
            target += entry.count
        }
        let list = try Buffer(engine.context, bytes: table.count * 8, label: "packing table")
        try engine.queue.write(table, to: list)
        let lanes = engine.profile.packingLanes(engine.registers)
        // Of the largest copy a GPU's item takes four times all taps.
        let largest = entries.map(\.parts).max() ?? 0
        let (items, run) = engine.profile == .cpu ? (16, 1024) : (max(1, min(ceilDivide(largest, 1024), 256)) * 256, 1)
        func launch(_ first: Int, _ count: Int) throws(DeviceError) -> Launch {
            try engine.launch(
                "pack_weights", "pack_weights.cl", "pack_weights", defines: [("LANES", "\(lanes)")] + engine.tileProduct.defines,
                global: [items, count], heavyItems: true,
                [.int(first), .int(run), .buffer(list), .buffer(parameters), .buffer(buffer)])
        }
        if together { return launches.append(try launch(0, entries.count)) }
        for (index, entry) in entries.enumerated() { single["\(entry.key.node).weight"] = try launch(index, 1) }
    }

    /// Elements of a copy in groups: the weights, then zeros, which kernels read in the place of pixels outside the image; at least as
    /// many as they read of one, and up to full work-groups.
    private static func groupsCount(_ c: Convolution) -> Int {
        let weights = c.outputChannels * c.fanIn
        return ceilDivide(weights + max(16, c.inputsPerGroup, c.outputsPerGroup), 64) * 64
    }

    /// A convolution's weights for its forward pass or, transposed, for its input gradient; nil where there is no copy.
    func place(_ node: String, transposed: Bool) -> Place? { places[Key(node: node, transposed: transposed)] }

    /// Enqueues the copying of everything.
    func update() throws(DeviceError) { try engine.replay(launches) }

    /// Enqueues the copying of one parameter of a frozen network, which lies where `parameters` begins.
    func update(_ parameter: String) throws(DeviceError) {
        if let launch = single[parameter] { try engine.replay([launch]) }
    }
}
