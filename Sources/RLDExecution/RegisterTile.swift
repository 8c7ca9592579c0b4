/// The tile of sums that a kernel of the cpu profile keeps in registers, as `common/tile.clh` takes it.
struct RegisterTile: Hashable {
    /// Floats per vector.
    let lanes: Int
    /// Lanes of the tile: one or two vectors.
    let block: Int
    /// Rows of the tile.
    let rows: Int

    var defines: [(String, String)] { [("LANES", "\(lanes)"), ("BLOCK", "\(block)"), ("ROWS", "\(rows)")] }
}

/// CPU devices by the registers they have: the tile constants of the cpu profile.
package enum RegisterClass: String, Sendable, CaseIterable {
    /// 32 registers of 16 floats: AVX-512.
    case avx512
    /// 16 registers of 8 floats, and what has fewer: AVX2, NEON.
    case avx2

    package init(nativeFloatWidth: Int) { self = nativeFloatWidth >= 16 ? .avx512 : .avx2 }

    /// Lanes of a tile over `channels` channels: two AVX-512 vectors where that wastes nothing against one.
    package func block(_ channels: Int) -> Int {
        self == .avx512 && ceilDivide(channels, 32) * 32 == ceilDivide(channels, 16) * 16 ? 32 : 16
    }

    /// Rows are pixels, lanes output channels. Measured on AVX-512: 12 x 16 and 8 x 32; AVX2 holds 6 x 16.
    func forwardTile(block: Int) -> RegisterTile {
        switch self {
        case .avx512: RegisterTile(lanes: 16, block: block, rows: block == 32 ? 8 : 12)
        case .avx2: RegisterTile(lanes: 8, block: 16, rows: 6)
        }
    }

    /// Rows are output channels, lanes input channels (or columns of patches). The rows divide 16.
    func weightTile(block: Int) -> RegisterTile {
        switch self {
        case .avx512: RegisterTile(lanes: 16, block: block, rows: 8)
        case .avx2: RegisterTile(lanes: 8, block: 16, rows: 4)
        }
    }
}
