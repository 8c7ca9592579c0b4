import RLDGraph
import RLDMethods

/// What a work-group of the gpu profile's convolutions computes (`kernels/convolution_tiles.cl`): 16 `rows` pixels by 16 `lanes`
/// channels. Sums are added in one order whatever the size.
package struct TileSize: Equatable {
    /// Products that a tile adds at a time.
    fileprivate static let depth = 16

    /// What `rows` can be.
    package static let rowChoices = [2, 4, 8]

    package let rows: Int
    package let lanes: Int

    package init(rows: Int, lanes: Int) { (self.rows, self.lanes) = (rows, lanes) }

    /// Most `lanes`. With matrix units memory is what wide tiles spare; in float32 an item would run out of registers.
    static func mostLanes(_ precision: Precision) -> Int { precision == .float32 ? 4 : 8 }

    /// Work-items of a group (ITEMS of `kernels/common/tile_product.clh`).
    func items(_ product: TileProduct) -> Int { product == .float32 || lanes < 4 ? 64 * lanes : 32 * lanes }

    var pixels: Int { 16 * rows }
    var channels: Int { 16 * lanes }

    var defines: [(String, String)] { [("LANES", "\(lanes)"), ("ROWS", "\(rows)")] }

    /// Bytes of local memory of a forward pass or an input gradient: both sides of its products, and more to spread the banks.
    func memory(_ product: TileProduct) -> Int {
        4
            * (pixels * (Self.depth + product.rowPadding) + Self.depth * (channels + product.padding) + product.exchange
                * items(product))
    }

    /// Bytes of local memory of a weight gradient, whose tile is `channels` outputs by 64 columns.
    func weightMemory(_ product: TileProduct) -> Int {
        4 * (Self.depth * (channels + 64 + 2 * product.padding) + product.exchange * items(product))
    }
}

/// The same of a 3x3 convolution whose tile is neighbouring pixels of one image, gathered with what surrounds them
/// (`kernels/convolution_halo.cl`).
package struct HaloTile: Equatable {
    package let size: TileSize
    /// Pixels of a line.
    package let width: Int
    /// Channels in whose blocks weights are packed.
    private let block: Int

    private var height: Int { size.pixels / width }

    /// Over channels whose weights are packed for tiles of so many `lanes`, the least halo first. More than four would need more local
    /// memory than there is.
    static func choices(rows: Int, lanes: Int) -> [HaloTile] {
        [8, 16, 32].map { HaloTile(size: TileSize(rows: rows, lanes: min(lanes, 4)), width: $0, block: 16 * lanes) }
            .sorted { $0.halo < $1.halo }
    }

    /// Tiles that cover an image.
    func count(over output: Extent) -> Int { ceilDivide(output.width, width) * ceilDivide(output.height, height) }

    var defines: [(String, String)] {
        size.defines + [("TILE_WIDTH", "\(width)")] + (block > size.channels ? [("BLOCK", "\(block)")] : [])
    }

    private var halo: Int { (width + 2) * (height + 2) }

    /// Bytes of local memory: pixels and the weights of nine positions, and more to spread the banks.
    func memory(_ product: TileProduct) -> Int {
        4
            * (halo * (TileSize.depth + product.rowPadding) + 9 * TileSize.depth * (size.channels + product.padding)
                + product.exchange * size.items(product))
    }
}

/// What a work-group of the weight gradient of a 3x3 convolution takes at a time: 8 by 8 pixels with what surrounds them, of 16 channels
/// and 16 `lanes` outputs (`kernels/convolution_halo_weights.cl`).
package struct HaloWeightTile: Equatable {
    private static let side = 8

    package let lanes: Int

    var channels: Int { 16 * lanes }
    var items: Int { 64 * lanes }

    /// Tiles that cover an image.
    static func count(over output: Extent) -> Int { ceilDivide(output.width, side) * ceilDivide(output.height, side) }

    /// Whether no more than a quarter of the tiles' pixels lie beyond an image.
    static func fits(_ output: Extent) -> Bool { 4 * output.plane >= 3 * side * side * count(over: output) }

    /// Bytes of local memory: both sides of the products, and more to spread the banks.
    func memory(_ product: TileProduct) -> Int {
        let (x, dy) = ((Self.side + 2) * (Self.side + 2), Self.side * Self.side)
        let padding = product == .float32 ? 0 : 8
        return 4 * (x * (16 + padding) + dy * (channels + padding) + product.exchange * items)
    }
}

extension TileProduct {
    /// Values by which rows of a tile in local memory are longer where they run along the depth, and those that run across it.
    fileprivate var rowPadding: Int { self == .float32 ? 4 : 0 }
    fileprivate var padding: Int { self == .float32 ? 0 : 4 }
    /// Values per work-item through which the emulation of matrix units exchanges.
    fileprivate var exchange: Int { self == .emulation ? 6 : 0 }
}
