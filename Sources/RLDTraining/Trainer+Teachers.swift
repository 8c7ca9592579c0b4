import RLDFormats
import RLDGraph
import RLDMethods

/// Reading the teachers of a run.
extension Trainer {
    /// The teachers that the objective reads, with their indices in it, and what is to be said of them.
    /// - Parameters:
    ///   - student: what they teach.
    ///   - fresh: takes fresh weights where none are named, and the student's network where no network is.
    func readTeachers(
        of student: Network, fresh: Bool
    ) throws -> (teachers: [(index: Int, teacher: Teacher)], notes: [String]) {
        var notes: [String] = []
        let known = configuration.teacherList.map(\.name)
        if let other = teachers.keys.sorted().first(where: { !known.contains($0) }) {
            throw InputError.unknown("teacher", other, known: known)
        }
        let teachers = try configuration.objective.teachers.map { index in
            let teacher = try readTeacher(configuration.teacherList[index], of: student, fresh: fresh, notes: &notes)
            let network = teacher.network
            guard network.classes == student.classes, network.inputShape == student.inputShape else {
                throw InputError(
                    "teacher \(network.id)",
                    "has \(network.classes) classes and input \(network.inputShape), the student \(student.classes) and "
                        + "\(student.inputShape)", advice: "both must be for the same data")
            }
            return (index, teacher)
        }
        return (teachers, notes)
    }

    private func readTeacher(
        _ settings: TeacherSettings, of student: Network, fresh: Bool, notes: inout [String]
    ) throws -> Teacher {
        if let teacher = teachers[settings.name] { return teacher }
        let group = settings.name.isEmpty ? "teacher" : "teachers.\(settings.name)"
        func missing(_ key: String) -> InputError {
            InputError("\(group).\(key)", "is missing, and method '\(configuration.objective.id)' needs a teacher")
        }
        let isFresh = fresh && settings.weights == nil
        guard let network = try settings.model.map(dataset.network) ?? (isFresh ? student : nil) else { throw missing("model") }
        guard let path = settings.weights else {
            guard fresh else { throw missing("weights") }
            return Teacher(network: network, state: network.initialState(seed: 1))
        }
        let loaded = try LoadedWeights(path, for: network, options: WeightOptions(key: settings.key))
        notes += loaded.notes.map { "\(path): \($0)" }
        notes += try differences(ModelMetadata(loaded.metadata), source: path)
        return Teacher(network: network, state: loaded.state)
    }

    /// Where a teacher's training differs from what it gets to see here, which costs some of what it knows.
    /// - Throws: when its classes are others, so that it would teach the wrong ones. A run that began with it goes on.
    private func differences(_ trained: ModelMetadata, source: String) throws(InputError) -> [String] {
        var lines = trained.differences(from: dataset, source: source)
        do throws(InputError) {
            guard try trained.classOrder(of: dataset.classNames, source: source) != nil else { return lines }
            throw InputError(
                source, "has the data's classes in another order", advice: "give a teacher that was trained on this data")
        } catch {
            guard let resumption, !resumption.allowsOtherTeacher else { throw error }
            lines.append(error.description)
        }
        return lines
    }
}
