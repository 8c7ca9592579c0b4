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
    /// The class of a device: cpu-avx512, cpu-avx2, or a GPU's vendor.
    public static func deviceClass(of device: Device) -> String {
        guard device.isCPU else {
            let vendors = ["nvidia", "amd", "intel", "apple", "arm", "qualcomm"]
            let vendor = device.vendor.lowercased()
            let name = vendor.contains("advanced micro") ? "amd" : vendors.first { vendor.contains($0) }
            return "gpu-\(name ?? "other")"
        }
        return "cpu-\(RegisterClass(nativeFloatWidth: device.nativeFloatWidth).rawValue)"
    }

    /// What is shipped for a device. For GPUs nothing has been measured yet: CLBlast's own database answers there.
    public static func tuning(for device: Device) -> ChosenTuning {
        let name = deviceClass(of: device)
        guard let clblast = products[name] else {
            return ChosenTuning(Tuning(), source: "CLBlast's own, nothing is measured for \(name)")
        }
        return ChosenTuning(Tuning(clblast: clblast), source: "shipped for \(name)")
    }

    /// CLBlast ships no parameters for CPU devices. Work-groups of one, each with a register tile, no local memory. AVX-512 was
    /// measured on PoCL (119 to 133 GFLOPS at 1024^3 as A or B are transposed; 103 to 113 with NWG 8, 22 with CLBlast's defaults);
    /// AVX2 takes half of that tile in each direction, which fits its registers; a search over half of the candidates won
    /// 0.1 ms of a step with less (8 x 8). The direct kernel needs local memory and barriers, which a CPU pays for: products take the
    /// indirect one from size 1 on, and the direct one's parameters only have to be valid.
    private static let products: [String: [String: [String: Int]]] = {
        let avx512 = [
            "GEMMK": 0, "KREG": 1, "KWG": 32, "KWI": 2, "MDIMA": 1, "MDIMC": 1, "MWG": 32, "NDIMB": 1, "NDIMC": 1, "NWG": 16,
            "SA": 0, "SB": 0, "STRM": 0, "STRN": 0, "VWM": 8, "VWN": 8,
        ]
        let direct = [
            "KWID": 2, "MDIMAD": 8, "MDIMCD": 8, "NDIMBD": 8, "NDIMCD": 8, "PADA": 0, "PADB": 0, "VWMD": 1, "VWND": 1, "WGD": 8,
        ]
        let routine = ["XGEMM_MIN_INDIRECT_SIZE": 1]
        var avx2 = avx512
        (avx2["MWG"], avx2["NWG"]) = (16, 8)
        return [
            "cpu-avx512": ["Xgemm": avx512, "XgemmDirect": direct, "GemmRoutine": routine],
            "cpu-avx2": ["Xgemm": avx2, "XgemmDirect": direct, "GemmRoutine": routine],
        ]
    }()
}
