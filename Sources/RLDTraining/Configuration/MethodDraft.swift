import RLDGraph
import RLDMethods

/// A method that is being put together from settings in any order: its options are applied last, because its id decides which of
/// them exist.
struct MethodDraft: Sendable {
    var id: String
    var lskd = false
    private var options: [(option: MethodOption, text: String, source: String)] = []
    private let base: Method

    init(_ base: Method) {
        self.base = base
        id = base.id
    }

    mutating func set(id text: String) throws(InputError) {
        guard Method.ids.contains(text) else { throw InputError.unknown("method", text, known: Method.ids) }
        id = text
    }

    mutating func set(_ option: MethodOption, to text: String, source: String) { options.append((option, text, source)) }

    /// - Parameter first: options that later ones win over.
    /// - Returns: the method, and warnings about options that it does not have.
    func finish(
        _ first: [(option: MethodOption, text: String, source: String)] = []
    ) throws(InputError) -> (method: Method, warnings: [String]) {
        var method = base
        var warnings: [String] = []
        if method.id != id { method = try Method.make(id: id).method }
        // The recipe multiplies the weights that a method begins with, not those of a run that has them already.
        if lskd {
            let own = try Method.make(id: id).method
            method = own.applyingLSKD()
            if method == own { warnings.append("lskd does nothing: there is no such recipe for method '\(id)'") }
        }
        for (option, text, source) in first + options {
            if method.value(of: option) == nil {
                warnings.append("\(source) does nothing: method '\(id)' has no \(option.name)")
            } else {
                let value: Double
                do {
                    value = try Method.make(id: id, options: [option.name: .text(text)]).method.value(of: option) ?? 0
                } catch {
                    throw InputError(source, error.problem, advice: error.advice)
                }
                try method.set(option, to: value)
            }
        }
        return (method, warnings)
    }
}
