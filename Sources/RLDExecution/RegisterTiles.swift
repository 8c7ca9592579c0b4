/// The register tiles of an engine: those of the device's class, but for what a tuning chose.
package struct RegisterTiles: Sendable, Equatable {
    /// What a tile is for.
    package enum Use: String, CaseIterable, Sendable {
        /// Forward passes and input gradients, tiles of one vector and of two.
        case narrow = "forward_narrow"
        case wide = "forward_wide"
        /// Weight gradients.
        case narrowWeights = "weights_narrow"
        case wideWeights = "weights_wide"

        /// What the kernels can be built for (common/tile.clh). Rows of a weight gradient divide 16.
        package var rows: [Int] {
            switch self {
            case .narrow, .wide: [4, 6, 8, 12, 14]
            case .narrowWeights, .wideWeights: [4, 8]
            }
        }
    }

    package let kind: RegisterClass
    private let chosen: [Use: Int]

    /// - Parameter rows: by use; a number that no kernel can be built for is left out.
    package init(_ kind: RegisterClass, rows: [String: Int] = [:]) {
        self.kind = kind
        var known: [Use: Int] = [:]
        for (name, count) in rows {
            if let use = Use(rawValue: name), use.rows.contains(count) { known[use] = count }
        }
        chosen = known
    }

    /// Floats per vector.
    package var lanes: Int { kind.forwardTile(block: 16).lanes }

    /// Lanes of a tile over `channels` channels.
    func block(_ channels: Int) -> Int { kind.block(channels) }

    func forwardTile(block: Int) -> RegisterTile { replacing(kind.forwardTile(block: block), narrow: .narrow, wide: .wide) }

    func weightTile(block: Int) -> RegisterTile {
        replacing(kind.weightTile(block: block), narrow: .narrowWeights, wide: .wideWeights)
    }

    /// Rows of the tile for a use.
    package func rows(_ use: Use) -> Int {
        switch use {
        case .narrow: forwardTile(block: lanes).rows
        case .wide: forwardTile(block: 2 * lanes).rows
        case .narrowWeights: weightTile(block: lanes).rows
        case .wideWeights: weightTile(block: 2 * lanes).rows
        }
    }

    private func replacing(_ tile: RegisterTile, narrow: Use, wide: Use) -> RegisterTile {
        RegisterTile(
            lanes: tile.lanes, block: tile.block, rows: chosen[tile.block > tile.lanes ? wide : narrow] ?? tile.rows)
    }
}
