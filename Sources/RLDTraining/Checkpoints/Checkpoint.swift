import Foundation
import RLDFormats
import RLDGraph
import RLDMethods

/// Everything that a run needs to go on: a safetensors file whose metadata holds the record and a checksum over all of it.
/// Tensors are named `weights/NAME` and `SLOT/NAME`; they are float32 where that keeps every bit, float64 where not.
public struct Checkpoint: Sendable {
    /// Where it was read from or written to.
    public let path: String
    let record: CheckpointRecord
    let state: TrainingState

    /// In its folder.
    var name: String { (path as NSString).lastPathComponent }
    /// The epoch that goes on, from 1.
    public var epoch: Int { record.epoch }
    /// Its steps that are done.
    public var step: Int { record.step }

    init(path: String, record: CheckpointRecord, state: TrainingState) {
        self.path = path
        self.record = record
        self.state = state
    }

    /// Of the run.
    var stepsDone: Int { (record.epoch - 1) * record.stepsPerEpoch + record.step }

    /// "epoch 3 of 10, after step 20 of 50" or "the end of epoch 2".
    public var place: String {
        record.step == 0
            ? "the end of epoch \(record.epoch - 1)"
            : "epoch \(record.epoch), after step \(record.step) of \(record.stepsPerEpoch)"
    }

    /// Writes it: a temporary file, flushed and renamed, so that a kill or a full disk leaves the older ones as they were.
    func write() throws(InputError) {
        let record: Data
        do {
            record = try RecordJSON.encoder(keys: .useDefaultKeys).encode(self.record)
        } catch {
            throw InputError(path, "its record cannot be written: \(error)")
        }
        let items = tensors.map { name, tensor in
            SafetensorsItem(name, tensor, as: tensor.values.allSatisfy(Self.fitsFloat) ? .float32 : .float64)
        }
        let text = String(decoding: record, as: UTF8.self)
        try SafetensorsFile.write(
            items, metadata: ["format": "rld-checkpoint", "record": text, "checksum": checksum(of: text)], to: path)
    }

    /// Reads and checks one.
    /// - Throws: `InputError` when the file is damaged, is no checkpoint, is of a later version or holds what no run writes.
    init(reading path: String) throws(InputError) {
        let file = try SafetensorsFile(path: path)
        guard file.metadata["format"] == "rld-checkpoint", let text = file.metadata["record"] else {
            throw InputError(path, "is no checkpoint")
        }
        let record = try Self.record(Data(text.utf8), path: path)
        var state = TrainingState(weights: NetworkState())
        for name in file.names {
            let parts = name.split(separator: "/", maxSplits: 1).map(String.init)
            guard parts.count == 2 else { throw InputError(path, "holds a tensor \(quoted(name)) that no checkpoint has") }
            let tensor = try file.tensor(name)
            if parts[0] == "weights" {
                state.weights[parts[1]] = tensor
            } else {
                state.slots[parts[0], default: .init()][parts[1]] = tensor
            }
        }
        self.init(path: path, record: record, state: state)
        guard checksum(of: text) == file.metadata["checksum"] else {
            throw InputError(path, "is damaged: its checksum does not match")
        }
        try record.validate(source: path)
    }

    /// Whether a file that cannot be read is not damaged, but another version's.
    static func isOfOtherVersion(_ path: String) -> Bool {
        guard let text = try? SafetensorsFile(path: path).metadata["record"] else { return false }
        return otherVersion(Data(text.utf8)) != nil
    }

    /// The version that a record says it has, if this program reads another.
    private static func otherVersion(_ json: Data) -> Int? {
        /// What every version has.
        struct Version: Decodable { var version: Int }
        let version = (try? RecordJSON.decoder(keys: .useDefaultKeys).decode(Version.self, from: json))?.version
        return version == CheckpointRecord.version ? nil : version
    }

    private static func record(_ json: Data, path: String) throws(InputError) -> CheckpointRecord {
        // The version alone first: a later one may have a record of another form.
        if let version = otherVersion(json) {
            throw InputError(
                path, "is of version \(version), this program reads version \(CheckpointRecord.version)",
                advice: "go on with the program that wrote it")
        }
        do {
            return try RecordJSON.decoder(keys: .useDefaultKeys).decode(CheckpointRecord.self, from: json)
        } catch {
            throw InputError(path, "has a record that cannot be read")
        }
    }

    /// The best weights that this checkpoint holds: the moving average where there is one.
    var bestWeights: NetworkState {
        var weights = state.weights
        if let average = state.slots["average"] { for name in average.names { weights[name] = average[name] } }
        return weights
    }

    private var tensors: [(String, Tensor)] {
        let groups = [("weights", state.weights)] + state.slots.sorted { $0.key < $1.key }
        return groups.flatMap { group, tensors in
            tensors.names.compactMap { name in tensors[name].map { ("\(group)/\(name)", $0) } }
        }
    }

    private func checksum(of record: String) -> String {
        var sum = Checksum()
        sum.add(record)
        for (name, tensor) in tensors {
            sum.add(name)
            for extent in tensor.shape { sum.add(UInt64(extent)) }
            for value in tensor.values { sum.add(value.bitPattern) }
        }
        return sum.text
    }

    private static func fitsFloat(_ value: Double) -> Bool { Double(Float(value)) == value || value.isNaN }
}

/// 64-bit FNV-1a over 64-bit words: finds accidents, no protection against intent.
package struct Checksum {
    package private(set) var value: UInt64 = 0xCBF2_9CE4_8422_2325

    package init() {}

    package mutating func add(_ word: UInt64) {
        value = (value ^ word) &* 0x100_0000_01B3
        value ^= value >> 29
    }

    package mutating func add(_ text: String) {
        for byte in text.utf8 { add(UInt64(byte)) }
        add(UInt64(text.utf8.count))
    }

    mutating func add(_ state: NetworkState) {
        for name in state.names {
            add(name)
            for value in state[name]?.values ?? [] { add(value.bitPattern) }
        }
    }

    /// 16 hexadecimal digits.
    package var text: String {
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }
}
