import Foundation
import RLDDatasets
import RLDGraph
import RLDMethods

/// One key of a configuration file, with how to read and how to write it. The table is the only place that knows the keys:
/// files, `--set` and options read through it, config.yaml and error messages are written from it.
/// The options of methods are not in it; `MethodOption` is their table, and their keys begin with "method.".
struct Setting: Sendable {
    let key: String
    /// The value as YAML; nil when it is not set and may be left out.
    let get: @Sendable (TrainingConfiguration) -> String?
    /// Throws what was wanted instead ("a whole number").
    let set: @Sendable (inout TrainingConfiguration, String) throws(Wanted) -> Void

    struct Wanted: Error {
        let text: String
        init(_ text: String) { self.text = text }
    }

    static let all: [Setting] = [
        name("model", \.model),
        name("data", \.data),
        optionalInteger("limit", \.limit),
        optionalInteger("image_size", \.imageSize),
        optionalNumbers("normalization.mean", \.normalizationMean),
        optionalNumbers("normalization.deviation", \.normalizationDeviation),
        number("test_share", \.testShare),
        flag("skip_broken", \.skipBroken),
        choice(
            "streaming", Streaming.allCases.map(\.rawValue), get: { quoted($0.streaming.rawValue) },
            set: { assign(Streaming($1), to: &$0.streaming) }),
        Setting(
            key: "validation", get: { $0.validation.map(\.plainText) },
            set: { c, t throws(Wanted) in
                guard t.isEmpty || t == "auto" || Double(t) != nil else { throw Wanted("a number, or auto") }
                c.validation = Double(t)
            }),
        Setting(
            key: "seed", get: { String($0.seed) },
            set: { c, t throws(Wanted) in
                guard let seed = UInt64(t) else { throw Wanted("a whole number, at least 0") }
                c.seed = seed
            }),
        integer("epochs", \.epochs),
        integer("batch_size", \.batchSize),
        number("optimizer.learning_rate", \.optimizer.learningRate),
        number("optimizer.momentum", \.optimizer.momentum),
        number("optimizer.weight_decay", \.optimizer.weightDecay),
        flag("optimizer.nesterov", \.optimizer.nesterov),
        choice(
            "optimizer.kind", OptimizerKind.allCases.map(\.rawValue), get: { $0.optimizerKind.rawValue },
            set: { assign(OptimizerKind(rawValue: $1), to: &$0.optimizerKind) }),
        number("optimizer.beta1", \.beta1),
        number("optimizer.beta2", \.beta2),
        number("optimizer.epsilon", \.epsilon),
        number("optimizer.clip_norm", \.clipNorm),
        number("optimizer.average_decay", \.averageDecay),
        integer("optimizer.accumulation", \.accumulation),
        choice(
            "schedule.kind", Schedule.Kind.allCases.map(\.rawValue), get: { $0.schedule.kind.rawValue },
            set: { assign(Schedule.Kind(rawValue: $1), to: &$0.schedule.kind) }),
        Setting(
            key: "schedule.milestones", get: { "[\($0.schedule.milestones.map(String.init).joined(separator: ", "))]" },
            set: { c, t throws(Wanted) in c.schedule.milestones = try wholes(t) }),
        number("schedule.factor", \.schedule.factor),
        integer("schedule.period", \.schedule.period),
        number("schedule.rise", \.schedule.rise),
        integer("schedule.warmup_epochs", \.schedule.warmupEpochs),
        optionalInteger("augmentation.crop_padding", \.cropPadding),
        Setting(
            key: "augmentation.flip", get: { $0.flip.map { $0 ? "true" : "false" } },
            set: { c, t throws(Wanted) in c.flip = t.isEmpty ? nil : try truth(t) }),
        Setting(
            key: "augmentation.resized_crop", get: { $0.resizedCrop.map(\.plainText) },
            set: { c, t throws(Wanted) in
                guard t.isEmpty || Double(t) != nil else { throw Wanted("a number") }
                c.resizedCrop = Double(t)
            }),
        number("augmentation.brightness", \.brightness),
        number("augmentation.contrast", \.contrast),
        number("augmentation.saturation", \.saturation),
        number("augmentation.mixup", \.mixup),
        number("augmentation.cutmix", \.cutmix),
        number("label_smoothing", \.labelSmoothing),
        integer("evaluate_every", \.evaluateEvery),
        integer("early_stopping", \.earlyStopping),
        choice(
            "select", Selection.allCases.map(\.rawValue), get: { $0.select.rawValue },
            set: { assign(Selection(rawValue: $1), to: &$0.select) }),
        optionalName("teacher.model", \.teacherModel),
        optionalName("teacher.weights", \.teacherWeights),
        optionalName("teacher.key", \.teacherKey),
        optionalName("initial.weights", \.initialWeights),
        optionalName("initial.key", \.initialOptions.key),
        Setting(
            key: "initial.strict", get: { $0.initialWeights == nil ? nil : "\($0.initialOptions.strict)" },
            set: { c, t throws(Wanted) in c.initialOptions.strict = try truth(t) }),
        Setting(
            key: "initial.reset_head", get: { $0.initialWeights == nil ? nil : "\($0.initialOptions.resetHead)" },
            set: { c, t throws(Wanted) in c.initialOptions.resetHead = try truth(t) }),
        optionalName("teacher.cache", \.teacherCache),
        Setting(
            key: "teacher.cache_type", get: { $0.teacherCacheType.text },
            set: { c, t throws(Wanted) in
                guard assign(TeacherCacheType(t), to: &c.teacherCacheType) else { throw Wanted("float32, half or topK (top8)") }
            }),
        integer("teacher.cache_draws", \.teacherCacheDraws),
        choice(
            "teacher.storage", TeacherStorage.allCases.map(\.rawValue), get: { $0.teacherStorage.rawValue },
            set: { assign(TeacherStorage(rawValue: $1), to: &$0.teacherStorage) }),
        integer("log_every", \.logEvery),
        integer("checkpoint.every", \.checkpointEvery),
        integer("checkpoint.keep", \.checkpointKeep),
        choice(
            "precision", Precision.allCases.map(\.rawValue), get: { $0.precision.rawValue },
            set: { assign(Precision(rawValue: $1), to: &$0.precision) }),
        optionalName("device", \.device),
    ]

    /// Every key that a configuration file may hold.
    static let keys: [String] =
        all.map(\.key) + ["method.id", "method.lskd"] + MethodOption.allCases.map { "method.\(underscored($0.name))" }

    static func underscored(_ name: String) -> String { String(name.map { $0 == "-" ? "_" : $0 }) }

    /// A string as YAML, quoted when it would read as something else.
    static func quoted(_ text: String) -> String {
        let plain = text.allSatisfy { $0.isLetter || $0.isNumber || "_-./".contains($0) }
        let words = ["true", "false", "yes", "no", "on", "off", "null", "y", "n"]
        let safe = plain && text.first?.isLetter == true && !words.contains(text.lowercased())
        if safe || Int(text) != nil && text == "\(Int(text) ?? 0)" { return text }
        var escaped = ""
        for scalar in text.unicodeScalars {
            switch scalar {
            case "\\": escaped += "\\\\"
            case "\"": escaped += "\\\""
            case "\n": escaped += "\\n"
            // Control characters, which a file of YAML may not hold, and what some readers take for the end of a line.
            case _ where scalar.properties.generalCategory == .control || [0x2028, 0x2029, 0xFEFF].contains(scalar.value):
                let digits = String(scalar.value, radix: 16)
                escaped += "\\u" + String(repeating: "0", count: 4 - digits.count) + digits
            default: escaped.unicodeScalars.append(scalar)
            }
        }
        return "\"\(escaped)\""
    }

    /// What `quoted` was given.
    static func unquoted(_ text: String) -> String {
        guard text.count >= 2, text.hasPrefix("\""), text.hasSuffix("\"") else { return text }
        var result = ""
        var rest = text.unicodeScalars.dropFirst().dropLast()[...]
        while let scalar = rest.popFirst() {
            guard scalar == "\\", let escape = rest.popFirst() else {
                result.unicodeScalars.append(scalar)
                continue
            }
            switch escape {
            case "n": result += "\n"
            case "u":
                let digits = String(String.UnicodeScalarView(rest.prefix(4)))
                rest = rest.dropFirst(4)
                if let code = UInt32(digits, radix: 16).flatMap(Unicode.Scalar.init) { result.unicodeScalars.append(code) }
            default: result.unicodeScalars.append(escape)
            }
        }
        return result
    }

    // MARK: - Kinds of settings

    private typealias Path<Value> = WritableKeyPath<TrainingConfiguration, Value> & Sendable

    private static func name(_ key: String, _ path: any Path<String>) -> Setting {
        Setting(
            key: key, get: { quoted($0[keyPath: path]) },
            set: { c, t throws(Wanted) in
                guard !t.isEmpty else { throw Wanted("a name") }
                c[keyPath: path] = t
            })
    }

    private static func optionalName(_ key: String, _ path: any Path<String?>) -> Setting {
        Setting(
            key: key, get: { $0[keyPath: path].map(quoted) },
            set: { c, t throws(Wanted) in c[keyPath: path] = t.isEmpty ? nil : t })
    }

    /// - Parameter set: false for a name that is none of them.
    private static func choice(
        _ key: String, _ known: [String], get: @escaping @Sendable (TrainingConfiguration) -> String,
        set: @escaping @Sendable (inout TrainingConfiguration, String) -> Bool
    ) -> Setting {
        Setting(
            key: key, get: { get($0) },
            set: { c, t throws(Wanted) in
                guard !set(&c, t) else { return }
                let near = nearestName(to: t, among: known).map { "; did you mean '\($0)'?" } ?? ""
                throw Wanted("one of \(known.joined(separator: ", "))\(near)")
            })
    }

    /// Assigns what is there. - Returns: whether it was.
    private static func assign<Value>(_ value: Value?, to place: inout Value) -> Bool {
        guard let value else { return false }
        place = value
        return true
    }

    private static func integer(_ key: String, _ path: any Path<Int>) -> Setting {
        Setting(
            key: key, get: { String($0[keyPath: path]) },
            set: { c, t throws(Wanted) in c[keyPath: path] = try whole(t) })
    }

    private static func optionalInteger(_ key: String, _ path: any Path<Int?>) -> Setting {
        Setting(
            key: key, get: { $0[keyPath: path].map(String.init) },
            set: { c, t throws(Wanted) in c[keyPath: path] = t.isEmpty ? nil : try whole(t) })
    }

    private static func optionalNumbers(_ key: String, _ path: any Path<[Double]?>) -> Setting {
        Setting(
            key: key, get: { $0[keyPath: path].map { "[\($0.map(\.plainText).joined(separator: ", "))]" } },
            set: { c, t throws(Wanted) in
                let parts = t.trimmingCharacters(in: CharacterSet(charactersIn: "[] ")).split(separator: ",")
                let values = parts.compactMap { Double($0.trimmingCharacters(in: .whitespaces)) }
                guard values.count == parts.count else { throw Wanted("numbers with commas between them") }
                c[keyPath: path] = values.isEmpty ? nil : values
            })
    }

    private static func number(_ key: String, _ path: any Path<Double>) -> Setting {
        Setting(
            key: key, get: { $0[keyPath: path].plainText },
            set: { c, t throws(Wanted) in
                guard let value = Double(t) else { throw Wanted("a number") }
                c[keyPath: path] = value
            })
    }

    private static func flag(_ key: String, _ path: any Path<Bool>) -> Setting {
        Setting(
            key: key, get: { $0[keyPath: path] ? "true" : "false" },
            set: { c, t throws(Wanted) in c[keyPath: path] = try truth(t) })
    }

    static func truth(_ text: String) throws(Wanted) -> Bool {
        switch text.lowercased() {
        case "true", "yes", "on", "1": return true
        case "false", "no", "off", "0": return false
        default: throw Wanted("true or false")
        }
    }

    private static func whole(_ text: String) throws(Wanted) -> Int {
        guard let value = Int(text) else { throw Wanted("a whole number") }
        return value
    }

    private static func wholes(_ text: String) throws(Wanted) -> [Int] {
        let inner = text.trimmingCharacters(in: CharacterSet(charactersIn: "[] "))
        var values: [Int] = []
        for part in inner.split(separator: ",") {
            guard let value = Int(part.trimmingCharacters(in: .whitespaces)) else {
                throw Wanted("whole numbers with commas between them")
            }
            values.append(value)
        }
        return values
    }
}
