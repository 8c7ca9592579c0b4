import Foundation
import RLDGraph
import RLDMethods

/// Collects a configuration from a base, files, options and `key=value` overrides, later ones winning, and checks it whole.
/// Each file is a layer, and so is what is set between and after files (`MethodDraft`).
public struct ConfigurationReader {
    private let base: TrainingConfiguration
    private var configuration: TrainingConfiguration
    private var method: MethodDraft
    private var terms: [String: TermDraft] = [:]
    /// Keys that were given and where, for warnings.
    private(set) var given: [String: String] = [:]
    /// Of the authors' files: keys that mean nothing here, and options of methods, until the method is known.
    private var untranslated: [String] = []
    private var authorsOptions: [(name: String, key: String, methods: [String], text: String, source: String?, layer: Int)] = []
    private var layer = 0
    var authorsImageNet = false

    /// - Parameter base: what holds where nothing else is given.
    public init(_ base: TrainingConfiguration = TrainingConfiguration()) {
        self.base = base
        configuration = base
        method = MethodDraft(base.method)
        for term in base.terms { terms[term.name] = TermDraft(term) }
    }

    /// A term that is being put together.
    private struct TermDraft {
        var settings: TermSettings
        var method: MethodDraft
        var hasMethod: Bool

        init(_ settings: TermSettings) {
            self.settings = settings
            method = MethodDraft(settings.method)
            hasMethod = true
        }

        init(named name: String) {
            settings = TermSettings(name: name, method: .crossEntropy(CrossEntropy()))
            method = MethodDraft(settings.method)
            hasMethod = false
        }
    }

    /// The keys of a configuration file, groups with a dot ("optimizer.learning_rate").
    public static var keys: [String] { Setting.keys }

    /// Sets one key.
    /// - Parameter source: where it came from, for messages ("--epochs", "run.yaml:3"); nil to name the key alone.
    /// - Throws: `InputError` for an unknown key, with the nearest, and for a value that the key does not take.
    public mutating func set(_ key: String, to text: String, source: String? = nil) throws(InputError) {
        if AuthorsRecipe.owns(key) { return try setAuthors(key, to: text, source: source) }
        let key = Self.fullKey(Setting.underscored(key))
        let subject = source.map { $0.hasPrefix("--") ? $0 : "\(key) (\($0))" } ?? key
        given[key] = subject
        do {
            switch key {
            case "method.id": try method.set(id: text, layer: layer)
            case "method.lskd": method.set(lskd: try Setting.truth(text), layer: layer)
            default:
                let parts = key.split(separator: ".", maxSplits: 2, omittingEmptySubsequences: false).map(String.init)
                if parts.count == 3, parts[0] == "teachers" {
                    try setTeacher(parts[1], parts[2], text, subject)
                } else if parts.count == 3, parts[0] == "terms" {
                    try setTerm(parts[1], parts[2], text, subject)
                } else if let setting = Setting.all.first(where: { $0.key == key }) {
                    try setting.set(&configuration, text)
                } else if key.hasPrefix("method."), let option = Self.methodOption(String(key.dropFirst(7))) {
                    method.set(option, to: text, source: subject, layer: layer)
                } else {
                    throw InputError.unknown(source.map { "key (\($0))" } ?? "key", key, known: Setting.keys)
                }
            }
        } catch let wanted as Setting.Wanted {
            throw InputError(subject, "must be \(wanted.text), found '\(text)'")
        } catch let error as InputError {
            throw error
        } catch {
            throw InputError(subject, "\(error)")
        }
    }

    private mutating func setTeacher(_ name: String, _ key: String, _ text: String, _ subject: String) throws {
        guard TeacherSettings.keys.contains(key) else {
            throw InputError.unknown("key of teacher '\(name)'", key, known: TeacherSettings.keys)
        }
        var teacher = configuration.teachers.first { $0.name == name } ?? TeacherSettings(name: name)
        try teacher.set(key, text)
        configuration.teachers.removeAll { $0.name == name }
        configuration.teachers.append(teacher)
        configuration.teachers.sort { $0.name.utf8.lexicographicallyPrecedes($1.name.utf8) }
    }

    private mutating func setTerm(_ name: String, _ key: String, _ text: String, _ subject: String) throws {
        var term = terms[name] ?? TermDraft(named: name)
        switch key {
        case "method":
            try term.method.set(id: text, layer: layer)
            term.hasMethod = true
        case "lskd": term.method.set(lskd: try Setting.truth(text), layer: layer)
        case "teacher": term.settings.teacher = text.isEmpty ? nil : text
        case "weight":
            guard let value = Double(text) else { throw Setting.Wanted("a number") }
            term.settings.weight = value
        default:
            guard let option = Self.methodOption(key) else {
                throw InputError.unknown("key of term '\(name)'", key, known: TermSettings.keys)
            }
            term.method.set(option, to: text, source: subject, layer: layer)
        }
        terms[name] = term
    }

    /// What is set from now on, until the next call, is a layer of its own.
    mutating func beginLayer() { layer += 1 }

    /// Sets a key of the authors' files ("RLD.BETA").
    private mutating func setAuthors(_ name: String, to text: String, source: String?) throws(InputError) {
        switch try AuthorsRecipe.meaning(name, text, imageNet: authorsImageNet) {
        case .settings(let settings):
            for (key, value) in settings.sorted(by: { $0.key < $1.key }) { try set(key, to: value, source: source) }
        case .option(let key, let methods):
            authorsOptions.append((name, key, methods, AuthorsRecipe.number(text), source, layer))
        case .none: untranslated.append(name)
        }
    }

    /// Takes overrides as the authors' program does: names and values in turn.
    public mutating func set(authors words: [String]) throws(InputError) {
        guard words.count % 2 == 0 else {
            throw InputError("'\(words.last ?? "")'", "has no value", advice: "overrides are pairs: RLD.BETA 8 SOLVER.LR 0.1")
        }
        for index in stride(from: 0, to: words.count, by: 2) {
            guard AuthorsRecipe.owns(words[index]) else {
                throw InputError(
                    "'\(words[index])'", "is neither an option nor a key of the authors' files", advice: "for example RLD.BETA 8")
            }
            try set(words[index], to: words[index + 1], source: "--set \(words[index])")
        }
    }

    /// Takes a `key=value` override.
    public mutating func set(assignment: String) throws(InputError) {
        guard let equals = assignment.firstIndex(of: "="), equals != assignment.startIndex else {
            throw InputError(
                "--set \(assignment)", "is not of the form key=value", advice: "for example --set optimizer.momentum=0.8")
        }
        let key = String(assignment[..<equals]).trimmingCharacters(in: .whitespaces)
        let value = String(assignment[assignment.index(after: equals)...]).trimmingCharacters(in: .whitespaces)
        try set(key, to: value, source: "--set \(key)")
    }

    /// Groups whose members have names of their own: teachers.NAME.weights.
    static let namedGroups = ["teachers", "terms"]

    /// Keys that were set so far.
    public var givenKeys: Set<String> { Set(given.keys) }

    /// The checked configuration, and warnings about settings that were given and do nothing.
    public func finish() throws(InputError) -> (configuration: TrainingConfiguration, warnings: [String]) {
        var result = configuration
        var warnings: [String] = []
        if !untranslated.isEmpty {
            warnings.append("not translated, without effect here: \(untranslated.joined(separator: ", "))")
        }
        var fromAuthors: [(option: MethodOption, text: String, source: String, layer: Int)] = []
        for authors in authorsOptions {
            guard authors.methods.contains(method.id), let option = Self.methodOption(String(authors.key.dropFirst(7))) else {
                warnings.append("\(authors.name) does nothing: the method is '\(method.id)'")
                continue
            }
            let source = "\(authors.name)\(authors.source.map { " (\($0))" } ?? "")"
            fromAuthors.append((option, authors.text, source, authors.layer))
        }
        if terms.isEmpty {
            let finished = try method.finish(fromAuthors)
            result.method = finished.method
            warnings += finished.warnings
        } else {
            result.method = TrainingConfiguration().method
            for key in given.keys.sorted() where key.hasPrefix("method.") {
                warnings.append("\(given[key] ?? key) does nothing: the run has terms")
            }
            result.terms = []
            for (name, draft) in terms.sorted(by: { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }) {
                guard draft.hasMethod else {
                    throw InputError("terms.\(name).method", "is missing", advice: "one of \(Method.ids.joined(separator: ", "))")
                }
                let finished = try draft.method.finish()
                var term = draft.settings
                term.method = finished.method
                result.terms.append(term)
                warnings += finished.warnings
            }
        }
        if result.optimizerKind != base.optimizerKind { result.takeOptimizerDefaults(except: givenKeys) }
        func warn(_ keys: [String], _ reason: String) {
            for key in keys { if let source = given[key] { warnings.append("\(source) does nothing: \(reason)") } }
        }
        if result.teacherCache == nil { warn(["teacher.cache_type", "teacher.cache_draws"], "there is no teacher.cache") }
        let objective = result.objective
        if !objective.needsTeacher {
            warn(
                ["teacher.model", "teacher.weights", "teacher.key", "teacher.cache", "teacher.storage"],
                "method '\(objective.id)' has no teacher")
        }
        for teacher in result.teachers where result.teachers.count == 1 || !result.sharesTeachers {
            warn(["teachers.\(teacher.name).weight"], "no term learns from several teachers")
        }
        if result.initialWeights == nil {
            warn(["initial.key", "initial.strict", "initial.reset_head"], "the run starts from fresh weights, give --weights")
        }
        warn(result.schedule.ignoredKeys, "schedule '\(result.schedule.kind.rawValue)' has none")
        warn(result.optimizerKind.ignoredKeys, "optimizer '\(result.optimizerKind.rawValue)' has none")
        if !objective.components.contains(where: { $0.method.termNames.contains("ce") }) {
            warn(["label_smoothing"], "method '\(objective.id)' has no cross-entropy with every label")
        }
        if result.mixup > 0 || result.cutmix > 0 {
            for part in objective.components where !part.method.termNames.contains("ce") {
                warnings.append(
                    "method '\(part.method.id)' takes a mixed image for one of the class that has the larger share: it has no "
                        + "cross-entropy with every label")
            }
        }
        if result.selectsNothing {
            let reason = result.select == .last ? "select: last" : "validation: 0"
            warn(["early_stopping", "evaluate_every"], "nothing is selected (\(reason))")
        }
        for term in result.terms.isEmpty ? [TermSettings(name: "", method: result.method)] : result.terms {
            let epochs = term.method.warmupEpochs
            guard epochs > result.epochs else { continue }
            warnings.append(
                "\(term.name.isEmpty ? "method" : "terms.\(term.name)").warm_up is \(epochs) epochs and the run has "
                    + "\(result.epochs): the distillation terms reach only \(result.epochs)/\(epochs) of their weight")
        }
        try result.validate()
        return (result, warnings)
    }

    /// `method` stands for `method.id`, and a last part that only one key has stands for that key.
    static func fullKey(_ key: String) -> String {
        if Setting.keys.contains(key) { return key }
        if Setting.keys.contains(key + ".id") { return key + ".id" }
        let matches = Setting.keys.filter { $0.hasSuffix("." + key) }
        return matches.count == 1 ? matches[0] : key
    }

    private static func methodOption(_ name: String) -> MethodOption? {
        MethodOption.allCases.first { Setting.underscored($0.name) == name }
    }
}
