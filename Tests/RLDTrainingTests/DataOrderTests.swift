import RLD
import Testing

struct DataOrderTests {
    @Test("validation rows come from behind the limit when there are enough, and never overlap training")
    func split() throws {
        let limited = try DataSplit(count: 1000, limit: 100, validation: 50)
        #expect(limited.training == Array(0..<100))
        #expect(limited.validation.count == 50)
        #expect(limited.validation.allSatisfy { (100..<1000).contains($0) })

        let full = try DataSplit(count: 1000, limit: nil, validation: 0.1)
        #expect(full.training.count == 900)
        #expect(full.validation.count == 100)
        #expect(Set(full.training).union(full.validation).count == 1000)
        // Not the tail: tables sorted by class would lose whole classes.
        #expect(full.validation.contains { $0 < 500 })

        let none = try DataSplit(count: 10, limit: nil, validation: 0)
        #expect(none.training.count == 10)
        #expect(none.validation.isEmpty)
        #expect(inputErrorText { _ = try DataSplit(count: 10, limit: 11, validation: 0) }.contains("only 10 images"))
        #expect(inputErrorText { _ = try DataSplit(count: 10, limit: nil, validation: 10) }.contains("leaves none"))
    }

    @Test(
        "numbers that are none of images are refused",
        arguments: [(nil, -1), (nil, .nan), (nil, .infinity), (nil, 1e30), (nil, 1.5), (-1, 0), (0, 0), (.min, 0), (.max, 0)]
            as [(Int?, Double)])
    func badSplit(limit: Int?, validation: Double) {
        #expect(!inputErrorText { _ = try DataSplit(count: 10, limit: limit, validation: validation) }.isEmpty)
        #expect(!inputErrorText { _ = try DataSplit(bandData(), limit: limit, validation: validation) }.isEmpty)
        #expect(inputErrorText { _ = try DataSplit(count: 0, limit: nil, validation: 0.5) }.contains("no training images"))
    }

    @Test("the order is a permutation that seed and epoch decide")
    func order() {
        let rows = Array(100..<150)
        let first = TrainingOrder.indices(rows, seed: 1, epoch: 1)
        #expect(first.sorted() == rows)
        #expect(first != rows)
        #expect(first == TrainingOrder.indices(rows, seed: 1, epoch: 1))
        #expect(first != TrainingOrder.indices(rows, seed: 1, epoch: 2))
        #expect(first != TrainingOrder.indices(rows, seed: 2, epoch: 1))
    }

    @Test("batches cover everything, the last one holds the remainder")
    func batches() {
        let batches = TrainingOrder.batches(Array(0..<10), size: 4)
        #expect(batches.map(\.count) == [4, 4, 2])
        #expect(batches.flatMap { $0 } == Array(0..<10))
        #expect(TrainingOrder.batches(Array(0..<8), size: 4).map(\.count) == [4, 4])
        #expect(TrainingOrder.batches([], size: 4).isEmpty)
    }
}
