import ArgumentParser
import RLD

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Trains a network on labels alone: a teacher, or a student without one.",
        discussion: """
            Settings come from the defaults (the authors' CIFAR recipe), then --config, then --set, then options.

            Example: rld train --model resnet14 --data fashion-mnist --limit 10000 --epochs 5 --out runs/teacher
            """)

    @Option(help: "Network to train; 'rld models' lists them.")
    var model: String?

    @OptionGroup var options: RunOptions
    @OptionGroup var common: CommonOptions

    func run() throws {
        try TrainingRun(common: common, options: options).run(
            base: TrainingConfiguration(), settings: [("model", "--model", model)])
    }
}
