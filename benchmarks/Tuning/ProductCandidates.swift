import OpenCLRuntime
import RLDExecution

/// Parameters of CLBlast's kernels that are worth a try. On PoCL every one costs up to seven seconds of compilation, so that
/// the lists are short; all keep to CLBlast's rules of divisibility.
package enum ProductCandidates {
    /// One way to set a kernel.
    package typealias Parameters = [String: Int]

    /// Kernels in the order in which they are searched: the products themselves first.
    package static let kernels = ["Xgemm", "XgemmDirect", "GemmRoutine", "Copy", "Pad", "Transpose", "Padtranspose"]

    package static func candidates(_ kernel: String, profile: KernelProfile) -> [Parameters] {
        switch kernel {
        case "Xgemm": profile == .cpu ? singleItemProducts : groupProducts
        case "XgemmDirect": profile == .cpu ? singleItemDirect : groupDirect
        // The size whose cube of products is the least that takes the indirect kernel.
        case "GemmRoutine": [1, 32, 64, 128, 256, 512, 1024].map { ["XGEMM_MIN_INDIRECT_SIZE": $0] }
        case "Copy": copies(profile)
        case "Pad": pads(profile)
        case "Transpose": transposes(profile)
        case "Padtranspose": paddedTransposes(profile)
        default: []
        }
    }

    /// A work-group of one with a register tile of MWG x NWG, no local memory.
    private static let singleItemProducts: [Parameters] = [
        (32, 8, 32, 2, 8, 8), (16, 8, 32, 2, 8, 8), (32, 4, 32, 2, 8, 4), (64, 4, 32, 2, 8, 4), (16, 16, 32, 2, 8, 8),
        (8, 32, 32, 2, 8, 8), (64, 8, 32, 2, 8, 8), (32, 8, 16, 2, 8, 8), (32, 8, 32, 8, 8, 8), (16, 4, 32, 2, 8, 4),
        (32, 16, 32, 2, 8, 8), (8, 8, 32, 2, 8, 8),
    ].map { (m, n, k, unroll, vectorM, vectorN) in
        [
            "GEMMK": 0, "KREG": 1, "KWG": k, "KWI": unroll, "MDIMA": 1, "MDIMC": 1, "MWG": m, "NDIMB": 1, "NDIMC": 1, "NWG": n,
            "SA": 0, "SB": 0, "STRM": 0, "STRN": 0, "VWM": vectorM, "VWN": vectorN,
        ]
    }

    /// Groups of MDIMC x NDIMC work-items, tiles of A and B in local memory or not, items' shares side by side or strided.
    private static let groupProducts: [Parameters] = [
        (128, 128, 16, 16, 16, 4, 4, 1, 1), (128, 64, 16, 16, 8, 4, 4, 1, 1), (64, 64, 16, 8, 8, 4, 4, 1, 1),
        (64, 64, 16, 8, 8, 4, 4, 1, 0), (64, 64, 32, 8, 8, 4, 4, 1, 0), (128, 128, 32, 16, 16, 4, 4, 1, 1),
        (128, 64, 32, 16, 16, 4, 2, 1, 1), (32, 32, 16, 8, 8, 2, 2, 1, 0),
        (64, 32, 16, 8, 8, 4, 2, 1, 0), (64, 64, 32, 16, 8, 2, 4, 0, 0), (64, 64, 16, 8, 8, 4, 4, 0, 0),
        (32, 32, 32, 8, 8, 4, 4, 0, 0),
    ].map { (m, n, k, itemsM, itemsN, vectorM, vectorN, local, strided) in
        [
            "GEMMK": 0, "KREG": 1, "KWG": k, "KWI": 2, "MDIMA": itemsM, "MDIMC": itemsM, "MWG": m, "NDIMB": itemsN,
            "NDIMC": itemsN, "NWG": n, "SA": local, "SB": local, "STRM": strided, "STRN": strided, "VWM": vectorM, "VWN": vectorN,
        ]
    }

    private static func direct(_ tile: Int, _ items: Int, _ vector: Int, unroll: Int = 2, pad: Int = 0) -> Parameters {
        [
            "KWID": unroll, "MDIMAD": items, "MDIMCD": items, "NDIMBD": items, "NDIMCD": items, "PADA": pad, "PADB": pad,
            "VWMD": vector, "VWND": vector, "WGD": tile,
        ]
    }

    private static let singleItemDirect = [direct(8, 8, 1), direct(16, 8, 2), direct(8, 1, 8)]
    private static let groupDirect = [
        direct(8, 8, 1, pad: 1), direct(16, 8, 2, pad: 1), direct(32, 8, 2, pad: 1), direct(32, 8, 4, pad: 1),
        direct(32, 16, 2, pad: 1), direct(64, 16, 4, pad: 1), direct(32, 8, 2, unroll: 8, pad: 1),
    ]

    private static func copies(_ profile: KernelProfile) -> [Parameters] {
        let sets =
            profile == .cpu
            ? [(8, 8, 4, 1), (8, 8, 8, 1), (8, 8, 8, 4)] : [(8, 8, 4, 1), (16, 8, 4, 1), (32, 8, 4, 2), (8, 32, 2, 4)]
        return sets.map { ["COPY_DIMX": $0.0, "COPY_DIMY": $0.1, "COPY_VW": $0.2, "COPY_WPT": $0.3] }
    }

    private static func pads(_ profile: KernelProfile) -> [Parameters] {
        let sets =
            profile == .cpu
            ? [(8, 8, 1, 1), (8, 8, 4, 4), (16, 8, 4, 8)] : [(8, 8, 1, 1), (16, 8, 2, 2), (32, 8, 2, 1), (8, 16, 4, 4)]
        return sets.map { ["PAD_DIMX": $0.0, "PAD_DIMY": $0.1, "PAD_WPTX": $0.2, "PAD_WPTY": $0.3] }
    }

    private static func transposes(_ profile: KernelProfile) -> [Parameters] {
        let sets =
            profile == .cpu
            ? [(4, 0, 0, 4), (8, 0, 0, 4), (4, 0, 0, 8)] : [(8, 1, 0, 4), (16, 1, 0, 2), (16, 1, 1, 4), (8, 0, 0, 8)]
        return sets.map { ["TRA_DIM": $0.0, "TRA_PAD": $0.1, "TRA_SHUFFLE": $0.2, "TRA_WPT": $0.3] }
    }

    private static func paddedTransposes(_ profile: KernelProfile) -> [Parameters] {
        let sets = profile == .cpu ? [(0, 8, 1), (0, 8, 4), (0, 16, 2)] : [(1, 8, 2), (1, 16, 2), (1, 16, 4), (0, 8, 4)]
        return sets.map { ["PADTRA_PAD": $0.0, "PADTRA_TILE": $0.1, "PADTRA_WPT": $0.2] }
    }
}
