import ArgumentParser
import Foundation
import RLD

struct LossCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loss", abstract: "A method's loss and gradient on stored logits.",
        discussion: """
            The file (.safetensors or .npz) holds 'student' and 'teacher' [N, classes] (float32, float64, float16 or bfloat16) and 'labels' [N] (any
            integer type); other tensors are not looked at. Terms are unweighted means over the rows that count; the total has
            the weights of the method. Rows with the ignored label have no loss and no gradient.

            What happens at the edges, for every method: a label that the teacher ranks last, or one class left, makes MCD 0; with
            two classes MCD is always 0; classes tied with the label are masked with it; a standardised row of equal logits
            is 0 everywhere; a certain teacher and a student probability that underflows give exact, finite values, since
            everything is computed from logarithms. -inf excludes a class and is computed by limits: where the student excludes
            a class that the target needs the loss is inf, the gradient stays finite, and the exit code is 1. nan and +inf are
            errors that name row and side. Temperatures go from 1e-9 to 1e9, on a device from 1e-3 to 1e3; weights of terms and
            --scale to 1e9; weights of rows are 0 or from 1e-30 of the largest to 1e30. |logit| <= 1e30 (lr: 1e18) never gives
            a loss that is not finite; on a device, which computes in float32, as long as |logit| x temperature x weight x
            rows (lr: its square x weight x rows) is below 1e36. From a temperature T of 10 on rounding grows there, to about
            1e-6 T of a term and 1e-7 T of a gradient's largest entry.

            A batch beyond the device's memory is computed in parts (lr and mlkd need the whole batch).

            Logits of two networks, as 'rld evaluate --logits' stores them, are read from two files with --teacher. With --audit
            the errors of the teacher are counted that the student corrected, and that it took over.

            Example: rld loss logits.safetensors --method rld --beta 4 --gradient gradient.safetensors --audit rows.csv --json
            or of two files: rld loss student.safetensors --teacher teacher.safetensors --method rld --audit rows.csv
            """)

    @Argument(help: "File of logits (.safetensors or .npz).", completion: .file())
    var file: String

    @Option(
        help: ArgumentHelp(
            "File with the teacher's logits ('logits' or 'teacher'); the other file then holds the student's as 'logits' or 'student'.",
            valueName: "file"), completion: .file())
    var teacher: String?

    @Option(help: "Method.", completion: .list(Method.ids))
    var method: String

    @Option(
        help: "Where to write 'student_gradient' [N, classes]: float32, or float64 with --device reference.", completion: .file())
    var gradient: String?

    @Option(
        help: ArgumentHelp(
            "Where to write a row per row of logits (.csv or .jsonl): teacher's top class and its probability, rank of the label, masked classes, confidences, terms, student's top class. With --json they are in the output as well.",
            valueName: "rows"), completion: .file(extensions: ["csv", "jsonl"]))
    var audit: String?

    @Option(
        help: ArgumentHelp(
            "Tensor [N] of the file with a weight per row, 0 or from 1e-30 of the largest to 1e30: every mean is sum(weight x value) / sum(weight).",
            valueName: "name"))
    var rowWeights: String?

    @Option(parsing: .unconditional, help: "Label of the rows that are left out.")
    var ignoreLabel: Int32 = -100

    @Option(parsing: .unconditional, help: "Factor of the distillation terms, as a warm-up gives it (dkd, rld).")
    var warmUpFactor: Double?

    @Option(parsing: .unconditional, help: "Upstream factor of the gradient; the loss is not multiplied by it.")
    var scale: Double?

    @OptionGroup(title: "Method options") var methodOptions: MethodArguments
    @OptionGroup var common: CommonOptions

    struct Report: Encodable {
        var method: String
        var options: [String: Double]
        var rows: Int
        var ignoredRows: Int
        var classes: Int
        var total: Double
        var terms: [String: Double]
        var weights: [String: Double]
        var top1: Int
        var top5: Int
        var device: String
        var auditSummary: AuditSummary?
        var audit: [AuditRow]?
    }

    func run() throws {
        var reader = ConfigurationReader()
        try reader.set("method.id", to: method, source: "--method")
        try reader.take(methodOptions.settings)
        let (configuration, warnings) = try reader.finish()
        let method = configuration.method
        common.warn(warnings + idle(method))
        for (option, output) in [("--gradient", gradient), ("--audit", audit)] {
            if let output, [file, teacher].contains(where: { $0.map { Self.isSameFile(output, $0) } ?? false }) {
                throw InputError(option, "is the file of the logits, which it would replace", advice: "name another")
            }
        }
        let auditFile = try audit.map { try AuditFile(path: $0, method: method) }

        let stored = try TensorFile(path: file)
        let student = try logits("student", in: stored, self.file, orLogits: self.teacher != nil)
        let rows = student.shape[0]
        let labels = try labels(in: stored, file, rows: rows, classes: student.shape[1])
        let teacher = method.needsTeacher ? try teacherLogits(beside: student, labels, in: stored) : nil
        var settings = LossSettings()
        settings.ignoreLabel = ignoreLabel
        settings.warmup = warmUpFactor ?? 1
        settings.scale = scale ?? 1
        settings.rowWeights = try rowWeights.map { try weights($0, in: stored, rows: rows) }
        settings.audit = auditFile != nil

        let executor = try makeExecutor(device: common.device)
        let loss = try executor.loss(method, student: student, teacher: teacher, labels: labels, settings: settings)
        if let gradient {
            let type: ElementType = executor is ReferenceExecutor ? .float64 : .float32
            try TensorFile.write([StoredTensor("student_gradient", loss.gradient, as: type, source: gradient)], to: gradient)
        }
        try auditFile?.write(loss.audit)
        try answer(method, loss, classes: student.shape[1], ignored: rows - loss.rows, device: executor.executorDescription)
        if !loss.total.isFinite || loss.terms.contains(where: { !$0.value.isFinite }) {
            throw CommandEnd(code: 1, message: "error: the loss is not finite: \(reason(method, student, teacher))")
        }
    }

    private static func isSameFile(_ a: String, _ b: String) -> Bool {
        func resolved(_ path: String) -> String { URL(fileURLWithPath: path).resolvingSymlinksInPath().path }
        return resolved(a) == resolved(b)
    }

    /// Why a loss is not finite: logits are finite or -inf, else they had been refused.
    private func reason(_ method: Method, _ student: Tensor, _ teacher: Tensor?) -> String {
        let student = student.values.contains(-.infinity)
        if case .labelRevision = method {
            if student || teacher?.values.contains(-.infinity) == true { return "one side alone excludes (-inf) a class" }
        } else if student {
            return "the student excludes (-inf) a class that the target needs"
        }
        return "|logit| x temperature x weight x rows is more than float32 holds; --device reference has room"
    }

    /// Options that were given and do nothing.
    private func idle(_ method: Method) -> [String] {
        var lines: [String] = []
        if methodOptions.warmUp != nil {
            lines.append("--warm-up does nothing: stored logits belong to no epoch; --warm-up-factor gives the factor itself")
        }
        if let factor = warmUpFactor, method.termWeights(warmup: factor) == method.termWeights(), factor != 1 {
            lines.append("--warm-up-factor does nothing: method '\(method.id)' has no warm-up")
        }
        if teacher != nil, !method.needsTeacher { lines.append("--teacher does nothing: method '\(method.id)' has no teacher") }
        if scale != nil, gradient == nil {
            lines.append("--scale does nothing without --gradient: the loss is not multiplied by it")
        }
        return lines
    }

    private func answer(_ method: Method, _ loss: LossReport, classes: Int, ignored: Int, device: String) throws {
        let weights = method.termWeights(warmup: warmUpFactor ?? 1)
        if common.json {
            let named = { (values: [Double]) in Dictionary(uniqueKeysWithValues: zip(method.termNames, values)) }
            let options = method.options.filter { $0 != .warmUp }.compactMap { option in
                method.value(of: option).map { (option.name.replacing("-", with: "_"), $0) }
            }
            return try Output.json(
                Report(
                    method: method.id, options: Dictionary(uniqueKeysWithValues: options), rows: loss.rows, ignoredRows: ignored,
                    classes: classes, total: loss.total, terms: named(loss.terms.map(\.value)), weights: named(weights),
                    top1: loss.top1, top5: loss.top5, device: device,
                    auditSummary: audit == nil ? nil : AuditSummary(loss.audit), audit: audit == nil ? nil : loss.audit))
        }
        if !common.quiet {
            Output.line("\(method.effectiveDescription); \(loss.rows) rows, \(ignored) ignored; device \(device)")
        }
        let rows = zip(loss.terms, weights).map { [$0.name, "\($0.value)", "\($1)"] } + [["total", "\(loss.total)", ""]]
        Output.line(
            TextTable.text([.init("term"), .init("value", alignment: .right), .init("weight", alignment: .right)], rows: rows))
        if audit != nil, let summary = AuditSummary(loss.audit) { Self.words(summary).forEach(Output.line) }
    }

    private static func words(_ summary: AuditSummary) -> [String] {
        func share(_ part: Int, _ whole: Int) -> String {
            whole > 0 ? "\(part) of \(whole) (\(NumberText.percent(Double(part) / Double(whole))))" : "0 of 0"
        }
        let masked = summary.maskedAboveLabel.map {
            ", which masks \(NumberText.fixed($0, decimals: 2)) classes beside the label"
        }
        return [
            "the teacher is wrong on \(share(summary.teacherWrong, summary.rows)) rows" + (masked ?? ""),
            "of these the student corrects \(share(summary.corrected, summary.teacherWrong)) and takes over the teacher's class on "
                + share(summary.copied, summary.teacherWrong),
            "where the teacher is right the student is wrong on "
                + share(summary.ownErrors, summary.rows - summary.teacherWrong),
        ]
    }

    /// Of the same images as the student's, if they come from a file of their own.
    private func teacherLogits(
        beside student: Tensor, _ labels: [Int32], in stored: TensorFile
    ) throws(InputError) -> Tensor {
        let path = teacher ?? file
        let source = teacher == nil ? stored : try TensorFile(path: path)
        let tensor = try logits("teacher", in: source, path, orLogits: teacher != nil)
        guard tensor.shape == student.shape else {
            throw InputError(
                path, "the teacher's logits: expected shape \(student.shape) as the student's have, found \(tensor.shape)")
        }
        if teacher != nil, source.entry("labels") != nil {
            let own = try self.labels(in: source, path, rows: student.shape[0], classes: student.shape[1])
            if let row = labels.indices.first(where: { labels[$0] != own[$0] }) {
                throw InputError(
                    path, "row \(row) has label \(own[row]), and \(labels[row]) in \(file): they are not of the same images",
                    advice: "store both with the same --data, --part and --limit")
            }
        }
        return tensor
    }

    /// - Parameter orLogits: the file is one network's, whose tensor may be called so.
    private func logits(
        _ role: String, in stored: TensorFile, _ file: String, orLogits: Bool
    ) throws(InputError) -> Tensor {
        let name = orLogits && stored.entry(role) == nil ? "logits" : role
        guard stored.format != .npy else {
            throw InputError(
                file, "is a single array, and a loss needs several", advice: "store student, teacher and labels with numpy.savez")
        }
        let tensor = try stored.tensor(name)
        let shape = tensor.shape
        guard shape.count == 2, shape[0] > 0, shape[1] > 0 else {
            throw InputError(file, "tensor '\(name)': expected shape [rows, classes], both at least 1, found \(tensor.shape)")
        }
        return tensor
    }

    private func weights(_ name: String, in stored: TensorFile, rows: Int) throws(InputError) -> [Double] {
        let tensor = try stored.tensor(name)
        guard tensor.shape == [rows] else {
            throw InputError(file, "tensor '\(name)' (--row-weights): expected shape [\(rows)], found \(tensor.shape)")
        }
        return tensor.values
    }

    private func labels(in stored: TensorFile, _ file: String, rows: Int, classes: Int) throws(InputError) -> [Int32] {
        let values = try stored.int64s("labels")
        guard values.count == rows, stored.entry("labels")?.shape.count == 1 else {
            throw InputError(file, "tensor 'labels': expected shape [\(rows)], found \(stored.entry("labels")?.shape ?? [])")
        }
        for (row, label) in values.enumerated() where !(0..<Int64(classes)).contains(label) && label != Int64(ignoreLabel) {
            throw InputError(
                file, "tensor 'labels': row \(row) is \(label), expected 0..<\(classes) or \(ignoreLabel) (left out)",
                advice: label < 0 ? "--ignore-label gives another label to leave out" : "")
        }
        return values.map { Int32($0) }
    }
}
