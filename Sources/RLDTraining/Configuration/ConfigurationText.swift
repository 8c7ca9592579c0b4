import RLDMethods

extension TrainingConfiguration {
    private static let defaults = TrainingConfiguration()

    /// Every key with its value, as text.
    public var values: [String: String] {
        var values: [String: String] = [:]
        for setting in Setting.all { values[setting.key] = setting.get(self) }
        for teacher in teachers { for (key, text) in teacher.values { values["teachers.\(teacher.name).\(key)"] = text } }
        for term in terms { for (key, text) in term.values { values["terms.\(term.name).\(key)"] = text } }
        if terms.isEmpty {
            values["method.id"] = method.id
            for option in method.options { values["method.\(Setting.underscored(option.name))"] = method.text(of: option) }
        }
        return values
    }

    /// The configuration as YAML that `ConfigurationReader` reads back to an equal value.
    public var yaml: String {
        var lines: [String] = []
        var group = ""
        func append(_ key: String, _ value: String) {
            let parts = key.split(separator: ".", maxSplits: 1)
            if parts.count == 1 {
                lines.append("\(key): \(value)")
                group = ""
                return
            }
            if parts[0] != group {
                group = String(parts[0])
                lines.append("\(group):")
            }
            lines.append("  \(parts[1]): \(value)")
        }
        // What is not read and was never set would only be warned about when the file is used.
        var ignored = Set(schedule.ignoredKeys + optimizerKind.ignoredKeys)
        if teacherCache == nil { ignored.formUnion(["teacher.cache_type", "teacher.cache_draws"]) }
        if !objective.needsTeacher { ignored.insert("teacher.storage") }
        if selectsNothing { ignored.formUnion(["early_stopping", "evaluate_every"]) }
        for setting in Setting.all {
            guard let value = setting.get(self), !ignored.contains(setting.key) || value != setting.get(Self.defaults) else {
                continue
            }
            append(setting.key, value)
        }
        func append(group: String, _ members: [(name: String, values: [(key: String, text: String)])]) {
            guard !members.isEmpty else { return }
            lines.append("\(group):")
            for member in members {
                lines.append("  \(member.name):")
                for (key, text) in member.values { lines.append("    \(key): \(text)") }
            }
        }
        append(group: "teachers", teachers.map { ($0.name, $0.values) })
        append(group: "terms", terms.map { ($0.name, $0.values) })
        if terms.isEmpty {
            append("method.id", method.id)
            for option in method.options {
                if let text = method.text(of: option) { append("method.\(Setting.underscored(option.name))", text) }
            }
        }
        return lines.joined(separator: "\n") + "\n"
    }
}

extension Method {
    /// An option's value as YAML.
    func text(of option: MethodOption) -> String? {
        value(of: option).map(option.text)
    }
}
