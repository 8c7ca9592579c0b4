import RLDGraph

/// torch.optim.SGD's definition: d = g + weightDecay * p; v = momentum * v + d (v = d at the first step);
/// p -= learningRate * (nesterov ? d + momentum * v : v).
public struct SGD: Sendable, Equatable {
    public var learningRate: Double
    public var momentum: Double
    public var weightDecay: Double
    public var nesterov: Bool

    public init(learningRate: Double, momentum: Double = 0.9, weightDecay: Double = 0, nesterov: Bool = false) {
        self.learningRate = learningRate
        self.momentum = momentum
        self.weightDecay = weightDecay
        self.nesterov = nesterov
    }
}

/// torch.optim.AdamW's definition (Loshchilov and Hutter, arXiv 1711.05101). At step t, from 1:
/// p -= learningRate * weightDecay * p; m = beta1 * m + (1 - beta1) * g; v = beta2 * v + (1 - beta2) * g^2;
/// p -= learningRate / (1 - beta1^t) * m / (sqrt(v) / sqrt(1 - beta2^t) + epsilon).
public struct AdamW: Sendable, Equatable {
    public var learningRate: Double
    public var beta1: Double
    public var beta2: Double
    public var epsilon: Double
    public var weightDecay: Double

    public init(
        learningRate: Double, beta1: Double = 0.9, beta2: Double = 0.999, epsilon: Double = 1e-8, weightDecay: Double = 1e-2
    ) {
        self.learningRate = learningRate
        self.beta1 = beta1
        self.beta2 = beta2
        self.epsilon = epsilon
        self.weightDecay = weightDecay
    }
}

/// What moves the parameters along their gradients.
public enum Optimizer: Sendable, Equatable {
    case sgd(SGD)
    case adamW(AdamW)

    /// Names of what it remembers per parameter.
    public var slotNames: [String] {
        switch self {
        case .sgd: ["momentum"]
        case .adamW: ["first_moment", "second_moment"]
        }
    }
}

/// How gradients move the parameters, the same for a whole run but for the learning rate.
public struct UpdateRule: Sendable, Equatable {
    public var optimizer: Optimizer
    /// The gradient over all parameters is scaled down to this Euclidean length where it is longer
    /// (torch.nn.utils.clip_grad_norm_: factor min(1, clip / (length + 1e-6))).
    public var clipNorm: Double?
    /// Largest d of the moving average over weights and running statistics, a = d a + (1 - d) p after update t with
    /// d = min(decay, (1 + t) / (10 + t)), so that the fresh weights are soon forgotten.
    public var averageDecay: Double?
    /// Batches whose gradients are added up before the parameters move.
    public var accumulation: Int

    public init(_ optimizer: Optimizer, clipNorm: Double? = nil, averageDecay: Double? = nil, accumulation: Int = 1) {
        self.optimizer = optimizer
        self.clipNorm = clipNorm
        self.averageDecay = averageDecay
        self.accumulation = accumulation
    }

    /// Throws `InputError` for the first number that gives no update.
    package func check() throws(InputError) {
        let shares: [(String, Double)]
        let amounts: [(String, Double)]
        switch optimizer {
        case .sgd(let sgd):
            shares = [("momentum", sgd.momentum)]
            amounts = [("learning rate", sgd.learningRate), ("weight decay", sgd.weightDecay)]
        case .adamW(let adamW):
            shares = [("beta1", adamW.beta1), ("beta2", adamW.beta2)]
            amounts = [
                ("learning rate", adamW.learningRate), ("weight decay", adamW.weightDecay), ("epsilon", adamW.epsilon),
            ]
        }
        for (name, value) in shares + [("average decay", averageDecay ?? 0)] where !(0..<1).contains(value) {
            throw InputError("optimizer", "\(name) is \(value), expected 0 up to, but not including, 1")
        }
        for (name, value) in amounts + [("clip norm", clipNorm ?? 0)] where !(value.isFinite && value >= 0) {
            throw InputError("optimizer", "\(name) is \(value), expected a finite number, at least 0")
        }
        guard accumulation >= 1 else {
            throw InputError("optimizer", "accumulation is \(accumulation), expected at least one batch")
        }
    }

    /// d of the moving average after an update, counted from 1.
    public func averageDecay(update: Int) -> Double? {
        averageDecay.map { min($0, Double(1 + update) / Double(10 + update)) }
    }
}

/// What one training step does with its gradient.
public struct ParameterUpdate: Sendable, Equatable {
    /// With the learning rate of this step.
    public var rule: UpdateRule
    /// The update that this step belongs to, from 1.
    public var number: Int
    /// The factor of this batch's gradient in the sum: its share of the images of the update.
    public var share: Double
    /// Whether the sum begins with this batch, and whether the parameters move after it.
    public var begins: Bool
    public var ends: Bool

    /// Throws for a rule that gives no update, a number below 1, and a share that is not finite.
    package func check() throws(InputError) {
        try rule.check()
        guard number >= 1 else { throw InputError("update", "has the number \(number)", advice: "updates count from 1") }
        guard share.isFinite else { throw InputError("update", "takes a share of \(share) of the gradient") }
    }

    public init(_ rule: UpdateRule, number: Int, share: Double = 1, begins: Bool = true, ends: Bool = true) {
        self.rule = rule
        self.number = number
        self.share = share
        self.begins = begins
        self.ends = ends
    }
}
