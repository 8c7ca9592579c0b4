import OpenCLRuntime
import RLDGraph
import RLDMethods

/// Which tiles the gpu profile's convolutions take on a device: as measured by counting, but for what a tuning chose.
package struct TileChoices: Sendable, Equatable {
    /// What a tuning can choose.
    package enum Use: String, CaseIterable, Sendable {
        /// Most channels of a tile.
        case channels = "group_channels"
        /// Work-groups per compute unit below which forward passes and input gradients take smaller tiles, by the tile's channels (64 or
        /// more).
        case groups16 = "groups_16"
        case groups32 = "groups_32"
        case groups64 = "groups_64"
        /// Work-groups of 64 items per compute unit to which a weight gradient's pixels are given: as many as stay at a time with 128
        /// registers each of a unit's 65,536. More would wait for a second round.
        case weightGroups = "weight_groups"
        /// Least channels on both sides from which 3x3 convolutions in float32, of frozen forward passes and input gradients, take
        /// Winograd's algorithm; 0: none does.
        case winograd = "winograd_channels"
        /// Whether 3x3 convolutions at stride 1 and their gradients gather pixels with what surrounds them
        /// (`kernels/convolution_halo.cl`, `convolution_halo_weights.cl`).
        case halo

        /// The name of the choice for products of a precision.
        package func name(_ precision: Precision) -> String {
            precision == .float32 ? rawValue : "\(precision.rawValue)_\(rawValue)"
        }

        package func values(_ precision: Precision) -> [Int] {
            switch self {
            case .channels: [16, 32, 64, 128].filter { $0 <= 16 * TileSize.mostLanes(precision) }
            case .groups16, .groups32, .groups64: [0, 1, 2, 4, 16]
            case .weightGroups: [2, 4, 8, 16, 32]
            case .winograd: precision == .float32 ? [0, 32, 64, 128, 256] : [0]
            case .halo: [0, 1]
            }
        }

        package func standard(_ precision: Precision) -> Int {
            switch self {
            case .channels: 16 * TileSize.mostLanes(precision)
            case .groups16, .groups32, .groups64: 1
            case .weightGroups: 8
            // A value of 128 channels costs a plain sum 2,304 operations, this one 576 and 44 bytes of memory, most of them cached.
            case .winograd: precision == .float32 ? 128 : 0
            case .halo: 1
            }
        }

        /// A value in words.
        package func text(_ value: Int) -> String {
            switch self {
            case .channels: "up to \(value) channels"
            case .groups16, .groups32, .groups64, .weightGroups: "\(value) groups per unit"
            case .winograd: value == 0 ? "none" : "from \(value) channels"
            case .halo: value == 0 ? "none" : "all"
            }
        }

        /// Of tiles of so many lanes.
        fileprivate static func groups(lanes: Int) -> Use { lanes == 1 ? .groups16 : lanes == 2 ? .groups32 : .groups64 }
    }

    /// What tests and `rld doctor` compute with, whatever a layer's size.
    package struct Forced: Sendable, Equatable {
        /// Pixels of a tile in units of 16 of forward passes and input gradients (`TileSize.rowChoices`); nil: by the size.
        var rows: Int?
        /// Distances between what a work-group reads take 64 bits.
        var far: Bool

        package init(rows: Int? = nil, far: Bool = false) { (self.rows, self.far) = (rows, far) }
    }

    private let chosen: [Use: Int]
    private let product: TileProduct
    private let forced: Forced
    private let computeUnits: Int
    private let maxWorkGroupSize: Int
    private let localMemory: Int

    /// - Parameters:
    ///   - values: by name of a use; others than a use has are left out.
    package init(
        _ device: Device, product: TileProduct = .float32, values: [String: Int] = [:], forced: Forced = Forced()
    ) {
        (computeUnits, maxWorkGroupSize, localMemory) = (device.computeUnits, device.maxWorkGroupSize, device.localMemory)
        (self.product, self.forced) = (product, forced)
        var known: [Use: Int] = [:]
        for use in Use.allCases {
            if let value = values[use.name(product.precision)], use.values(product.precision).contains(value) {
                known[use] = value
            }
        }
        chosen = known
    }

    package func value(_ use: Use) -> Int { chosen[use] ?? use.standard(product.precision) }

    /// Sixteens of channels of a tile over `channels`: as few empty lanes as work-groups on the device allow.
    func lanes(_ channels: Int) -> Int {
        let most = value(.channels) / 16
        let lanes = [1, 2, 4].first { channels <= 16 * $0 || maxWorkGroupSize < 128 * $0 || most <= $0 } ?? 8
        // Twice 64 channels only where they leave none of the last 128 empty.
        return lanes == 8 && (channels - 1) % 128 < 64 ? 4 : lanes
    }

    /// Channels of a tile over `channels`, in whose blocks weights are packed.
    package func block(_ channels: Int) -> Int { 16 * lanes(channels) }

    /// Of a forward pass or an input gradient. Large tiles read each value of a neighbour's fewer times; small ones leave no compute
    /// unit without work.
    /// - Parameter results: pixels that are computed, by phase.
    package func fitting(results: Int, channels: Int, phases: Int) -> TileSize {
        let lanes = lanes(channels)
        if let rows = forced.rows { return TileSize(rows: rows, lanes: lanes) }
        let columns = ceilDivide(channels, 16 * lanes) * phases
        let wanted = value(.groups(lanes: lanes)) * computeUnits
        for size in [TileSize(rows: 8, lanes: lanes), TileSize(rows: 4, lanes: lanes)] {
            // 16 channels leave an item too few registers to gather 128 pixels.
            let fits = size.memory(product) <= localMemory && (size.rows < 8 || lanes > 1)
            let groups = ceilDivide(results, size.pixels) * columns
            if fits, groups >= (size.rows == 8 ? 2 : 1) * wanted { return size }
        }
        return TileSize(rows: 2, lanes: lanes)
    }

    /// Of a 3x3 convolution at stride 1 whose tiles are gathered with what surrounds them; nil where such tiles would lie beyond the
    /// image with more than a quarter of their pixels, or leave compute units without work.
    /// - Parameter output: pixels and channels that are computed.
    package func halo(_ output: Extent, batch: Int) -> HaloTile? {
        let lanes = lanes(output.channels)
        guard value(.halo) > 0, !forced.far, forced.rows != 2 else { return nil }
        for rows in forced.rows.map({ [$0] }) ?? [8, 4] {
            let fitting = HaloTile.choices(rows: rows, lanes: lanes).filter {
                $0.memory(product) <= localMemory && $0.size.items(product) <= maxWorkGroupSize
            }
            guard let tile = fitting.min(by: { $0.count(over: output) < $1.count(over: output) }) else { continue }
            let count = tile.count(over: output)
            let groups = count * batch * ceilDivide(output.channels, tile.size.channels)
            let busy = groups >= (rows == 8 ? 2 : 1) * value(.groups(lanes: tile.size.lanes)) * computeUnits
            if forced.rows != nil || busy, 4 * output.plane >= 3 * count * tile.size.pixels { return tile }
        }
        return nil
    }

    /// Whether distances of so many elements take 64 bits.
    func isFar(_ distance: Int) -> Bool { forced.far || distance >= 1 << 31 }

    /// Whether a choice can change how a layer is computed.
    /// - Parameter channels: those that its tiles go over.
    package func concerns(_ use: Use, channels: Int, weightGradient: Bool) -> Bool {
        switch use {
        case .channels: channels > 16
        case .groups16, .groups32, .groups64: !weightGradient && use == .groups(lanes: lanes(channels))
        case .weightGroups: weightGradient
        case .winograd: !weightGradient && channels >= 32
        case .halo: true
        }
    }

    /// Work-groups of so many items to which the pixels of a weight gradient of so many tiles are given, at least one.
    func weightGroups(tiles: Int, items: Int) -> Int { max(1, value(.weightGroups) * 64 * computeUnits / (items * tiles)) }

    /// Whether a 3x3 convolution of which both sides have at least so many channels takes Winograd's algorithm.
    func takesWinograd(_ channels: Int) -> Bool { value(.winograd) > 0 && channels >= value(.winograd) }

    /// Of the weight gradient of a 3x3 convolution at stride 1, where tiles with what surrounds them suit its images.
    func weightHalo(_ output: Extent) -> HaloWeightTile? {
        let tile = HaloWeightTile(lanes: min(lanes(output.channels), 4))
        let runs = tile.items <= maxWorkGroupSize && tile.memory(product) <= localMemory
        return value(.halo) > 0 && !forced.far && forced.rows != 2 && runs && HaloWeightTile.fits(output) ? tile : nil
    }

    /// Of a weight gradient over so many output channels.
    func weightTile(_ channels: Int) -> TileSize { TileSize(rows: 4, lanes: lanes(channels)) }
}
