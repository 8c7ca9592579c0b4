import RLDGraph
import Synchronization

/// The networks that can be named on the command line and in recipes: the published ones by their published ids, and those that
/// a program has registered.
public enum ModelCatalog {
    /// One network of the catalogue.
    public struct Entry: Sendable {
        public let id: String
        /// The classes that it was published for.
        public let classes: Int
        /// The images that it was published for, [channels, height, width].
        public let input: [Int]
        /// From classes and input shape.
        let build: @Sendable (Int, [Int]) throws(InputError) -> Network
    }

    /// Every known id, small to large within a family; registered networks last.
    public static var ids: [String] { entries.map(\.id) }

    /// The networks behind `ids`.
    public static var entries: [Entry] { published + registered.withLock { $0 } }

    /// The network with an id.
    /// - Parameters:
    ///   - id: one of `ids`, or any wide residual network as `wrn_DEPTH_FACTOR`.
    ///   - classes: values per row of logits, at least 2.
    ///   - input: per-sample shape, [channels, height, width].
    /// - Throws: when the id is unknown (the nearest one is named), or when classes or input cannot be used.
    public static func network(_ id: String, classes: Int, input: [Int] = [3, 32, 32]) throws(InputError) -> Network {
        let entry = try entry(id)
        guard (2...maximumClasses).contains(classes) else {
            throw InputError("model '\(id)'", "\(classes) classes, expected 2...\(maximumClasses)")
        }
        guard input.count == 3, input.allSatisfy({ (1...maximumExtent).contains($0) }) else {
            throw InputError(
                "model '\(id)'", "input shape \(input), expected [channels, height, width], each in 1...\(maximumExtent)")
        }
        let network = try entry.build(classes, input)
        guard network.inputShape == input, network.nodes[network.output].shape == [classes] else {
            throw InputError(
                "model '\(id)'",
                "maps \(network.inputShape) to \(network.nodes[network.output].shape), asked for \(input) to [\(classes)]",
                advice: "its registration must follow the classes and the input that it is given")
        }
        return network
    }

    /// The entry with an id.
    /// - Throws: when the id is unknown; the nearest one is named.
    public static func entry(_ id: String) throws(InputError) -> Entry {
        if let entry = entries.first(where: { $0.id == id }) ?? wideResNet(id) { return entry }
        throw InputError.unknown("model", id, known: ids)
    }

    /// Makes a network of one's own known by an id: from then on this process trains, distills, loads and evaluates it as it
    /// does a published one.
    /// - Parameters:
    ///   - id: must not be taken.
    ///   - classes, input: what `rld models` lists it for.
    ///   - build: from the number of classes and the input's [channels, height, width].
    public static func register(
        _ id: String, classes: Int = 100, input: [Int] = [3, 32, 32],
        build: @escaping @Sendable (_ classes: Int, _ input: [Int]) throws -> Network
    ) throws(InputError) {
        let typed: @Sendable (Int, [Int]) throws(InputError) -> Network = { classes, input throws(InputError) in
            do { return try build(classes, input) } catch {
                throw (error as? InputError) ?? InputError("model '\(id)'", "\(error)")
            }
        }
        let isNew = registered.withLock { entries in
            guard !(published + entries).contains(where: { $0.id == id }), wideResNet(id) == nil else { return false }
            entries.append(Entry(id: id, classes: classes, input: input, build: typed))
            return true
        }
        guard isNew else { throw InputError("model '\(id)'", "is in the catalogue already", advice: "choose another id") }
    }

    private static let registered = Mutex<[Entry]>([])

    // Far above any use, and low enough that no count of parameters or multiply-adds overflows.
    private static let maximumClasses = 1_000_000
    private static let maximumExtent = 8192

    // MARK: The published networks

    private static let published: [Entry] = [
        [8, 14, 20, 32, 44, 56, 110].map { cifarResNet("resnet\($0)", depth: $0, widths: [16, 16, 32, 64]) },
        [8, 32].map { cifarResNet("resnet\($0)x4", depth: $0, widths: [32, 64, 128, 256]) },
        ["wrn_16_1", "wrn_16_2", "wrn_16_4", "wrn_28_2", "wrn_28_4", "wrn_40_1", "wrn_40_2"].compactMap(wideResNet),
        [
            ("vgg8", [1, 1, 1, 1, 1]), ("vgg11", [1, 1, 2, 2, 2]), ("vgg13", [2, 2, 2, 2, 2]), ("vgg16", [2, 2, 3, 3, 3]),
            ("vgg19", [2, 2, 4, 4, 4]),
        ].map { id, blocks in
            cifar(id) { classes, input throws(InputError) in
                guard input[1] >= 8, input[2] >= 8 else {
                    throw InputError(
                        "model '\(id)'", "input \(input) is too small", advice: "it halves images three times: 8x8 at least")
                }
                return try .vgg(id, blocks: blocks, classes: classes, input: input)
            }
        },
        [
            cifar("MobileNetV2") { classes, input throws(InputError) in
                try .mobileNetV2("MobileNetV2", classes: classes, input: input)
            },
            cifar("ShuffleV1") { classes, input throws(InputError) in
                try .shuffleNetV1("ShuffleV1", classes: classes, input: input)
            },
            cifar("ShuffleV2") { classes, input throws(InputError) in
                try .shuffleNetV2("ShuffleV2", classes: classes, input: input)
            },
        ],
        resNets(.cifar, depths: [18, 34, 50]),
        [
            Entry(id: "imagenet_MobileNetV1", classes: 1000, input: [3, 224, 224]) { classes, input throws(InputError) in
                try .mobileNetV1("imagenet_MobileNetV1", classes: classes, input: input)
            }
        ],
        resNets(.imageNet, depths: [18, 34, 50, 101]),
    ].flatMap { $0 }

    private static func cifar(_ id: String, _ build: @escaping @Sendable (Int, [Int]) throws(InputError) -> Network) -> Entry {
        Entry(id: id, classes: 100, input: [3, 32, 32], build: build)
    }

    private static func cifarResNet(_ id: String, depth: Int, widths: [Int]) -> Entry {
        cifar(id) { classes, input throws(InputError) in
            try .cifarResNet(id, depth: depth, widths: widths, classes: classes, input: input)
        }
    }

    /// `wrn_DEPTH_FACTOR` with a depth of 6n + 4.
    private static func wideResNet(_ id: String) -> Entry? {
        let parts = id.split(separator: "_", omittingEmptySubsequences: false)
        guard parts.count == 3, parts[0] == "wrn", let depth = Int(parts[1]), let factor = Int(parts[2]),
            id == "wrn_\(depth)_\(factor)", (10...1000).contains(depth), (depth - 4) % 6 == 0, (1...64).contains(factor)
        else { return nil }
        return cifar(id) { classes, input throws(InputError) in
            try .wideResNet(id, depth: depth, factor: factor, classes: classes, input: input)
        }
    }

    private static func resNets(_ stem: ResNetStem, depths: [Int]) -> [Entry] {
        let blocks = [18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3]]
        return depths.compactMap { depth in
            guard let blocks = blocks[depth] else { return nil }
            let id = stem == .cifar ? "ResNet\(depth)" : "imagenet_ResNet\(depth)"
            return Entry(
                id: id, classes: stem == .cifar ? 100 : 1000, input: stem == .cifar ? [3, 32, 32] : [3, 224, 224]
            ) { classes, input throws(InputError) in
                try .resNet(
                    id, stem: stem, block: depth < 50 ? .basic : .bottleneck, blocks: blocks, classes: classes, input: input)
            }
        }
    }
}
