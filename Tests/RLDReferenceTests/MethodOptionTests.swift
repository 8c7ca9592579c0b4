import Foundation
import RLDGraph
import RLDMethods
import RLDReference
import Testing

/// The one table of options that the command line and configuration files share.
@Suite struct MethodOptionTests {
    @Test func optionsReachTheirMethod() throws {
        let made = try Method.make(
            id: "rld", options: ["alpha": "0.5", "warm_up": 3, "confidence-temperature": 2.5, "standardize": "true"])
        var wanted = RefinedLogitDistillation()
        (wanted.alpha, wanted.warmupEpochs, wanted.confidenceTemperature, wanted.standardize) = (0.5, 3, 2.5, true)
        #expect(made.method == .refinedLogitDistillation(wanted))
        #expect(made.ignored.isEmpty)
    }

    @Test func optionsOfOtherMethodsAreReported() throws {
        let made = try Method.make(id: "kd", options: ["beta": 2, "alpha": 1, "temperature": 3])
        #expect(made.ignored == ["alpha", "beta"])
        #expect(made.method.value(of: .temperature) == 3)
    }

    @Test func unknownNamesSuggestTheNearest() throws {
        func message(_ id: String, _ options: [String: MethodOptionValue]) -> String {
            do throws(InputError) {
                _ = try Method.make(id: id, options: options)
                return "none"
            } catch { return error.description }
        }
        #expect(message("rld", ["temprature": 4]).contains("did you mean 'temperature'"))
        #expect(message("rlds", [:]).contains("did you mean 'rld'"))
        #expect(message("rld", ["temperature": 0]).contains("more than 0"))
        for temperature in [1e-10, 1e10, 1e160] {
            let value = MethodOptionValue.number(temperature)
            #expect(message("kd", ["temperature": value]).contains("must be from 1e-9 to 1e9, found \(temperature)"))
        }
        #expect(message("rld", ["alpha": -1]).contains("at least 0"))
        #expect(message("rld", ["beta": "nan"]).contains("finite"))
        #expect(message("rld", ["beta": "much"]).contains("takes a number, found 'much'"))
        #expect(message("lr", ["eta": 1.5]).contains("from 0 to 1"))
        #expect(message("rld", ["warm-up": 1.5]).contains("whole number"))
        #expect(message("kd", ["standardize": "maybe"]).contains("true or false"))
    }

    /// Both spellings are one option: which of the two values should count?
    @Test func anOptionGivenTwiceIsRefused() {
        let error = #expect(throws: InputError.self) {
            try Method.make(id: "rld", options: ["warm-up": 3, "warm_up": 5])
        }
        #expect(error?.description == "option 'warm-up': is given twice, as 'warm-up' and as 'warm_up'; give it once")
    }

    @Test(arguments: [0.5, -1, 2, .nan, .infinity]) func flagsAreZeroOrOne(value: Double) {
        var method = Method.refinedLogitDistillation(RefinedLogitDistillation())
        let error = #expect(throws: InputError.self) { try method.set(.standardize, to: value) }
        #expect(error?.description.contains("must be 0 (false) or 1 (true), found \(value)") == true)
    }

    /// A value that was set by hand may be anything until it is validated.
    @Test func descriptionsOfWhatDoesNotValidateAreNoTrap() throws {
        var method = RefinedLogitDistillation()
        method.warmupEpochs = .max
        (method.alpha, method.beta) = (.nan, -.infinity)
        let rld = Method.refinedLogitDistillation(method)
        #expect(rld.effectiveDescription.contains("alpha nan, beta -inf"))
        #expect(throws: InputError.self) { try rld.validate() }
    }

    @Test func everyOptionBelongsToAMethodAndCanBeSet() throws {
        for option in MethodOption.allCases {
            #expect(!option.methods.isEmpty)
            for var method in Method.defaults {
                guard method.value(of: option) != nil else {
                    let error = #expect(throws: InputError.self) { try method.set(option, to: 1) }
                    #expect(error?.description.contains("option of method '\(method.id)'") == true)
                    continue
                }
                try method.set(option, to: 1)
                #expect(method.value(of: option) == 1)
            }
        }
        #expect(Method.defaults.map(\.id) == Method.ids)
    }

    @Test func validation() throws {
        for method in Method.defaults { try method.validate() }
        var broken = KnowledgeDistillation()
        broken.temperature = -.infinity
        #expect(throws: InputError.self) { try Method.knowledgeDistillation(broken).validate() }
        var negative = RefinedLogitDistillation()
        negative.warmupEpochs = -1
        #expect(throws: InputError.self) { try Method.refinedLogitDistillation(negative).validate() }
    }

    @Test func presetAndDescription() throws {
        let lskd = Method.refinedLogitDistillation(RefinedLogitDistillation()).applyingLSKD()
        #expect(
            lskd.effectiveDescription
                == "rld: ce-weight 1, alpha 9, beta 72, temperature 2, confidence-temperature 2, standardize true, warm-up 20")
        #expect(Method.defaults[1].effectiveDescription == "kd: ce-weight 0.1, kd-weight 0.9, temperature 4, standardize false")
        #expect(Method.defaults.map(\.id) == ["ce", "kd", "dkd", "la", "rc", "lr", "rld", "mlkd"])
        // The authors' weights: kd and mlkd are set to 9 (golden kd_weight 9), dkd and rc are multiplied by it, la has none.
        #expect(
            Method.defaults.map { $0.applyingLSKD().termWeights() }
                == [[1], [0.1, 9], [1, 9, 72], [1], [1, 9, 0.9], [1, 4, 1], [1, 9, 72], [0.1, 9, 9, 9]])
        for method in Method.defaults {
            let lskd = method.applyingLSKD()
            guard method.value(of: .standardize) != nil else {
                #expect(lskd == method, "the authors do not offer it there")
                continue
            }
            #expect(lskd.value(of: .temperature) == 2)
            #expect(lskd.value(of: .standardize) == method.value(of: .standardize).map { _ in 1 })
        }
    }

    /// An option that a method keeps but does not name could not be set, one that its loss does not read would be set in vain.
    @Test(arguments: Method.defaults) func everyValueIsAnOptionAndEveryOptionCounts(_ method: Method) throws {
        let settings = try #require(Mirror(reflecting: method).children.first?.value)
        #expect(Mirror(reflecting: settings).children.count == method.options.count)
        let (rows, classes) = (5, 4)
        let values = { (stream: UInt64) in
            (0..<rows * classes).map { 4 * CounterRandom.normal(seed: 11, stream: stream, counter: UInt64($0)) }
        }
        func loss(_ method: Method, warmup: Double = 1) throws -> LossReport {
            try ReferenceExecutor().loss(
                method, student: Tensor(shape: [rows, classes], values: values(1)),
                teacher: method.needsTeacher ? Tensor(shape: [rows, classes], values: values(2)) : nil,
                labels: [0, 1, 2, 3, 1], settings: LossSettings(warmup: warmup))
        }
        let usual = try loss(method)
        for option in method.options {
            guard option.kind != .epochs else {
                #expect(try loss(method, warmup: 0.5).total != usual.total, "\(method.id) \(option)")
                continue
            }
            var other = method
            let value = try #require(method.value(of: option))
            let changed = option.kind == .flag ? 1 - value : value / 2
            try other.set(option, to: changed)
            let found = try loss(other)
            #expect(found.total != usual.total && found.gradient != usual.gradient, "\(method.id) \(option)")
            // Weights stand before the terms, and the cross-entropy's before it alone.
            guard option.kind == .weight else { continue }
            #expect(found.terms.elementsEqual(usual.terms) { $0 == $1 }, "\(method.id) \(option)")
            guard option == .crossEntropyWeight else { continue }
            let entropy = try #require(usual.terms.first { $0.name.hasPrefix("ce") }?.value)
            #expect(abs(found.total - usual.total - (changed - value) * entropy) < 1e-12)
        }
    }
}
