import RLDGraph
import RLDMethods
import RLDModels

/// The authors' configuration files (yacs, upper-case keys with dots: `RLD.BETA`) as they are: what their keys mean here.
struct AuthorsRecipe {
    /// The groups of their files.
    static let groups: Set<String> = [
        "EXPERIMENT", "DATASET", "DISTILLER", "SOLVER", "LOG", "KD", "DKD", "MLKD", "RLD", "RC", "SWAP", "REVISION",
    ]

    /// Their names of methods, and ours.
    static let methods = [
        "NONE": "ce", "KD": "kd", "DKD": "dkd", "SWAP": "la", "RC": "rc", "REVISION": "lr", "RLD": "rld", "MLKD": "mlkd",
    ]

    private static let solver = [
        "BATCH_SIZE": "batch_size", "EPOCHS": "epochs", "LR": "optimizer.learning_rate", "LR_DECAY_STAGES": "schedule.milestones",
        "LR_DECAY_RATE": "schedule.factor", "WEIGHT_DECAY": "optimizer.weight_decay", "MOMENTUM": "optimizer.momentum",
    ]

    private static let options = [
        "CE_WEIGHT": "ce_weight", "KD_WEIGHT": "kd_weight", "RC_WEIGHT": "rc_weight", "LOSS.CE_WEIGHT": "ce_weight",
        "LOSS.KD_WEIGHT": "kd_weight", "ALPHA": "alpha", "BETA": "beta", "T": "temperature", "TEMPERATURE": "temperature",
        "ALPHA_T": "confidence_temperature", "WARMUP": "warm_up", "ETA": "eta", "LAMBDA1": "lambda1", "LAMBDA2": "lambda2",
    ]

    /// Keys of theirs on which nothing here depends, by group.
    private static let withoutCounterpart: [String: Set<String>] = [
        "EXPERIMENT": ["NAME", "TAG", "PROJECT"], "DATASET": ["NUM_WORKERS", "TEST.BATCH_SIZE"], "SOLVER": ["TRAINER"],
        "LOG": ["TENSORBOARD_FREQ", "SAVE_CHECKPOINT_FREQ", "PREFIX", "WANDB"],
    ]

    /// Names that a group has here, in the order of the alphabet.
    private static func names(of group: String) -> [String] {
        let translated: [String] =
            switch group {
            case "DISTILLER": ["TYPE", "TEACHER", "STUDENT"]
            case "DATASET": ["TYPE"]
            case "EXPERIMENT": ["LOGIT_STAND"]
            case "SOLVER": solver.keys + ["TYPE"]
            case "LOG": []
            default: Array(options.keys)
            }
        return (translated + (withoutCounterpart[group] ?? [])).sorted()
    }

    /// Whether a key is one of theirs.
    static func owns(_ key: String) -> Bool {
        key.split(separator: ".", maxSplits: 1).first.map { groups.contains(String($0)) } ?? false
    }

    /// What one of their keys means.
    enum Meaning: Equatable {
        /// Keys of ours with their values.
        case settings([String: String])
        /// An option of a method, by the method's id here.
        case option(key: String, of: [String])
        /// Nothing that has a counterpart.
        case none
    }

    /// - Throws: `InputError` for a method or an optimiser that does not exist here, and for a key that looks like a typing error of
    ///   one that does.
    static func meaning(_ key: String, _ value: String, imageNet: Bool) throws(InputError) -> Meaning {
        let parts = key.split(separator: ".", maxSplits: 1).map(String.init)
        let (group, name) = (parts[0], parts.count > 1 ? parts[1] : "")
        let known = names(of: group)
        if !known.contains(name), nearestName(to: name, among: known) != nil {
            throw InputError.unknown("key", key, known: known.map { "\(group).\($0)" })
        }
        switch (group, name) {
        case ("DISTILLER", "TYPE"):
            guard let id = methods[value] else {
                throw InputError.unknown("DISTILLER.TYPE", value, known: methods.keys.sorted())
            }
            return .settings(["method.id": id])
        case ("DISTILLER", "TEACHER"): return .settings(value == "NONE" ? [:] : ["teacher.model": model(value, imageNet)])
        case ("DISTILLER", "STUDENT"): return .settings(["model": model(value, imageNet)])
        case ("DATASET", "TYPE"): return .settings(["data": value == "tiny_imagenet" ? "tiny-imagenet" : value])
        case ("EXPERIMENT", "LOGIT_STAND"): return .settings(["method.standardize": value.lowercased()])
        case ("SOLVER", "TYPE"):
            guard value.uppercased() == "SGD" else { throw InputError("SOLVER.TYPE", "is '\(value)', only SGD is known") }
            return .settings(["optimizer.kind": "sgd"])
        case ("SOLVER", _): return solver[name].map { .settings([$0: number(value)]) } ?? .none
        default:
            guard let option = options[name] else { return .none }
            // LA reads the settings of KD.
            let ids = group == "KD" ? ["kd", "la"] : [methods[group] ?? group]
            return .option(key: "method.\(option)", of: ids)
        }
    }

    /// What their defaults are where ours differ.
    static let defaults = ["optimizer.weight_decay": "0.0001", "validation": "0"]

    /// Their ImageNet networks have the names of CIFAR ones.
    private static func model(_ name: String, _ imageNet: Bool) -> String {
        imageNet && ModelCatalog.ids.contains("imagenet_\(name)") ? "imagenet_\(name)" : name
    }

    /// "8." is a number in their files.
    static func number(_ text: String) -> String { text.hasSuffix(".") ? String(text.dropLast()) : text }
}
