import Foundation
import RLDMethods

/// One golden loss case with its tensors: what the authors' code gives, or the log-domain value where that is not finite.
struct LossGolden: CustomStringConvertible, Sendable {
    let id: String
    let set: String
    let method: Method
    let classes: Int
    let total: Double
    let terms: [Double]
    /// nil where the official per-row value is not finite.
    let perRow: [[Double]]
    let student: [Double]
    let teacher: [Double]
    let labels: [Int32]
    let gradient: [Double]
    var description: String { id }
    var isNearIdentical: Bool { id.contains("identical") }

    static func folder(_ file: StaticString = #filePath) -> URL {
        URL(fileURLWithPath: "\(file)").deletingLastPathComponent().deletingLastPathComponent()
            .appendingPathComponent("Goldens/losses")
    }

    /// Ids of the cases of some methods, in file order.
    static func ids(_ methods: Set<String>) throws -> [String] {
        index().filter { methods.contains($0["method"] as? String ?? "") }.map { $0["id"] as? String ?? "" }
    }

    static func load(_ id: String) throws -> LossGolden {
        let entry = index().first { $0["id"] as? String == id } ?? [:]
        let hyper = entry["hyper"] as? [String: Any] ?? [:]
        let method = method(entry["method"] as? String ?? "", hyper)
        let set = entry["set"] as? String ?? ""
        let tensors = try read(folder().appendingPathComponent("\(set).safetensors"))
        let logDomain = entry["log_domain"] as? [String: Any]
        let values = logDomain ?? entry
        let terms = values["terms"] as? [String: Any] ?? [:]
        let perRow = entry["per_sample"] as? [String: String] ?? [:]
        return LossGolden(
            id: id, set: set, method: method, classes: tensors["student"]!.shape[1], total: number(values["total"]),
            terms: method.termNames.map { number(terms[$0]) },
            perRow: method.termNames.map { tensors[perRow[$0]!]!.values },
            student: tensors["student"]!.values, teacher: tensors["teacher"]!.values,
            labels: tensors["labels"]!.values.map { Int32($0) },
            gradient: tensors[values["grad"] as? String ?? ""]!.values)
    }

    private static func method(_ name: String, _ hyper: [String: Any]) -> Method {
        func value(_ key: String) -> Double { number(hyper[key]) }
        let standardize = hyper["logit_stand"] as? Bool ?? false
        switch name {
        case "CE": return .crossEntropy(CrossEntropy())
        case "KD":
            var m = KnowledgeDistillation()
            (m.crossEntropyWeight, m.weight, m.temperature) = (value("ce_weight"), value("kd_weight"), value("T"))
            m.standardize = standardize
            return .knowledgeDistillation(m)
        default:
            var m = RefinedLogitDistillation()
            (m.crossEntropyWeight, m.alpha, m.beta) = (value("ce_weight"), value("alpha"), value("beta"))
            (m.temperature, m.confidenceTemperature) = (value("T"), value("alpha_T"))
            m.standardize = standardize
            return .refinedLogitDistillation(m)
        }
    }

    private static func number(_ value: Any?) -> Double {
        if let text = value as? String { return Double(text) ?? .nan }
        return (value as? NSNumber)?.doubleValue ?? .nan
    }

    /// Parsed once: read only after that.
    nonisolated(unsafe) private static let cases: [[String: Any]]? = {
        guard let data = try? Data(contentsOf: folder().appendingPathComponent("index.json")) else { return nil }
        return (try? JSONSerialization.jsonObject(with: data) as? [String: Any])?["cases"] as? [[String: Any]]
    }()

    private static func index() -> [[String: Any]] { cases ?? [] }

    private static func read(_ url: URL) throws -> [String: (shape: [Int], values: [Double])] {
        let data = try Data(contentsOf: url)
        let length = Int(data.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        let header = try JSONSerialization.jsonObject(with: data[8..<(8 + length)]) as? [String: [String: Any]] ?? [:]
        var tensors: [String: (shape: [Int], values: [Double])] = [:]
        for (name, entry) in header {
            guard let shape = entry["shape"] as? [Int], let range = entry["data_offsets"] as? [Int],
                let type = entry["dtype"] as? String
            else { continue }
            let bytes = Data(data[(8 + length + range[0])..<(8 + length + range[1])])
            let values: [Double] = bytes.withUnsafeBytes { raw in
                switch type {
                case "F32": (0..<(raw.count / 4)).map { Double(raw.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self)) }
                case "F64": (0..<(raw.count / 8)).map { raw.loadUnaligned(fromByteOffset: 8 * $0, as: Double.self) }
                default: (0..<(raw.count / 8)).map { Double(raw.loadUnaligned(fromByteOffset: 8 * $0, as: Int64.self)) }
                }
            }
            tensors[name] = (shape, values)
        }
        return tensors
    }
}
