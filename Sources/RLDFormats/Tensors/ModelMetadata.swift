import Foundation

/// What a file of weights says about its model, as text under agreed names. Numbers and names are JSON lists.
public struct ModelMetadata: Sendable, Equatable {
    /// Published id of the network.
    public var model: String?
    public var classes: Int?
    /// Per-sample input shape, [C, H, W].
    public var input: [Int]
    /// Per channel, of pixels scaled to 0...1; empty when unknown.
    public var mean: [Float]
    /// Per channel, of pixels scaled to 0...1; empty when unknown.
    public var deviation: [Float]
    /// One per class; empty when unknown.
    public var classNames: [String]

    public init(
        model: String? = nil, classes: Int? = nil, input: [Int] = [], mean: [Float] = [], deviation: [Float] = [],
        classNames: [String] = []
    ) {
        self.model = model
        self.classes = classes
        self.input = input
        self.mean = mean
        self.deviation = deviation
        self.classNames = classNames
    }

    /// Takes what a file says; what it does not say, or says in another way, stays unknown.
    public init(_ metadata: [String: String]) {
        model = metadata["model"]
        classes = metadata["classes"].flatMap { Int($0) }
        let extents = (metadata["input"] ?? "").split(separator: "x").map { Int($0) ?? 0 }
        input = extents.count == 3 && extents.allSatisfy { $0 > 0 } ? extents : []
        func list<Value: Decodable>(_ key: String, of: Value.Type) -> [Value] {
            metadata[key].flatMap { try? JSONDecoder().decode([Value].self, from: Data($0.utf8)) } ?? []
        }
        mean = list("mean", of: Float.self)
        deviation = list("deviation", of: Float.self)
        if mean.count != deviation.count || !deviation.allSatisfy({ $0 > 0 }) { (mean, deviation) = ([], []) }
        classNames = list("class_names", of: String.self)
    }

    /// The same as text; what is unknown is left out.
    public var text: [String: String] {
        var text: [String: String] = [:]
        text["model"] = model
        text["classes"] = classes.map { "\($0)" }
        if !input.isEmpty { text["input"] = input.map(String.init).joined(separator: "x") }
        if !mean.isEmpty { text["mean"] = Self.json(mean) }
        if !deviation.isEmpty { text["deviation"] = Self.json(deviation) }
        if !classNames.isEmpty { text["class_names"] = "[" + classNames.map(jsonLiteral).joined(separator: ",") + "]" }
        return text
    }

    private static func json(_ values: [Float]) -> String { "[" + values.map { "\($0)" }.joined(separator: ",") + "]" }
}
