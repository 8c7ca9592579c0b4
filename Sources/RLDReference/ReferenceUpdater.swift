import Foundation
import RLDGraph
import RLDMethods

/// Optimisers on the host, by their definitions.
package final class ReferenceUpdater {
    package init() {}

    /// Values by slot and parameter; what is missing is 0.
    package private(set) var slots: [String: [String: [Double]]] = [:]

    /// Takes a step's gradients. - Returns: whether the parameters moved.
    package func apply(_ update: ParameterUpdate, to network: ReferenceNetwork) -> Bool {
        let rule = update.rule
        // Before the parameters move: an average that a resumed run has anew begins with them.
        prepare(rule, for: network)
        let names = network.network.parameters.map(\.name)
        var gradients = network.gradients
        if rule.accumulation > 1 {
            // A layer that the output does not read has none.
            for name in names {
                guard let gradient = gradients[name] else { continue }
                let sum = update.begins ? [] : slots["accumulated"]?[name] ?? []
                gradients[name] = gradient.indices.map { (sum.isEmpty ? 0 : sum[$0]) + update.share * gradient[$0] }
            }
            slots["accumulated"] = gradients
        }
        guard update.ends else { return false }
        if let clip = rule.clipNorm {
            let length = names.reduce(0) { $0 + (gradients[$1] ?? []).reduce(0) { $0 + $1 * $1 } }.squareRoot()
            let factor = min(1, clip / (length + 1e-6))
            for name in names { gradients[name] = gradients[name]?.map { $0 * factor } }
        }
        for name in names {
            guard var tensor = network.state[name], let gradient = gradients[name] else { continue }
            switch rule.optimizer {
            case .sgd(let sgd): step(sgd, name, gradient, &tensor.values)
            case .adamW(let adam): step(adam, update.number, name, gradient, &tensor.values)
            }
            network.replace(name, with: tensor)
        }
        if let decay = rule.averageDecay(update: update.number) {
            for name in averaged(network) {
                let values = network.state[name]?.values ?? []
                let average = slots["average"]?[name] ?? values
                slots["average"]?[name] = zip(average, values).map { $0 + (1 - decay) * ($1 - $0) }
            }
        }
        return true
    }

    /// A moving average begins with the parameters as they are.
    func prepare(_ rule: UpdateRule, for network: ReferenceNetwork) {
        if rule.averageDecay != nil { prepareAverage(of: network) }
    }

    /// Exchanges weights and running statistics with their average, if there is one.
    func exchangeAverage(of network: ReferenceNetwork) {
        guard let average = slots["average"] else { return }
        for name in averaged(network) {
            guard let tensor = network.state[name], let values = average[name] else { continue }
            slots["average"]?[name] = tensor.values
            network.replace(name, with: Tensor(shape: tensor.shape, values: values))
        }
    }

    /// Puts slots in place of those that there are.
    package func restore(_ slots: [String: [String: [Double]]]) { self.slots = slots }

    private func averaged(_ network: ReferenceNetwork) -> [String] {
        network.network.stateTensors.filter { $0.kind != .counter }.map(\.name)
    }

    private func prepareAverage(of network: ReferenceNetwork) {
        guard slots["average"] == nil else { return }
        slots["average"] = Dictionary(uniqueKeysWithValues: averaged(network).map { ($0, network.state[$0]?.values ?? []) })
    }

    private func step(_ sgd: SGD, _ name: String, _ gradient: [Double], _ p: inout [Double]) {
        var velocity = slots["momentum"]?[name] ?? Array(repeating: 0, count: gradient.count)
        for i in gradient.indices {
            let d = gradient[i] + sgd.weightDecay * p[i]
            velocity[i] = sgd.momentum * velocity[i] + d
            p[i] -= sgd.learningRate * (sgd.nesterov ? d + sgd.momentum * velocity[i] : velocity[i])
        }
        slots["momentum", default: [:]][name] = velocity
    }

    private func step(_ adam: AdamW, _ t: Int, _ name: String, _ gradient: [Double], _ p: inout [Double]) {
        let zeros = Array(repeating: 0.0, count: gradient.count)
        var m = slots["first_moment"]?[name] ?? zeros
        var v = slots["second_moment"]?[name] ?? zeros
        let (first, second) = (1 - pow(adam.beta1, Double(t)), 1 - pow(adam.beta2, Double(t)))
        for i in gradient.indices {
            p[i] -= adam.learningRate * adam.weightDecay * p[i]
            m[i] = adam.beta1 * m[i] + (1 - adam.beta1) * gradient[i]
            v[i] = adam.beta2 * v[i] + (1 - adam.beta2) * gradient[i] * gradient[i]
            p[i] -= adam.learningRate / first * m[i] / (v[i].squareRoot() / second.squareRoot() + adam.epsilon)
        }
        slots["first_moment", default: [:]][name] = m
        slots["second_moment", default: [:]][name] = v
    }
}
