import Foundation
import RLDGraph
import RLDMethods

/// How the learning rate goes over a run, as a function of (epoch, step) alone.
public struct Schedule: Sendable, Equatable {
    public enum Kind: String, Sendable, Equatable, CaseIterable {
        case constant
        /// Times `factor` after every `period` epochs.
        case step
        /// Times `factor` once for each milestone that the epoch, counted from 1, has passed (epoch > milestone): the
        /// authors' rule.
        case multistep
        /// Half a cosine from the base rate to 0, step by step over the epochs after the warm-up.
        case cosine
        /// torch.optim.lr_scheduler.OneCycleLR with the base rate as its peak: a cosine up from peak / 25 over `rise` of all
        /// steps, then a cosine down to peak / 250,000.
        case onecycle
    }

    public var kind: Kind
    /// Epochs, of `multistep`.
    public var milestones: [Int]
    /// Of `multistep` per milestone, of `step` per period.
    public var factor: Double
    /// Epochs, of `step`.
    public var period: Int
    /// Share of all steps, of `onecycle`.
    public var rise: Double
    /// Epochs in front over which the rate grows linearly, step by step, to what `kind` says; 0 for none. This is the learning
    /// rate's warm-up; the one of the distillation terms belongs to the method.
    public var warmupEpochs: Int

    /// The default is the authors' CIFAR schedule: x 0.1 after epochs 150, 180 and 210.
    public init(
        kind: Kind = .multistep, milestones: [Int] = [150, 180, 210], factor: Double = 0.1, period: Int = 30, rise: Double = 0.3,
        warmupEpochs: Int = 0
    ) {
        self.kind = kind
        self.milestones = milestones
        self.factor = factor
        self.period = period
        self.rise = rise
        self.warmupEpochs = warmupEpochs
    }

    /// The learning rate of one step.
    /// - Parameters:
    ///   - base: the optimiser's rate.
    ///   - epoch: from 1. - step: from 0 in the epoch.
    ///   - epochs: of the whole run.
    public func learningRate(base: Double, epoch: Int, step: Int, stepsPerEpoch: Int, epochs: Int) -> Double {
        let stepsPerEpoch = max(stepsPerEpoch, 1)
        let done = Double(epoch - 1) + Double(step) / Double(stepsPerEpoch)
        let warmup = warmupEpochs > 0 ? min((done + 1 / Double(stepsPerEpoch)) / Double(warmupEpochs), 1) : 1
        switch kind {
        case .constant: return base * warmup
        case .step: return base * warmup * pow(factor, Double((epoch - 1) / max(period, 1)))
        case .multistep: return base * warmup * pow(factor, Double(milestones.filter { epoch > $0 }.count))
        case .cosine:
            let length = Double(epochs - warmupEpochs)
            let progress = length > 0 ? min(max((done - Double(warmupEpochs)) / length, 0), 1) : 0
            return base * warmup * (1 + cos(Double.pi * progress)) / 2
        case .onecycle:
            let steps = Double(epochs * stepsPerEpoch)
            return warmup * oneCycle(base, step: Double((epoch - 1) * stepsPerEpoch + step), steps: steps)
        }
    }

    private func oneCycle(_ peak: Double, step: Double, steps: Double) -> Double {
        let (start, end) = (peak / 25, peak / 250_000)
        func annealed(_ from: Double, _ to: Double, _ share: Double) -> Double {
            to + (from - to) / 2 * (1 + cos(Double.pi * share))
        }
        let (top, bottom) = (rise * steps - 1, steps - 1)
        if step <= top { return top > 0 ? annealed(start, peak, step / top) : peak }
        return bottom > top ? annealed(peak, end, min((step - max(top, 0)) / (bottom - max(top, 0)), 1)) : end
    }

    /// Keys of settings that the kind does not read.
    var ignoredKeys: [String] {
        let all = ["milestones", "factor", "period", "rise"]
        let used: Set<String> =
            switch kind {
            case .constant, .cosine: []
            case .step: ["factor", "period"]
            case .multistep: ["milestones", "factor"]
            case .onecycle: ["rise"]
            }
        return all.filter { !used.contains($0) }.map { "schedule.\($0)" }
    }

    /// One line: "x 0.1 after epochs 150, 180, 210; linear warm-up over 5 epochs".
    /// - Parameter epochs: of the run; nil if that is not known.
    public func effectiveDescription(epochs: Int? = nil) -> String {
        let changes =
            switch kind {
            case .multistep: milestones.min()
            case .step: period
            case .constant, .cosine, .onecycle: nil as Int?
            }
        let never = changes.map { $0 >= epochs ?? .max } ?? false ? ", beyond this run's \(epochs ?? 0): constant" : ""
        let shape =
            switch kind {
            case .constant: "constant"
            case .cosine: "cosine to 0"
            case .step: "x \(factor) after every \(period) epochs"
            case .onecycle: "one cycle: up over \(rise.plainText) of the steps, then down"
            case .multistep where milestones.isEmpty: "constant (multistep without milestones)"
            case .multistep: "x \(factor) after epochs \(milestones.map(String.init).joined(separator: ", "))"
            }
        return shape + never + (warmupEpochs > 0 ? "; linear warm-up over \(warmupEpochs) epochs" : "")
    }

    func validate(epochs: Int) throws(InputError) {
        try Setting.require(factor.isFinite && factor > 0, "schedule.factor", "finite and more than 0", factor)
        try Setting.requireWhole(period, "schedule.period", atLeast: 1)
        try Setting.require(rise > 0 && rise < 1, "schedule.rise", "more than 0 and less than 1", rise)
        guard (0...epochs).contains(warmupEpochs) else {
            throw InputError("schedule.warmup_epochs", "must be in 0...\(epochs) (the epochs of the run), found \(warmupEpochs)")
        }
        if let bad = milestones.first(where: { $0 < 1 }) {
            throw InputError("schedule.milestones", "are epochs, counted from 1; found \(bad)")
        }
    }
}
