import Foundation

/// Cross-entropy of one row: logsumexp(s) - s_y. Gradient: softmax(s) - onehot(y).
func crossEntropyTerm(_ student: [Double], label: Int) -> RowTerm {
    guard let logP = logSoftmax(student, over: Array(student.indices), temperature: 1) else { return .zero(student.count) }
    let others = student.indices.filter { $0 != label }
    // From the gap to the other classes: no cancellation when the label leads.
    let value = abs(binaryLogs(student, at: label, temperature: 1).inside)
    var gradient = logP.map { exp($0) }
    // p - 1 from the other classes, so that a sure row keeps its small gradient.
    gradient[label] = -others.reduce(0) { $0 + gradient[$1] }
    return RowTerm(value: value, gradient: gradient)
}

/// T^2 KL(softmax(t / T) || softmax(s / T)) over a subset of the classes. Gradient: T (s~_i - t~_i) there, 0 elsewhere.
/// A subset of fewer than two classes, or without a finite logit on one side, has nothing to compare: 0.
func divergenceTerm(_ student: [Double], _ teacher: [Double], over classes: [Int], temperature: Double) -> RowTerm {
    var term = RowTerm.zero(student.count)
    guard classes.count > 1,
        let logP = logSoftmax(student, over: classes, temperature: temperature),
        let logQ = logSoftmax(teacher, over: classes, temperature: temperature)
    else { return term }
    for (k, i) in classes.enumerated() {
        term.value += divergence(logQ: logQ[k], logP: logP[k])
        term.gradient[i] = temperature * (exp(logP[k]) - exp(logQ[k]))
    }
    term.value *= temperature * temperature
    return term
}

/// a^2 KL({q, 1 - q} || {p, 1 - p}) with q = softmax(t / a) at `teacherClass` and p = softmax(s / a) at the label.
/// Gradient: a (p - q) at the label, -a (p - q) r_i elsewhere, r = softmax(s / a) over the other classes.
/// log(1 - p) and log(1 - q) are sums over the other classes, never differences from 1.
func confidenceTerm(
    _ student: [Double], label: Int, _ teacher: [Double], teacherClass: Int, temperature a: Double
) -> RowTerm {
    let (logQ, logRestQ, _) = binaryLogs(teacher, at: teacherClass, temperature: a)
    return pairTerm(student, label: label, logQ: logQ, logRestQ: logRestQ, temperature: a)
}

/// T^2 KL(softmax(u / T) || softmax(s / T)), u = s but for u_y = s_y + max s. The other classes keep their proportions, so that the pair
/// {u_y, the rest} is all of it; u_y - max s is taken as s_y, which large logits would round away.
func correctionTerm(_ student: [Double], label: Int, temperature: Double) -> RowTerm {
    let others = student.indices.filter { $0 != label }
    let largest = student[firstArgmax(student)]
    let gap =
        logSumExp(student.map { $0 - largest }, over: others, temperature: temperature) - student[label] / temperature
    return pairTerm(student, label: label, logQ: -softplus(gap), logRestQ: -softplus(-gap), temperature: temperature)
}

/// a^2 KL({q, 1 - q} || {p, 1 - p}), given log q and log(1 - q), p = softmax(s / a) at the label.
private func pairTerm(_ student: [Double], label: Int, logQ: Double, logRestQ: Double, temperature a: Double) -> RowTerm {
    let (logP, logRestP, logR) = binaryLogs(student, at: label, temperature: a)
    let value = divergence(logQ: logQ, logP: logP) + divergence(logQ: logRestQ, logP: logRestP)
    let p = exp(logP)
    let difference = p > 0.5 ? exp(logRestQ) - exp(logRestP) : p - exp(logQ)
    var gradient = logR.map { -a * difference * exp($0) }
    gradient[label] = a * difference
    return RowTerm(value: a * a * value, gradient: gradient)
}

extension RowTerm {
    /// Adds another term's value and gradient, times a factor.
    mutating func add(_ other: RowTerm, times factor: Double = 1) {
        value += factor * other.value
        for i in gradient.indices { gradient[i] += factor * other.gradient[i] }
    }
}

/// mean_i (s_i - t_i)^2 over the classes that one side at least does not exclude. Gradient: 2 (s_i - t_i) / C. A class that a
/// single side excludes makes the value infinite and passes no gradient.
func squaredLogitsTerm(_ student: [Double], _ teacher: [Double]) -> RowTerm {
    var term = RowTerm.zero(student.count)
    let kept = student.indices.filter { student[$0] > -.infinity || teacher[$0] > -.infinity }
    for i in kept {
        let difference = student[i] - teacher[i]
        term.value += difference * difference / Double(kept.count)
        if difference.isFinite { term.gradient[i] = 2 * difference / Double(kept.count) }
    }
    return term
}

/// mean_i (p_i - u_i)^2, p = softmax(s), u = b q + (1 - b) onehot(label), q = softmax(t), b = eta / (max q - q_label + 1), over
/// the classes that one side at least does not exclude. Gradient: 2 p_i (d_i - sum_j p_j d_j) / C, d = p - u.
func squaredProbabilitiesTerm(_ student: [Double], _ teacher: [Double], label: Int, eta: Double) -> RowTerm {
    let all = Array(student.indices)
    guard let p = logSoftmax(student, over: all, temperature: 1)?.map({ exp($0) }),
        let q = logSoftmax(teacher, over: all, temperature: 1)?.map({ exp($0) })
    else { return .zero(student.count) }
    let share = eta / (q[firstArgmax(teacher)] - q[label] + 1)
    let difference = all.map { p[$0] - share * q[$0] - ($0 == label ? 1 - share : 0) }
    let mean = all.reduce(0) { $0 + p[$1] * difference[$1] }
    let count = Double(all.count { student[$0] > -.infinity || teacher[$0] > -.infinity })
    return RowTerm(
        value: difference.reduce(0) { $0 + $1 * $1 } / count,
        gradient: all.map { 2 * p[$0] * (difference[$0] - mean) / count })
}

/// log p, log(1 - p) and log r_i of a row, p = softmax(row / a) at `index`, r = softmax over the other classes
/// (-infinity at `index`, and everywhere when every other class is excluded).
func binaryLogs(
    _ row: [Double], at index: Int, temperature a: Double
) -> (inside: Double, rest: Double, others: [Double]) {
    let others = row.indices.filter { $0 != index }
    var logR = Array(repeating: -Double.infinity, count: row.count)
    guard let largest = others.map({ row[$0] }).max(), largest > -.infinity else { return (0, -.infinity, logR) }
    let logOthers = log(others.reduce(0) { $0 + exp((row[$1] - largest) / a) })
    for i in others { logR[i] = (row[i] - largest) / a - logOthers }
    // gap = log(rest / inside), so log p = -log(1 + exp(gap)) and log(1 - p) = -log(1 + exp(-gap)).
    let gap = (largest - row[index]) / a + logOthers
    return (-softplus(gap), -softplus(-gap), logR)
}

/// log(1 + exp(x)) without overflow or cancellation.
private func softplus(_ x: Double) -> Double {
    x > 0 ? x + log1p(exp(-x)) : log1p(exp(x))
}
