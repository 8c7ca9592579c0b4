import Foundation
import RLDFormats
import RLDGraph
import RLDMethods

/// One of several teachers: the group `teachers.NAME` of a configuration.
public struct TeacherSettings: Sendable, Equatable {
    public var name: String
    /// Published id of its network.
    public var model: String?
    /// File with its weights.
    public var weights: String?
    /// Where they hang in the file; nil for the usual places.
    public var key: String?
    /// Its share in terms that learn from all teachers; nil for equal shares of one.
    public var weight: Double?

    public init(name: String, model: String? = nil, weights: String? = nil, key: String? = nil, weight: Double? = nil) {
        self.name = name
        self.model = model
        self.weights = weights
        self.key = key
        self.weight = weight
    }

    static let keys = ["model", "weights", "key", "weight"]

    /// Its values by the last part of their keys; what is not set is left out.
    var values: [(key: String, text: String)] {
        [
            ("model", model.map(Setting.quoted)), ("weights", weights.map(Setting.quoted)), ("key", key.map(Setting.quoted)),
            ("weight", weight.map(\.plainText)),
        ].compactMap { key, text in text.map { (key, $0) } }
    }

    mutating func set(_ key: String, _ text: String) throws(Setting.Wanted) {
        switch key {
        case "model": model = text.isEmpty ? nil : text
        case "weights": weights = text.isEmpty ? nil : text
        case "key": self.key = text.isEmpty ? nil : text
        default:
            guard text.isEmpty || Double(text) != nil else { throw Setting.Wanted("a number") }
            weight = Double(text)
        }
    }
}

/// One of several distillation terms: the group `terms.NAME` of a configuration.
public struct TermSettings: Sendable, Equatable {
    public var name: String
    public var method: Method
    public var weight = 1.0
    /// Name of the teacher that it learns from; nil for all of them, each with its weight.
    public var teacher: String?

    public init(name: String, method: Method, weight: Double = 1, teacher: String? = nil) {
        self.name = name
        self.method = method
        self.weight = weight
        self.teacher = teacher
    }

    static let keys =
        ["method", "weight", "teacher", "lskd"] + MethodOption.allCases.map { Setting.underscored($0.name) }

    var values: [(key: String, text: String)] {
        [("method", method.id), ("weight", weight.plainText)] + (teacher.map { [("teacher", Setting.quoted($0))] } ?? [])
            + method.options.compactMap { option in
                method.text(of: option).map { (Setting.underscored(option.name), $0) }
            }
    }
}

extension TrainingConfiguration {
    /// The teachers in order: those of `teachers`, or the one of `teacher`, whose name is "".
    public var teacherList: [TeacherSettings] {
        teachers.isEmpty ? [TeacherSettings(name: "", model: teacherModel, weights: teacherWeights, key: teacherKey)] : teachers
    }

    /// The same with the networks of teachers that are not named, where their weights say what they are for.
    public func namingTeachers() throws(InputError) -> TrainingConfiguration {
        func model(_ teacher: TeacherSettings) throws(InputError) -> String? {
            guard teacher.model == nil, let weights = teacher.weights else { return teacher.model }
            return ModelMetadata(try TensorFile(weights: weights).metadata).model
        }
        var result = self
        guard objective.needsTeacher else { return result }
        if teachers.isEmpty { result.teacherModel = try model(teacherList[0]) }
        for index in teachers.indices { result.teachers[index].model = try model(teachers[index]) }
        return result
    }

    private var termList: [TermSettings] { terms.isEmpty ? [TermSettings(name: "", method: method)] : terms }

    /// What the student minimises: `terms`, or else `method`; a term that names no teacher has a component for each of them.
    /// Names that do not exist stand for the first teacher; `validate` finds them.
    public var objective: Objective {
        let teachers = teacherList
        return Objective(
            components: termList.flatMap { term -> [Objective.Component] in
                guard term.method.needsTeacher, term.teacher == nil, teachers.count > 1 else {
                    let index = teachers.firstIndex { $0.name == term.teacher } ?? 0
                    return [Objective.Component(name: term.name, term.method, weight: term.weight, teacher: index)]
                }
                return teachers.enumerated().map { index, teacher in
                    Objective.Component(
                        name: term.name.isEmpty ? teacher.name : "\(term.name)@\(teacher.name)", term.method,
                        weight: term.weight * (teacher.weight ?? 1 / Double(teachers.count)), teacher: index)
                }
            })
    }

    /// Whether some term learns from several teachers, each with its weight.
    var sharesTeachers: Bool { teachers.count > 1 && termList.contains { $0.method.needsTeacher && $0.teacher == nil } }

    func validateObjective() throws(InputError) {
        func require(_ good: Bool, _ key: String, _ problem: String, _ advice: String = "") throws(InputError) {
            if !good { throw InputError(key, problem, advice: advice) }
        }
        func weight(_ value: Double, _ key: String) throws(InputError) {
            if let problem = LossInputs.problem(weight: value) { throw InputError(key, "\(problem), found \(value)") }
        }
        try method.validate()
        let names = teachers.map(\.name)
        for (group, list) in [("teachers", names), ("terms", terms.map(\.name))] {
            for name in list {
                let isWord = !name.isEmpty && name.allSatisfy { $0.isASCII && ($0.isLetter || $0.isNumber || $0 == "_") }
                try require(isWord, "\(group).\(name)", "must have a name of letters, digits and _")
            }
            try require(Set(list).count == list.count, group, "must have different names")
        }
        if !teachers.isEmpty, teacherModel != nil || teacherWeights != nil || teacherKey != nil {
            throw InputError(
                "teacher", "and teachers exclude each other", advice: "name every teacher under teachers, or give only teacher")
        }
        for teacher in teachers { if let share = teacher.weight { try weight(share, "teachers.\(teacher.name).weight") } }
        for term in terms {
            let key = "terms.\(term.name)"
            try weight(term.weight, "\(key).weight")
            do throws(InputError) { try term.method.validate() } catch {
                throw InputError("\(key): \(error.subject)", error.problem, advice: error.advice)
            }
            if let teacher = term.teacher {
                guard names.contains(teacher) else { throw InputError.unknown("\(key).teacher", teacher, known: names) }
            }
        }
        let objective = objective
        try require(
            objective.components.contains { $0.weight > 0 }, terms.isEmpty ? "teachers" : "terms", "have no weight above 0")
        let read = Set(objective.teachers)
        if let unused = teachers.indices.first(where: { !read.contains($0) }) {
            throw InputError("teachers.\(names[unused])", "is used by no term", advice: "leave it out, or name it in a term")
        }
    }

    /// Lines for a person: what is minimised, and the teachers.
    var objectiveDescription: [String] {
        let objective = objective
        let list = teacherList
        var lines: [String] = []
        if objective.components.count == 1, teachers.isEmpty, terms.isEmpty {
            lines.append("method     \(method.effectiveDescription)")
        } else {
            for part in objective.components {
                let teacher =
                    part.method.needsTeacher && !list[part.teacher].name.isEmpty ? ", teacher \(list[part.teacher].name)" : ""
                lines.append(
                    "term       \(part.name): weight \(part.weight.plainText)\(teacher), \(part.method.effectiveDescription)")
            }
        }
        for index in objective.teachers {
            let teacher = list[index]
            lines.append(
                "teacher    \(teacher.name.isEmpty ? "" : "\(teacher.name): ")\(teacher.model ?? "?"), "
                    + "weights \(teacher.weights ?? "given by the program")")
        }
        if objective.needsTeacher, teacherStorage != .float32 {
            lines.append("storage    of the teacher's activations: \(teacherStorage.rawValue)")
        }
        if objective.needsTeacher, let teacherCache {
            lines.append(
                "cache      \(teacherCache): logits as \(teacherCacheType.text), \(teacherCacheDraws) augmentations of each image"
            )
        }
        return lines
    }
}
