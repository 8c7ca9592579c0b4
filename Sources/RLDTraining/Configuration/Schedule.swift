import Foundation
import RLDGraph

/// How the learning rate goes over a run, as a function of (epoch, step) alone.
public struct Schedule: Sendable, Equatable, Codable {
    public enum Kind: String, Sendable, Equatable, Codable, CaseIterable {
        case constant
        /// Times `factor` once for each milestone that the epoch, counted from 1, has passed (epoch > milestone): the
        /// authors' rule.
        case multistep
        /// Half a cosine from the base rate to 0, step by step over the epochs after the warm-up.
        case cosine
    }

    public var kind: Kind
    /// Epochs, of `multistep`.
    public var milestones: [Int]
    /// Of `multistep`, per milestone.
    public var factor: Double
    /// Epochs in front over which the rate grows linearly, step by step, to what `kind` says; 0 for none. This is the learning
    /// rate's warm-up; the one of the distillation terms belongs to the method.
    public var warmupEpochs: Int

    /// The default is the authors' CIFAR schedule: x 0.1 after epochs 150, 180 and 210.
    public init(
        kind: Kind = .multistep, milestones: [Int] = [150, 180, 210], factor: Double = 0.1, warmupEpochs: Int = 0
    ) {
        self.kind = kind
        self.milestones = milestones
        self.factor = factor
        self.warmupEpochs = warmupEpochs
    }

    /// The learning rate of one step.
    /// - Parameters:
    ///   - base: the optimiser's rate.
    ///   - epoch: from 1. - step: from 0 in the epoch.
    ///   - epochs: of the whole run.
    public func learningRate(base: Double, epoch: Int, step: Int, stepsPerEpoch: Int, epochs: Int) -> Double {
        let done = Double(epoch - 1) + Double(step) / Double(max(stepsPerEpoch, 1))
        let warmup =
            warmupEpochs > 0
            ? min((done + 1 / Double(max(stepsPerEpoch, 1))) / Double(warmupEpochs), 1) : 1
        switch kind {
        case .constant: return base * warmup
        case .multistep: return base * warmup * pow(factor, Double(milestones.filter { epoch > $0 }.count))
        case .cosine:
            let length = Double(epochs - warmupEpochs)
            let progress = length > 0 ? min(max((done - Double(warmupEpochs)) / length, 0), 1) : 0
            return base * warmup * (1 + cos(Double.pi * progress)) / 2
        }
    }

    /// One line: "multistep: x 0.1 after epochs 150, 180, 210; warm-up 5 epochs".
    public var effectiveDescription: String {
        let shape =
            switch kind {
            case .constant: "constant"
            case .cosine: "cosine to 0"
            case .multistep where milestones.isEmpty: "constant (multistep without milestones)"
            case .multistep: "x \(factor) after epochs \(milestones.map(String.init).joined(separator: ", "))"
            }
        return warmupEpochs > 0 ? "\(shape); linear warm-up over \(warmupEpochs) epochs" : shape
    }

    func validate(epochs: Int) throws(InputError) {
        guard factor.isFinite, factor > 0 else {
            throw InputError("schedule.factor", "must be finite and more than 0, found \(factor)")
        }
        guard (0...epochs).contains(warmupEpochs) else {
            throw InputError("schedule.warmup_epochs", "must be in 0...\(epochs) (the epochs of the run), found \(warmupEpochs)")
        }
        if let bad = milestones.first(where: { $0 < 1 }) {
            throw InputError("schedule.milestones", "are epochs, counted from 1; found \(bad)")
        }
    }
}
