import ArgumentParser
import RLD

/// Where to compute and how to answer.
struct CommonOptions: ParsableArguments {
    @Option(
        help: "OpenCL device by index, platform:device or part of its name, or 'reference' for the host in Double.",
        completion: .list(["reference"]))
    var device: String?

    @Flag(help: "Print the result as JSON on standard output.")
    var json = false

    @Flag(help: "Print nothing but the result and errors.")
    var quiet = false

    /// Warnings go to standard error, so that they never mix with a result.
    func warn(_ lines: [String]) {
        guard !quiet else { return }
        for line in lines { Output.error("warning: \(line)") }
    }
}

extension KernelProfile {
    /// The profile that an option names.
    static func named(_ name: String) throws(InputError) -> KernelProfile {
        guard let known = KernelProfile(rawValue: name) else { throw .unknown("profile", name, known: allCases.map(\.rawValue)) }
        return known
    }
}

extension Precision {
    /// The precision that an option names.
    static func named(_ name: String) throws(InputError) -> Precision {
        guard let known = Precision(rawValue: name) else { throw .unknown("precision", name, known: allCases.map(\.rawValue)) }
        return known
    }
}

/// What every training run has.
struct RunOptions: ParsableArguments {
    @Option(
        help: "Settings from a YAML file (keys as in a run's config.yaml, or the authors' upper-case ones).",
        completion: .file(extensions: ["yaml"]))
    var config: String?

    @Option(
        name: .customLong("set"),
        help: ArgumentHelp("Set any key of the configuration, for example optimizer.momentum=0.8.", valueName: "key=value"))
    var assignments: [String] = []

    @Option(help: "Folder of the run.", completion: .directory)
    var out: String?

    @Flag(help: "Replace a run that the folder already holds.")
    var overwrite = false

    @Flag(help: "Go on with the run in the folder from its last checkpoint; start it where there is none yet.")
    var resume = false

    @Option(help: ArgumentHelp("With --resume: this setting may differ from the run's (repeatable).", valueName: "key"))
    var allowChange: [String] = []

    @Option(parsing: .unconditional, help: "Steps between two checkpoints within an epoch (0: after each epoch only).")
    var checkpointEvery: String?

    @Option(help: "Weights to start from (default: fresh ones).", completion: .file())
    var weights: String?

    @Option(help: "Where those weights are in a checkpoint, for example model.student.")
    var key: String?

    @Option(help: "false starts from what fits of those weights and lists the rest.")
    var strict: String?

    @Flag(help: "Start the last layer anew where those weights are for another number of classes.")
    var resetHead = false

    @Option(help: "Data set as NAME or NAME:PATH, for example fashion-mnist; a path alone is read as folder:PATH.")
    var data: String?

    @Option(parsing: .unconditional, help: "Train on the first so many training images.")
    var limit: String?

    @Option(parsing: .unconditional, help: "Side of the square that the network gets to see (own pictures: 64).")
    var imageSize: String?

    @Flag(help: "Leave damaged files, labels and pictures out, and say which, instead of stopping at the first.")
    var skipBroken = false

    @Option(parsing: .unconditional, help: "Validation part: a share below 1 or a number of images.")
    var validation: String?

    @Option(parsing: .unconditional, help: "Seed of weights, order and augmentation.")
    var seed: String?

    @Option(parsing: .unconditional, help: "Passes over the training images.")
    var epochs: String?

    @Option(parsing: .unconditional, help: "Images per step.")
    var batchSize: String?

    @Option(parsing: .unconditional, help: "Learning rate before the schedule.")
    var learningRate: String?

    @Option(parsing: .unconditional, help: "Steps between two readings of the metrics.")
    var logEvery: String?

    @Flag(help: "Print what would be done and how long it would take, from a few steps, and do nothing.")
    var dryRun = false

    @Argument(help: ArgumentHelp("Overrides in the authors' form: RLD.BETA 8 SOLVER.LR 0.1.", valueName: "KEY VALUE"))
    var overrides: [String] = []

    /// Key, option and value of what was given.
    var settings: [(key: String, option: String, value: String?)] {
        [
            ("initial.weights", "--weights", weights), ("initial.key", "--key", key), ("initial.strict", "--strict", strict),
            ("initial.reset_head", "--reset-head", resetHead ? "true" : nil),
            ("data", "--data", data), ("limit", "--limit", limit), ("validation", "--validation", validation),
            ("seed", "--seed", seed), ("image_size", "--image-size", imageSize),
            ("skip_broken", "--skip-broken", skipBroken ? "true" : nil), ("epochs", "--epochs", epochs),
            ("batch_size", "--batch-size", batchSize),
            ("optimizer.learning_rate", "--learning-rate", learningRate), ("log_every", "--log-every", logEvery),
            ("checkpoint.every", "--checkpoint-every", checkpointEvery),
        ]
    }
}

/// The options of all methods; those that the chosen method does not have are warned about.
struct MethodArguments: ParsableArguments {
    @Option(parsing: .unconditional, help: MethodOption.crossEntropyWeight.help)
    var ceWeight: String?

    @Option(parsing: .unconditional, help: MethodOption.distillationWeight.help)
    var kdWeight: String?

    @Option(parsing: .unconditional, help: MethodOption.correctionWeight.help)
    var rcWeight: String?

    @Option(parsing: .unconditional, help: MethodOption.alpha.help)
    var alpha: String?

    @Option(parsing: .unconditional, help: MethodOption.beta.help)
    var beta: String?

    @Option(parsing: .unconditional, help: MethodOption.lambda1.help)
    var lambda1: String?

    @Option(parsing: .unconditional, help: MethodOption.lambda2.help)
    var lambda2: String?

    @Option(parsing: .unconditional, help: MethodOption.eta.help)
    var eta: String?

    @Option(parsing: .unconditional, help: MethodOption.temperature.help)
    var temperature: String?

    @Option(parsing: .unconditional, help: MethodOption.confidenceTemperature.help)
    var confidenceTemperature: String?

    @Option(parsing: .unconditional, help: MethodOption.warmUp.help)
    var warmUp: String?

    @Flag(help: MethodOption.standardize.help)
    var standardize = false

    @Flag(help: "The authors' recipe for standardised logits: temperatures 2, weights x 9 (kd, mlkd: 9), --standardize.")
    var lskd = false

    /// Key, option and value of what was given.
    var settings: [(key: String, option: String, value: String?)] {
        [
            ("method.lskd", "--lskd", lskd ? "true" : nil), ("method.ce_weight", "--ce-weight", ceWeight),
            ("method.kd_weight", "--kd-weight", kdWeight), ("method.rc_weight", "--rc-weight", rcWeight),
            ("method.lambda1", "--lambda1", lambda1), ("method.lambda2", "--lambda2", lambda2), ("method.eta", "--eta", eta),
            ("method.alpha", "--alpha", alpha), ("method.beta", "--beta", beta),
            ("method.temperature", "--temperature", temperature),
            ("method.confidence_temperature", "--confidence-temperature", confidenceTemperature),
            ("method.warm_up", "--warm-up", warmUp), ("method.standardize", "--standardize", standardize ? "true" : nil),
        ]
    }
}

extension MethodOption {
    /// What it is, and which methods have it.
    fileprivate var help: ArgumentHelp {
        let (first, rest) = (meaning.prefix(1).uppercased(), meaning.dropFirst())
        return ArgumentHelp("\(first)\(rest) (\(methods.joined(separator: ", "))).")
    }
}

extension ConfigurationReader {
    /// Takes what was given on the command line.
    mutating func take(_ settings: [(key: String, option: String, value: String?)]) throws(InputError) {
        for (key, option, value) in settings { if let value { try set(key, to: value, source: option) } }
    }
}
