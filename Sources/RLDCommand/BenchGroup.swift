/// What `rld bench` times: its groups of cases, by the names that its argument has.
enum BenchGroup: String, CaseIterable {
    case losses, gemm, convolution, elementwise, step, epoch, pictures

    /// The options that say something about some groups only.
    enum Option: String {
        case shapes, teacher, student, networks, data, batch, steps, precision
        case imageSize = "image-size"
        case teacherStorage = "teacher-storage"
    }

    static let names = allCases.map(\.rawValue)

    /// For the help.
    var meaning: String {
        switch self {
        case .losses:
            "every method at sizes from 64x100 to 1024x151936; kd-unfused and rld-unfused are the same losses composed of softmax, "
                + "KL divergence, mask and confidence kernels, up to 2^24 logits, as mlkd"
        case .gemm: "matrix products through CLBlast, plain and transposed"
        case .convolution:
            "each distinct layer of the teacher, frozen, and of the student: forward, input gradient, weight gradient; "
                + "--networks paper for the paper's"
        case .elementwise: "batch norm, pooling, augmentation, optimizer"
        case .step: "an RLD training step and its parts: teacher forward, student forward, loss, backward, update, step"
        case .epoch: "whole epochs, batches and metrics included"
        case .pictures: "reading and decoding --data as a streamed training does, without computing anything"
        }
    }

    /// Those that it takes beside what every group takes.
    var options: Set<Option> {
        switch self {
        case .losses: [.shapes]
        case .gemm: [.shapes, .precision]
        case .convolution: [.teacher, .student, .networks, .batch, .precision]
        case .elementwise: [.student, .batch]
        case .step: [.teacher, .student, .batch, .precision, .teacherStorage]
        case .epoch: [.teacher, .student, .batch, .precision, .teacherStorage, .steps]
        case .pictures: [.data, .imageSize, .batch]
        }
    }

    /// Whether it has many short cases, with names of several words.
    var isBrief: Bool { [.gemm, .convolution, .elementwise].contains(self) }

    /// The groups that take an option: "gemm, convolution, step and epoch".
    static func taking(_ option: Option) -> String {
        let names = allCases.filter { $0.options.contains(option) }.map(\.rawValue)
        return names.count == 1 ? names[0] : names.dropLast().joined(separator: ", ") + " and " + names[names.count - 1]
    }
}
