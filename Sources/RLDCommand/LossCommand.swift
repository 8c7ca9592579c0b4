import ArgumentParser
import RLD

struct LossCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "loss", abstract: "A method's loss and gradient on stored logits.",
        discussion: """
            The file (.safetensors or .npz) holds 'student' and 'teacher' [N, classes] (float32, float64 or float16) and 'labels' [N] (int64).
            Terms are unweighted means over the rows; the total has the weights of the method.

            Example: rld loss logits.safetensors --method rld --beta 4 --gradient gradient.safetensors --json
            """)

    @Argument(help: "File of logits (.safetensors or .npz).", completion: .file())
    var file: String

    @Option(help: "Method.", completion: .list(Method.ids))
    var method: String

    @Option(
        help: "Where to write 'student_gradient' [N, classes]: float32, or float64 with --device reference.", completion: .file())
    var gradient: String?

    @OptionGroup(title: "Method options") var methodOptions: MethodArguments
    @OptionGroup var common: CommonOptions

    struct Report: Encodable {
        var method: String
        var rows: Int
        var classes: Int
        var total: Double
        var terms: [String: Double]
        var top1: Int
        var top5: Int
        var device: String
    }

    func run() throws {
        var reader = ConfigurationReader()
        try reader.set("method.id", to: method, source: "--method")
        try reader.take(methodOptions.settings)
        let (configuration, warnings) = try reader.finish()
        common.warn(warnings + (methodOptions.warmUp == nil ? [] : ["--warm-up does nothing: stored logits belong to no epoch"]))
        let method = configuration.method

        let stored = try TensorFile(path: file)
        let student = try logits("student", in: stored)
        let teacher = method.needsTeacher ? try logits("teacher", in: stored) : nil
        let labels = try labels(in: stored, rows: student.shape[0], classes: student.shape[1])
        if let teacher, teacher.shape != student.shape {
            throw InputError(file, "tensor 'teacher': expected shape \(student.shape) as 'student' has, found \(teacher.shape)")
        }
        let executor = try makeExecutor(device: common.device)
        let loss = try executor.loss(method, student: student, teacher: teacher, labels: labels)
        if let gradient {
            let type: ElementType = executor is ReferenceExecutor ? .float64 : .float32
            try TensorFile.write([StoredTensor("student_gradient", loss.gradient, as: type, source: gradient)], to: gradient)
        }
        let report = Report(
            method: method.id, rows: loss.rows, classes: student.shape[1], total: loss.total,
            terms: Dictionary(uniqueKeysWithValues: loss.terms.map { ($0.name, $0.value) }), top1: loss.top1, top5: loss.top5,
            device: executor.executorDescription)
        if common.json { return try Output.json(report) }
        if !common.quiet { Output.line("\(method.effectiveDescription); device \(report.device)") }
        let weights = method.termWeights()
        let rows = zip(loss.terms, weights).map { [$0.name, "\($0.value)", "\($1)"] } + [["total", "\(loss.total)", ""]]
        Output.line(
            TextTable.text([.init("term"), .init("value", alignment: .right), .init("weight", alignment: .right)], rows: rows))
    }

    private func logits(_ name: String, in stored: TensorFile) throws(InputError) -> Tensor {
        let tensor = try stored.tensor(name)
        guard tensor.shape.count == 2, tensor.shape[0] > 0, tensor.shape[1] > 0 else {
            throw InputError(file, "tensor '\(name)': expected shape [rows, classes], both at least 1, found \(tensor.shape)")
        }
        return tensor
    }

    private func labels(in stored: TensorFile, rows: Int, classes: Int) throws(InputError) -> [Int32] {
        let tensor = try stored.stored("labels")
        let values = try tensor.int64s(source: file)
        guard tensor.shape == [rows] else {
            throw InputError(file, "tensor 'labels': expected shape [\(rows)], found \(tensor.shape)")
        }
        for (row, label) in values.enumerated() where !(0..<Int64(classes)).contains(label) && label != -100 {
            throw InputError(file, "tensor 'labels': row \(row) is \(label), expected 0..<\(classes) or -100 (left out)")
        }
        return values.map { Int32($0) }
    }
}
