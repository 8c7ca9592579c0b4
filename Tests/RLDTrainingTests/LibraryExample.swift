import RLD

/// Trains a teacher, distills a student from it with RLD and writes the student's weights.
/// - Returns: the student's accuracy on the test images, as a share of one.
func distillStudent(data: String, device: String?, epochs: Int, output: String) throws -> Double {
    let dataset = try DatasetCatalog.load(data)
    let executor = try makeExecutor(device: device)

    var recipe = TrainingConfiguration()
    recipe.model = "resnet14"
    recipe.epochs = epochs
    recipe.schedule = Schedule(kind: .cosine)
    let teacher = try Trainer(configuration: recipe, executor: executor, dataset: dataset).run()

    recipe.model = "resnet8"
    recipe.method = .refinedLogitDistillation(RefinedLogitDistillation())
    let student = try Trainer(
        configuration: recipe, executor: executor, dataset: dataset,
        teacher: .init(network: teacher.network, state: teacher.bestState),
        observer: { event in if case .epoch(let epoch) = event { print(epoch.text) } }
    ).run()
    try student.save(.best, to: output)
    return student.bestTest?.accuracy ?? 0
}
