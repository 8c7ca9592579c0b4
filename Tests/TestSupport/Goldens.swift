import Foundation
import RLDFormats
import RLDGraph

/// The golden data beside the tests (`Tests/Goldens`), computed in float64 with the authors' published implementation.
public enum Goldens {
    /// The folder of the golden data.
    public static let folder = URL(fileURLWithPath: #filePath)
        .deletingLastPathComponent().deletingLastPathComponent().appendingPathComponent("Goldens")

    /// The path of a golden file, by its path inside the folder ("losses/index.json").
    public static func path(_ name: String) -> String { folder.appendingPathComponent(name).path }

    /// Ids of the models that have a golden file.
    public static func modelIDs() throws -> [String] {
        try FileManager.default.contentsOfDirectory(atPath: path("models"))
            .filter { $0.hasSuffix(".json") }.map { String($0.dropLast(5)) }.sorted()
    }

    /// Names, shapes and counts of a published model, for some with activations and gradients.
    public static func model(_ id: String) throws -> ModelGolden { try decode("models/\(id).json") }

    /// Eight steps of distillation; `name` is the file name without its ending.
    public static func trajectory(_ name: String = "rld_resnet20_resnet8") throws -> TrajectoryGolden {
        try decode("trajectory/\(name).json")
    }

    /// All loss cases, without their tensors.
    public static func losses() throws -> LossIndex { try decode("losses/index.json") }

    /// The tensors of a loss set: `student`, `teacher`, `labels` and what its cases name.
    public static func lossTensors(_ set: String) throws -> SafetensorsFile {
        try SafetensorsFile(path: path("losses/\(set).safetensors"))
    }

    private static func decode<Value: Decodable>(_ name: String) throws -> Value {
        try JSONDecoder().decode(Value.self, from: Data(contentsOf: URL(fileURLWithPath: path(name))))
    }
}

/// A number that JSON may hold as "nan", "inf" or "-inf".
public struct GoldenNumber: Decodable, Sendable {
    public let value: Double

    public init(from decoder: any Decoder) throws {
        let container = try decoder.singleValueContainer()
        if let number = try? container.decode(Double.self) {
            value = number
            return
        }
        let text = try container.decode(String.self)
        guard ["nan", "inf", "-inf"].contains(text), let number = Double(text) else {
            throw DecodingError.dataCorruptedError(in: container, debugDescription: "'\(text)' is no number")
        }
        value = number
    }
}
