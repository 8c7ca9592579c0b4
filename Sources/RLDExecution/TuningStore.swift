import Foundation
import OpenCLRuntime

/// Tunings that `rld tune` found, one file per device and driver in the user's cache folder.
public enum TuningStore {
    /// One file.
    public struct Entry: Codable, Sendable, Equatable {
        public var version = TuningStore.version
        public var device: String
        public var platform: String
        public var driver: String
        public var clblast: String
        /// ISO 8601.
        public var created: String
        /// What was tuned for, in words.
        public var purpose: String
        public var tuning: Tuning

        public init(_ device: Device, clblast: String, created: String, purpose: String, tuning: Tuning) {
            (self.device, platform, driver) = (device.name, device.platformName, device.driverVersion)
            (self.clblast, self.created, self.purpose, self.tuning) = (clblast, created, purpose, tuning)
        }
    }

    /// Of the file; others are ignored.
    static let version = 1

    /// $XDG_CACHE_HOME/rld/tuning, or ~/.cache/rld/tuning; nil without a home.
    public static var folder: URL? { Environment.cacheFolder("tuning") }

    /// Where a device's tuning lies: another driver has another file.
    public static func file(for device: Device, in folder: URL) -> URL {
        let name = "\(device.platformName) \(device.name) \(device.driverVersion)"
        let plain = String(name.map { $0.isASCII && ($0.isLetter || $0.isNumber || "-.".contains($0)) ? $0 : "_" })
        // Names that differ only in other characters stay apart.
        return folder.appendingPathComponent("\(plain.prefix(96))-\(Tuning(tiles: [name: 0]).hash).json")
    }

    /// What a device runs with: RLD_TUNING's file if it names one, else what was stored, else what is shipped for its class
    /// (with `RLD_TUNING=off` always that).
    /// - Throws: `.badEnvironment` if RLD_TUNING names a file that cannot be used. A stored file that cannot be read is ignored
    ///   with a warning on standard error.
    public static func tuning(for device: Device) throws(DeviceError) -> ChosenTuning {
        let shipped = ShippedTuning.tuning(for: device)
        switch Environment.settings.tuning {
        case "off": return shipped
        case let path?:
            do { return chosen(try read(URL(fileURLWithPath: path)), over: shipped) } catch {
                throw DeviceError(.badEnvironment, "RLD_TUNING=\(path) cannot be used: \(error)")
            }
        case nil:
            guard let folder else { return shipped }
            return stored(for: device, in: folder) ?? shipped
        }
    }

    /// What a folder holds for a device; nil where there is nothing, or nothing that can be used.
    public static func stored(for device: Device, in folder: URL) -> ChosenTuning? {
        let file = file(for: device, in: folder)
        guard FileManager.default.fileExists(atPath: file.path) else { return nil }
        do {
            let entry = try read(file)
            // A hash that two drivers share.
            guard entry.device == device.name, entry.driver == device.driverVersion else { return nil }
            return chosen(entry, over: ShippedTuning.tuning(for: device))
        } catch {
            StandardError.print("warning: the stored tuning \(file.path) is ignored: \(error); run 'rld tune' again or delete it")
            return nil
        }
    }

    /// What was not tuned stays as it is shipped.
    private static func chosen(_ entry: Entry, over shipped: ChosenTuning) -> ChosenTuning {
        ChosenTuning(
            Tuning(
                clblast: shipped.tuning.clblast.merging(entry.tuning.clblast) { $1 },
                tiles: shipped.tuning.tiles.merging(entry.tuning.tiles) { $1 }),
            source: "tuned \(entry.created.prefix(10)) for \(entry.purpose)")
    }

    /// Why a file cannot be used.
    struct Problem: Error, CustomStringConvertible {
        let description: String
    }

    static func read(_ file: URL) throws -> Entry {
        let entry: Entry
        do { entry = try JSONDecoder().decode(Entry.self, from: Data(contentsOf: file)) } catch {
            throw Problem(description: "it is damaged or no tuning (\(error.localizedDescription))")
        }
        guard entry.version == version else {
            throw Problem(description: "it is of version \(entry.version), this program reads \(version)")
        }
        return entry
    }

    /// Stores a device's tuning, whole or not at all.
    /// - Returns: the file.
    @discardableResult public static func store(_ entry: Entry, for device: Device, in folder: URL) throws -> URL {
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        let encoder = JSONEncoder()
        encoder.outputFormatting = [.prettyPrinted, .sortedKeys]
        let file = file(for: device, in: folder)
        try encoder.encode(entry).write(to: file, options: .atomic)
        return file
    }
}
