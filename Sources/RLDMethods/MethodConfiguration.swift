import RLDGraph

extension Method {
    /// The options that this method has, in table order.
    public var options: [MethodOption] { MethodOption.allCases.filter { value(of: $0) != nil } }

    /// The method's value of an option (a flag is 0 or 1), nil when the method does not have the option.
    public func value(of option: MethodOption) -> Double? { settings.value(of: option) }

    /// Sets an option.
    /// - Throws: `InputError` when the method does not have the option, or the option does not take the value.
    public mutating func set(_ option: MethodOption, to value: Double) throws(InputError) {
        guard self.value(of: option) != nil else {
            throw .unknown("option of method '\(id)':", option.name, known: options.map(\.name))
        }
        try option.check(value, method: id)
        func changed(_ settings: some MethodSettings) -> Method {
            var copy = settings
            copy.set(option, to: value)
            return copy.method
        }
        self = changed(settings)
    }

    /// The method of an id with some options set; the rest keep the authors' defaults.
    /// - Parameter options: by name, with `-` or `_` between words.
    /// - Returns: the method, and the names of given options that only other methods have (for a warning), sorted.
    /// - Throws: `InputError` for an unknown id or option (with the nearest name), an option given in both spellings, and a value
    ///   out of range.
    public static func make(
        id: String, options: [String: MethodOptionValue] = [:]
    ) throws(InputError) -> (method: Method, ignored: [String]) {
        guard var method = defaults.first(where: { $0.id == id }) else {
            throw .unknown("method", id, known: ids)
        }
        var ignored: [String] = []
        var spellings: [MethodOption: String] = [:]
        for (given, value) in options.sorted(by: { $0.key < $1.key }) {
            let name = String(given.map { $0 == "_" ? "-" : $0 })
            guard let option = MethodOption(rawValue: name) else {
                throw .unknown("option", given, known: MethodOption.allCases.map(\.name))
            }
            if let other = spellings.updateValue(given, forKey: option) {
                throw InputError(
                    "option '\(option.name)'", "is given twice, as '\(other)' and as '\(given)'", advice: "give it once")
            }
            let number = try option.number(value)
            if method.value(of: option) == nil {
                ignored.append(option.name)
            } else {
                try method.set(option, to: number)
            }
        }
        return (method, ignored)
    }

    /// Throws when a value makes no loss: temperatures must be from 1e-9 to 1e9, weights finite and at least 0, the warm-up from
    /// 0 to below 1e9, eta within 0 ... 1.
    public func validate() throws(InputError) {
        for option in MethodOption.allCases {
            if let value = value(of: option) { try option.check(value, method: id) }
        }
    }

    /// The authors' recipe for standardised logits (their `--logit-stand`): all temperatures 2, the weights of the
    /// distillation terms times 9 (of `kd` and `mlkd`: set to 9; of `la`, which has none: left at 1), standardisation on. `ce` and `lr`,
    /// which the authors do not offer it for, stay as they are.
    public func applyingLSKD() -> Method {
        func applied(_ settings: some MethodSettings) -> Method { settings.applyingLSKD().method }
        return applied(settings)
    }

    /// The effective values on one line, for example
    /// `rld: ce-weight 1, alpha 1, beta 8, temperature 4, confidence-temperature 1, standardize false, warm-up 20`.
    public var effectiveDescription: String {
        let values = MethodOption.allCases.compactMap { option in
            value(of: option).map { "\(option.name) \(option.text($0))" }
        }
        return "\(id): " + values.joined(separator: ", ")
    }
}
