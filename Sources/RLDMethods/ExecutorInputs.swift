import RLDGraph

/// The checks of what an executor is given, which all make with the same words. Loss inputs: `LossInputs`.
package enum ExecutorInputs {
    /// What a step needs, if it is there.
    package static func prepared<T>(_ part: T?, _ role: String) throws(InputError) -> T {
        guard let part else { throw InputError(role, "is not prepared", advice: "prepare it before the first step") }
        return part
    }

    /// A table that was loaded.
    package static func table<T>(_ name: String, of tables: [String: T]) throws(InputError) -> T {
        guard let table = tables[name] else { throw InputError.unknown("image table", name, known: tables.keys.sorted()) }
        return table
    }

    /// Throws for a table without images, one whose images stay in their files unless each batch brings its own, and a label that
    /// is none of its classes.
    package static func check(_ images: ImageTable, name: String, staged: Bool) throws(InputError) {
        guard images.count > 0 else { throw InputError("image table '\(name)'", "is empty") }
        guard staged || images.stream == nil else {
            throw InputError("image table '\(name)'", "stays in its files", advice: "load it staged")
        }
        if let bad = images.labels.firstIndex(where: { !images.classNames.indices.contains(Int($0)) }) {
            throw InputError(
                "image table '\(name)'", "image \(bad) has label \(images.labels[bad]), expected 0..<\(images.classes)")
        }
    }

    /// Throws unless a network gives one logit per class.
    package static func check(classifier network: Network) throws(InputError) {
        let shape = network.nodes[network.output].shape
        guard shape.count == 1 else {
            throw InputError("network \(network.id)", "gives \(shape) per image", advice: "expected [classes]")
        }
    }

    /// Throws for sizes of batches below 1.
    package static func check(batchSizes: [Int]) throws(InputError) {
        if let bad = batchSizes.first(where: { $0 < 1 }) { throw InputError("batch size", "is \(bad), expected at least 1") }
    }

    /// Throws unless a teacher sees a student's images and knows its classes.
    package static func check(teacher: Network, of student: Network) throws(InputError) {
        guard teacher.inputShape == student.inputShape, teacher.classes == student.classes else {
            throw InputError(
                "teacher \(teacher.id)",
                "maps \(teacher.inputShape) to \(teacher.classes) classes, the student \(student.inputShape) to \(student.classes)",
                advice: "both need the same input and classes")
        }
    }

    /// Throws where sums of some steps are to go on with those of others: terms of one method cannot be added to another's, and what
    /// a student is evaluated on not to what it was trained on.
    package static func check(sumsOf accumulated: StepSums?, goOnWith sums: StepSums) throws(InputError) {
        guard let accumulated, accumulated != sums else { return }
        throw InputError(
            "metrics", "of \(accumulated) have not been taken",
            advice: "call takeMetrics between methods and before an evaluation")
    }

    /// Throws unless so many rows were evaluated last.
    package static func check(rows: Int, evaluated: Int) throws(InputError) {
        guard rows != evaluated else { return }
        throw InputError(
            "rows", "\(rows) of the last evaluation step",
            advice: evaluated == 0 ? "nothing was evaluated yet" : "it had \(evaluated)")
    }

    /// Throws for a gradient of another shape than what it is the gradient of.
    package static func check(gradient: Tensor, of logits: Tensor) throws(InputError) {
        guard gradient.shape == logits.shape else {
            throw InputError("gradient", "has shape \(gradient.shape), the logits \(logits.shape)")
        }
    }

    /// Throws for teacher logits that are not one per row and class.
    package static func check(teacherLogits: [Float], rows: Int, classes: Int) throws(InputError) {
        guard teacherLogits.count == rows * classes else {
            throw InputError("teacher logits", "are \(teacherLogits.count) values for \(rows) rows of \(classes) classes")
        }
    }
}

/// Whose sums an executor's metrics are.
package struct StepSums: Equatable, CustomStringConvertible {
    package let objective: Objective
    package let isEvaluation: Bool

    package static let evaluation = StepSums(Objective(.crossEntropy(CrossEntropy())), isEvaluation: true)

    package init(_ objective: Objective, isEvaluation: Bool = false) {
        (self.objective, self.isEvaluation) = (objective, isEvaluation)
    }

    package static func == (a: StepSums, b: StepSums) -> Bool {
        a.isEvaluation == b.isEvaluation && a.objective.components.map(\.method.id) == b.objective.components.map(\.method.id)
    }

    package var description: String { isEvaluation ? "an evaluation" : objective.id }
}

extension Network {
    /// N of images [N] + `inputShape`.
    package func batchSize(of images: Tensor) throws(InputError) -> Int {
        let batch = images.shape.first ?? 0
        guard images.shape == [batch] + inputShape, batch > 0 else {
            throw InputError("images", "have shape \(images.shape), the network takes [N] + \(inputShape)")
        }
        return batch
    }
}

extension BatchSelection {
    /// Throws for a batch that cannot be put together.
    /// - Parameters:
    ///   - images: [channels, height, width] of the table's images; count: how many it has; classes: how many its labels have.
    ///   - network: what takes them.
    package func check(images: [Int], count: Int, classes: Int, network: Network) throws(InputError) {
        guard !indices.isEmpty else { throw InputError("batch", "has no images") }
        if let bad = indices.first(where: { !(0..<count).contains($0) }) {
            throw InputError("batch", "image index \(bad) is outside 0..<\(count)")
        }
        let seen = transform.inputShape(of: images)
        guard seen == network.inputShape else {
            throw InputError(
                "images", "are \(seen), the network takes \(network.inputShape)", advice: "build the network for this data set")
        }
        guard classes <= network.classes else {
            throw InputError(
                "images", "have \(classes) classes, the network \(network.classes)", advice: "build the network for this data set"
            )
        }
        guard epoch >= 0 else { throw InputError("batch", "is of epoch \(epoch)", advice: "epochs are at least 0") }
        guard (0...1).contains(labelSmoothing) else {
            throw InputError("batch", "labelSmoothing is \(labelSmoothing), expected 0 to 1")
        }
        try transform.check(channels: images[0])
        if let mixing { try mixing.check(height: seen[1], width: seen[2]) }
    }
}

extension TrainingState {
    private static let slotNames = ["momentum", "first_moment", "second_moment", "accumulated", "average"]

    /// Throws for what no optimiser remembers, or one of another network.
    package func checkSlots(of network: Network) throws(InputError) {
        let advice = "it belongs to another network than \(network.id)"
        let shapes = Dictionary(uniqueKeysWithValues: network.stateTensors.map { ($0.name, $0.shape) })
        for (slot, values) in slots.sorted(by: { $0.key < $1.key }) {
            guard Self.slotNames.contains(slot) else {
                throw InputError.unknown("what an optimizer remembers", slot, known: Self.slotNames)
            }
            for name in values.names {
                guard let shape = shapes[name] else { throw InputError(slot, "unexpected \(name)", advice: advice) }
                let found = values[name]?.shape ?? []
                guard found == shape else {
                    throw InputError(slot, "\(name): expected shape \(shape), found \(found)", advice: advice)
                }
            }
        }
    }
}
