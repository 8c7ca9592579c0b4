import Foundation
import OpenCLRuntime

/// What was chosen for a device among ways to compute the same: CLBlast's parameters and the tiles of our own kernels.
/// Another choice sums in another order, so that results repeat to the last bit only with the same one.
public struct Tuning: Codable, Sendable, Equatable {
    /// CLBlast's kernels by name ("Xgemm"), each with its parameters by name. One that is absent takes what CLBlast ships.
    public var clblast: [String: [String: Int]] = [:]
    /// By `RegisterTiles.Use` rows of the cpu profile's register tiles, by `TileChoices.Use` how the gpu profile sizes its tiles; what is
    /// absent is as the device's class has it.
    public var tiles: [String: Int] = [:]

    public init(clblast: [String: [String: Int]] = [:], tiles: [String: Int] = [:]) {
        self.clblast = clblast
        self.tiles = tiles
    }

    /// Identifies the choices, eight hexadecimal digits.
    public var hash: String {
        var hash: UInt32 = 2_166_136_261
        for byte in text.utf8 { hash = (hash ^ UInt32(byte)) &* 16_777_619 }
        let digits = String(hash, radix: 16)
        return String(repeating: "0", count: 8 - digits.count) + digits
    }

    /// Every choice in one line, in a fixed order.
    public var text: String {
        let products = clblast.sorted { $0.key < $1.key }.map { kernel, parameters in
            kernel + " " + parameters.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: " ")
        }
        let tiles = tiles.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
        return (products + (tiles.isEmpty ? [] : ["tiles " + tiles.joined(separator: " ")])).joined(separator: "; ")
    }
}

/// A tuning, and where it came from.
public struct ChosenTuning: Sendable, Equatable {
    public var tuning: Tuning
    /// In words: "shipped for cpu-avx512", "tuned 2026-11-25", "CLBlast's own".
    public var source: String

    public init(_ tuning: Tuning, source: String) {
        self.tuning = tuning
        self.source = source
    }

    /// "shipped for cpu-avx512 (1f2e3d4c)".
    public var description: String { "\(source) (\(tuning.hash))" }
}

/// The tunings that come with the package, by classes of devices: a device's name changes from machine to machine.
public enum ShippedTuning {
    /// The class of a device: cpu-avx512, cpu-avx2, or a GPU's vendor ("gpu-nvidia-9" from compute capability 9.0 on).
    public static func deviceClass(of device: Device) -> String {
        device.isCPU
            ? "cpu-\(RegisterClass(nativeFloatWidth: device.nativeFloatWidth).rawValue)"
            : gpuClass(vendor: device.vendor, computeCapability: device.computeCapability)
    }

    package static func gpuClass(vendor: String, computeCapability: [Int]) -> String {
        "gpu-\(vendorName(vendor))" + (computeCapability.first ?? 0 >= 9 ? "-9" : "")
    }

    /// A vendor in one word, whatever its drivers call it.
    static func vendorName(_ vendor: String) -> String {
        let vendors = ["nvidia", "amd", "intel", "apple", "arm", "qualcomm"]
        let vendor = vendor.lowercased()
        return vendor.contains("advanced micro") ? "amd" : vendors.first { vendor.contains($0) } ?? "other"
    }

    /// What is shipped for a device. On no GPU has anything been measured: CLBlast's own database answers there, but for the newest
    /// of NVIDIA's, which CLBlast 1.5.3 does not know.
    public static func tuning(for device: Device) -> ChosenTuning {
        let name = deviceClass(of: device)
        guard let clblast = products(name) else {
            return ChosenTuning(Tuning(), source: "CLBlast's own, nothing is measured for \(name)")
        }
        return ChosenTuning(Tuning(clblast: clblast, tiles: tiles(name)), source: "shipped for \(name)")
    }

    /// From compute capability 9 on NVIDIA's level-2 caches hold what Winograd's algorithm has between its launches: there 64 channels
    /// are enough for it. Counted, not measured.
    package static func tiles(_ deviceClass: String) -> [String: Int] {
        deviceClass == "gpu-nvidia-9" ? [TileChoices.Use.winograd.name(.float32): 64] : [:]
    }

    /// CLBlast ships no parameters for CPU devices. Work-groups of one, each with a register tile, no local memory. AVX-512 was
    /// measured on PoCL (119 to 133 GFLOPS at 1024^3 as A or B are transposed; 103 to 113 with NWG 8, 22 with CLBlast's defaults);
    /// AVX2 takes half of that tile in each direction, which fits its registers; a search over half of the candidates won
    /// 0.1 ms of a step with less (8 x 8). The direct kernel needs local memory and barriers, which a CPU pays for: products take the
    /// indirect one from size 1 on, and the direct one's parameters only have to be valid.
    ///
    /// For NVIDIA's devices of compute capability 9 CLBlast 1.5.3 falls back on a tile of 64 x 64 with 16 sums per work-item, which
    /// waits for local memory: 2 reads of 4 values per 16 multiply-adds. 64 sums take 4 per 64, and compile to 85 % multiply-adds in
    /// 109 registers; reads at strides of MDIMC and NDIMC meet no bank twice. Counted, not measured.
    package static func products(_ deviceClass: String) -> [String: [String: Int]]? {
        func tile(m: Int, n: Int, k: Int, items: Int, vector: Int, local: Int) -> [String: Int] {
            [
                "GEMMK": 0, "KREG": 1, "KWG": k, "KWI": 2, "MDIMA": items, "MDIMC": items, "MWG": m, "NDIMB": items,
                "NDIMC": items,
                "NWG": n, "SA": local, "SB": local, "STRM": local, "STRN": local, "VWM": vector, "VWN": vector,
            ]
        }
        func onProcessor(m: Int, n: Int) -> [String: [String: Int]] {
            [
                "Xgemm": tile(m: m, n: n, k: 32, items: 1, vector: 8, local: 0),
                "XgemmDirect": [
                    "KWID": 2, "MDIMAD": 8, "MDIMCD": 8, "NDIMBD": 8, "NDIMCD": 8, "PADA": 0, "PADB": 0, "VWMD": 1, "VWND": 1,
                    "WGD": 8,
                ],
                "GemmRoutine": ["XGEMM_MIN_INDIRECT_SIZE": 1],
            ]
        }
        return switch deviceClass {
        case "cpu-avx512": onProcessor(m: 32, n: 16)
        case "cpu-avx2": onProcessor(m: 16, n: 8)
        case "gpu-nvidia-9": ["Xgemm": tile(m: 128, n: 128, k: 16, items: 16, vector: 4, local: 1)]
        default: nil
        }
    }
}
