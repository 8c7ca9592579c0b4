import ArgumentParser
import RLD

struct DistillCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "distill", abstract: "Trains a student from a frozen teacher.",
        discussion: """
            Settings come from the defaults (the authors' CIFAR recipe), then --config, then --set, then options.

            Example: rld distill --teacher runs/teacher/best.safetensors --teacher-model resnet14 --student resnet8 \
            --method rld --data fashion-mnist --limit 10000 --epochs 5 --out runs/student
            """)

    @Option(help: "Weights of the teacher (.safetensors, PyTorch checkpoint or .npz).", completion: .file())
    var teacher: String?

    @Option(help: "Where the teacher's weights are in a checkpoint (default: model, state_dict or the only place).")
    var teacherKey: String?

    @Option(help: "Network of the teacher (default: as its weights say).")
    var teacherModel: String?

    @Option(help: "Network to train.")
    var student: String?

    @Option(help: "Distillation method (default: rld).", completion: .list(Method.ids))
    var method: String?

    @OptionGroup(title: "Method options") var methodOptions: MethodArguments
    @OptionGroup var options: RunOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        var base = TrainingConfiguration()
        base.method = .refinedLogitDistillation(RefinedLogitDistillation())
        try TrainingRun(common: common, options: options).run(
            base: base,
            settings: [
                ("teacher.weights", "--teacher", teacher), ("teacher.model", "--teacher-model", teacherModel),
                ("teacher.key", "--teacher-key", teacherKey),
                ("model", "--student", student), ("method.id", "--method", method),
            ] + methodOptions.settings)
    }
}
