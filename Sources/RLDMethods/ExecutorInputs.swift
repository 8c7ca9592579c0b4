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

    /// Throws for a table without images, and for one whose images stay in their files unless each batch brings its own.
    package static func check(_ images: ImageTable, name: String, staged: Bool) throws(InputError) {
        guard images.count > 0 else { throw InputError("image table '\(name)'", "is empty") }
        guard staged || images.stream == nil else {
            throw InputError("image table '\(name)'", "stays in its files", advice: "load it staged")
        }
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

    /// Throws where sums of an objective are to go on with another's: terms of one method cannot be added to another's.
    package static func check(sumsOf accumulated: Objective?, goOnWith objective: Objective) throws(InputError) {
        guard let accumulated, accumulated.components.map(\.method.id) != objective.components.map(\.method.id) else { return }
        throw InputError("metrics", "of \(accumulated.id) have not been taken", advice: "call takeMetrics between methods")
    }

    /// Throws for teacher logits that are not one per row and class.
    package static func check(teacherLogits: [Float], rows: Int, classes: Int) throws(InputError) {
        guard teacherLogits.count == rows * classes else {
            throw InputError("teacher logits", "are \(teacherLogits.count) values for \(rows) rows of \(classes) classes")
        }
    }
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
    ///   - images: [channels, height, width] of the table's images; count: how many it has.
    ///   - inputShape: per image what the network takes.
    package func check(images: [Int], count: Int, inputShape: [Int]) throws(InputError) {
        guard !indices.isEmpty else { throw InputError("batch", "has no images") }
        if let bad = indices.first(where: { !(0..<count).contains($0) }) {
            throw InputError("batch", "image index \(bad) is outside 0..<\(count)")
        }
        let seen = transform.inputShape(of: images)
        guard seen == inputShape else {
            throw InputError(
                "images", "are \(seen), the network takes \(inputShape)", advice: "build the network for this data set")
        }
        let (means, deviations) = (transform.mean.count, transform.deviation.count)
        guard means == images[0], deviations == images[0] else {
            throw InputError(
                "normalisation", "has means of \(means) channels and deviations of \(deviations), the images have \(images[0])")
        }
    }
}

extension TrainingState {
    /// Throws for what an optimiser remembers of another network.
    package func checkSlots(of network: Network) throws(InputError) {
        let advice = "it belongs to another network than \(network.id)"
        let shapes = Dictionary(uniqueKeysWithValues: network.stateTensors.map { ($0.name, $0.shape) })
        for (slot, values) in slots.sorted(by: { $0.key < $1.key }) {
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
