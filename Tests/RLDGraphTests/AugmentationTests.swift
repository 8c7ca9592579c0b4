import RLDGraph
import RLDMethods
import RLDReference
import Testing

struct AugmentationTests {
    @Test("draws: crops stay inside and in their range of areas and aspects, factors in theirs, Beta has its mean and spread")
    func draws() {
        var transform = ImageTransform(mean: [0], deviation: [1], horizontalFlip: true, size: 8, resizedCrop: 0.25)
        transform.brightness = 0.4
        var areas: [Double] = []
        for index in 0..<2000 {
            let p = transform.placement(seed: 1, epoch: 3, index: index, height: 40, width: 60)
            #expect(p.top >= 0 && p.left >= 0 && p.top + p.height <= 40 && p.left + p.width <= 60)
            #expect(p.brightness >= 0.6 && p.brightness <= 1.4 && p.contrast == 1)
            areas.append(Double(p.height * p.width) / 2400)
            let aspect = p.width / p.height
            #expect(aspect > 0.7 && aspect < 1.43)
        }
        #expect(areas.min() ?? 0 > 0.22 && areas.max() ?? 2 <= 1)
        // Large crops of a wide image that would be too wide are drawn again: the mean lies below 0.625.
        #expect((0.45...0.6).contains(areas.reduce(0, +) / 2000))
        for alpha in [0.2, 1, 4] {
            let shares = (0..<4000).map { CounterRandom.beta(alpha, seed: 5, stream: UInt64($0), counter: 0) }
            let mean = shares.reduce(0, +) / 4000
            let variance = shares.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 4000
            #expect(abs(mean - 0.5) < 0.02, "\(alpha)")
            #expect(abs(variance - 1 / (4 * (2 * alpha + 1))) < 0.01, "\(alpha) \(variance)")
        }
    }

    @Test("mixing: one draw per batch, a box's share is the area outside it, or inside where it is kept; never less than half")
    func mixing() {
        var transform = ImageTransform(mean: [0], deviation: [1])
        #expect(transform.mixing(seed: 1, step: 0, height: 8, width: 8) == nil)
        transform.cutmix = 1
        for step in 0..<200 {
            guard let mixing = transform.mixing(seed: 1, step: step, height: 8, width: 10), let box = mixing.box else {
                Issue.record("no box")
                return
            }
            #expect(box[0] >= 0 && box[1] >= 0 && box[0] + box[2] <= 8 && box[1] + box[3] <= 10)
            let inside = Double(box[2] * box[3]) / 80
            #expect(abs(mixing.share - (mixing.keepsBox ? inside : 1 - inside)) < 1e-12)
            #expect(mixing.share >= 0.5)
        }
        transform.mixup = 0.4
        let kinds = (0..<200).map { transform.mixing(seed: 1, step: $0, height: 8, width: 8)?.box == nil }
        #expect((60...140).contains(kinds.count { $0 }))
        let shares = (0..<200).compactMap { transform.mixing(seed: 1, step: $0, height: 8, width: 8)?.share }
        #expect(shares.allSatisfy { $0 >= 0.5 && $0 <= 1 } && shares.contains { $0 < 0.6 })
    }

    @Test("pairs whose parts are exchanged are the same pictures with the same soft labels, in the other order")
    func exchanged() throws {
        let table = ImageTable(
            channels: 1, height: 4, width: 5, pixels: (0..<60).map { UInt8($0 * 37 % 251) }, labels: [0, 1, 2],
            classNames: ["a", "b", "c"])
        for mixing in [BatchMixing(share: 0.25), BatchMixing(share: 0.4, box: [1, 1, 3, 4])] {
            func images(_ mixing: BatchMixing) throws -> [[Double]] {
                let executor = ReferenceExecutor()
                try executor.load(table, as: "t")
                var selection = BatchSelection(
                    table: "t", indices: [0, 1, 2], transform: ImageTransform(mean: [0], deviation: [1]))
                selection.mixing = mixing
                let (pixels, _) = try executor.gather(selection, inputShape: [1, 4, 5])
                return (0..<3).map { Array(pixels[$0 * 20..<$0 * 20 + 20]) }
            }
            let (before, after) = (try images(mixing), try images(mixing.ownFirst))
            #expect(mixing.ownFirst.share == 1 - mixing.share && mixing.ownFirst.ownFirst == mixing.ownFirst)
            #expect(after[0] == before[2] && after[2] == before[0] && after[1] == before[1] && after[0] != after[2])
        }
    }

    @Test("evaluation takes the centre, without any draw")
    func evaluation() {
        var transform = ImageTransform(mean: [0], deviation: [1], horizontalFlip: true, size: 7, resizedCrop: 0.1)
        transform.centreCrop = 0.875
        let p = transform.evaluation.placement(seed: 1, epoch: 1, index: 4, height: 8, width: 16)
        #expect(p.values == [0.5, 4.5, 7, 7, 0, 1, 1, 1])
        #expect(transform.evaluation.evaluation == transform.evaluation)
    }
}
