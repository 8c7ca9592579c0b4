import RLDGraph

/// One setting of a method, under the name by which the command line and a configuration file spell it.
/// The table of all options is `MethodOption.allCases`; which method has which is `Method.value(of:)`.
public enum MethodOption: String, Sendable, CaseIterable {
    case crossEntropyWeight = "ce-weight"
    case distillationWeight = "kd-weight"
    case correctionWeight = "rc-weight"
    case alpha
    case beta
    case lambda1
    case lambda2
    case eta
    case temperature
    case confidenceTemperature = "confidence-temperature"
    case standardize
    case warmUp = "warm-up"

    /// What values an option takes.
    public enum Kind: Sendable {
        /// Finite and at least 0.
        case weight
        /// From 0 to 1.
        case share
        /// From 1e-9 to 1e9; on a device from 1e-3 to 1e3.
        case temperature
        /// A whole number, at least 0.
        case epochs
        /// true or false.
        case flag
    }

    public var name: String { rawValue }

    public var kind: Kind {
        switch self {
        case .crossEntropyWeight, .distillationWeight, .correctionWeight, .alpha, .beta, .lambda1, .lambda2: .weight
        case .eta: .share
        case .temperature, .confidenceTemperature: .temperature
        case .warmUp: .epochs
        case .standardize: .flag
        }
    }

    /// One line for help texts.
    public var meaning: String {
        switch self {
        case .crossEntropyWeight: "weight of the cross-entropy with the label"
        case .distillationWeight: "weight of the KL term, of mlkd of all its alignments"
        case .correctionWeight: "weight of the correction term"
        case .alpha: "weight of the confidence term, SCD or TCKD"
        case .beta: "weight of the correlation term, MCD or NCKD"
        case .lambda1: "weight of the squared distance of logits where the teacher is right"
        case .lambda2: "weight of the squared distance of probabilities where the teacher is wrong"
        case .eta: "largest share of the teacher in the revised target, 0 to 1"
        case .temperature: "temperature T of the distillation terms"
        case .confidenceTemperature: "temperature a of the confidence term, the authors' ALPHA_T"
        case .standardize: "standardise the logits of each row before the distillation terms"
        case .warmUp: "epochs over which the distillation terms grow to their weight"
        }
    }

    /// Ids of the methods that have this option.
    public var methods: [String] {
        Method.defaults.filter { $0.value(of: self) != nil }.map(\.id)
    }

    /// A value as people write it: `true`, `20`, `0.5`.
    package func text(_ value: Double) -> String {
        switch kind {
        case .flag: value != 0 ? "true" : "false"
        case .epochs, .weight, .temperature, .share: value.plainText
        }
    }

    /// The number that a value stands for (a flag is 0 or 1).
    func number(_ value: MethodOptionValue) throws(InputError) -> Double {
        switch (kind, value) {
        case (.flag, .flag(let on)): return on ? 1 : 0
        case (.flag, .text(let text)):
            switch text.lowercased() {
            case "true", "yes", "on", "1": return 1
            case "false", "no", "off", "0": return 0
            default: throw InputError("option '\(name)'", "takes true or false, found '\(text)'")
            }
        case (.flag, .number(let number)):
            if number == 0 || number == 1 { return number }
            throw InputError("option '\(name)'", "takes true or false, found \(number)")
        case (_, .number(let number)): return number
        case (_, .text(let text)):
            if let number = Double(text) { return number }
            throw InputError("option '\(name)'", "takes a number, found '\(text)'")
        case (_, .flag(let on)):
            throw InputError("option '\(name)'", "takes a number, found \(on)")
        }
    }

    /// Throws unless the number is one that this option takes.
    func check(_ value: Double, method: String) throws(InputError) {
        let wanted: String
        switch kind {
        case .weight:
            guard let problem = LossInputs.problem(weight: value) else { return }
            wanted = problem
        case .temperature:
            if (1e-9...1e9).contains(value) { return }
            wanted = value.isFinite && value > 0 ? "must be from 1e-9 to 1e9" : "must be finite and more than 0"
        case .share:
            if value >= 0 && value <= 1 { return }
            wanted = "must be from 0 to 1"
        case .epochs:
            if value >= 0 && value < 1e9 && value == value.rounded() { return }
            wanted = "must be a whole number, at least 0"
        case .flag:
            if value == 0 || value == 1 { return }
            wanted = "must be 0 (false) or 1 (true)"
        }
        throw InputError("option '\(name)' of method '\(method)'", "\(wanted), found \(value)")
    }
}

/// What a user gave for an option: text from a command line, or a typed value from a configuration file.
public enum MethodOptionValue: Sendable, Equatable {
    case text(String)
    case number(Double)
    case flag(Bool)
}

extension MethodOptionValue: ExpressibleByStringLiteral, ExpressibleByFloatLiteral, ExpressibleByIntegerLiteral,
    ExpressibleByBooleanLiteral
{
    public init(stringLiteral value: String) { self = .text(value) }
    public init(floatLiteral value: Double) { self = .number(value) }
    public init(integerLiteral value: Int) { self = .number(Double(value)) }
    public init(booleanLiteral value: Bool) { self = .flag(value) }
}
