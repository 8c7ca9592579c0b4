import RLDGraph
import RLDMethods

/// A method that is being put together from layers of settings: a base, files, the command line. Within a layer the order does not
/// matter: its id comes first, then the preset for standardised logits, which multiplies what there is by then, then its options.
/// Options that a layer gave to one method are not taken over by another method that a later layer names.
struct MethodDraft: Sendable {
    private struct Given: Sendable {
        var option: MethodOption
        var text: String
        var source: String
        var layer: Int
    }

    private var ids: [(id: String, layer: Int)] = []
    private var presets: [(lskd: Bool, layer: Int)] = []
    private var options: [Given] = []
    private let base: Method

    init(_ base: Method) { self.base = base }

    /// The method's id as it is now.
    var id: String { ids.last?.id ?? base.id }

    mutating func set(id text: String, layer: Int) throws(InputError) {
        guard Method.ids.contains(text) else { throw InputError.unknown("method", text, known: Method.ids) }
        ids.append((text, layer))
    }

    mutating func set(lskd: Bool, layer: Int) { presets.append((lskd, layer)) }

    mutating func set(_ option: MethodOption, to text: String, source: String, layer: Int) {
        options.append(Given(option: option, text: text, source: source, layer: layer))
    }

    /// - Parameter authors: options of the authors' files, which every other one of their layer wins over.
    /// - Returns: the method, and warnings about options that it does not have, or does not take over.
    func finish(
        _ authors: [(option: MethodOption, text: String, source: String, layer: Int)] = []
    ) throws(InputError) -> (method: Method, warnings: [String]) {
        let all =
            authors.map { Given(option: $0.option, text: $0.text, source: $0.source, layer: $0.layer) } + options
        // Stable: of a layer, the authors' come first.
        let ordered = all.enumerated().sorted { ($0.element.layer, $0.offset) < ($1.element.layer, $1.offset) }.map(\.element)
        var method = base.id == id ? base : try Method.make(id: id).method
        let first = firstOwnLayer
        let (left, taken) = (ordered.filter { $0.layer < first }, ordered.filter { $0.layer >= first })
        var warnings = notTaken(left)
        // The last one decides.
        let preset = presets.last.flatMap { $0.lskd ? $0.layer : nil }
        for given in taken where preset.map({ given.layer < $0 }) ?? true { try apply(given, to: &method, &warnings) }
        guard let preset else { return (method, warnings) }
        let plain = method
        if method.value(of: .standardize) != 1 { method = method.applyingLSKD() }
        if method == plain {
            warnings.append(
                "lskd does nothing: "
                    + (method.value(of: .standardize) == 1
                        ? "the logits are standardised already" : "there is no such recipe for method '\(id)'"))
        }
        for given in taken where given.layer >= preset { try apply(given, to: &method, &warnings) }
        return (method, warnings)
    }

    /// The layer that named the method in place of another that one before it had named; all count if there is none.
    private var firstOwnLayer: Int {
        var first = Int.min
        for (former, next) in zip(ids, ids.dropFirst()) where former.id != next.id && former.layer < next.layer {
            first = next.layer
        }
        return first
    }

    private func notTaken(_ left: [Given]) -> [String] {
        guard let former = ids.last(where: { $0.id != id })?.id, !left.isEmpty else { return [] }
        return [
            "what was set for method '\(former)' does not count for '\(id)': "
                + left.map(\.source).joined(separator: ", ")
        ]
    }

    private func apply(_ given: Given, to method: inout Method, _ warnings: inout [String]) throws(InputError) {
        guard method.value(of: given.option) != nil else {
            warnings.append("\(given.source) does nothing: method '\(id)' has no \(given.option.name)")
            return
        }
        let value: Double
        do {
            value = try Method.make(id: id, options: [given.option.name: .text(given.text)]).method.value(of: given.option) ?? 0
        } catch {
            throw InputError(given.source, error.problem, advice: error.advice)
        }
        try method.set(given.option, to: value)
    }
}
