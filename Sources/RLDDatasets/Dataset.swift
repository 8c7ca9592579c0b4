import Foundation
import RLDGraph

/// A data set in memory: its two tables and how its images become a network's input.
public struct Dataset: Sendable, Equatable {
    /// Its name in the catalog ("fashion-mnist").
    public var name: String
    /// Where it was read from.
    public var path: String
    public var train: ImageTable
    public var test: ImageTable
    /// The part of the files that is there to choose by; nil where they have none, and some of the training images serve.
    public var validation: ImageTable?
    /// What training uses unless told otherwise; evaluation uses its `evaluation`.
    public var transform: ImageTransform
    /// Files that were left out because they are damaged, and why.
    public var skipped: [InputError] = []
    /// What a person should know of how the files were read, for example which of two folders became the test set.
    public var notes: [String] = []

    public init(name: String, path: String, train: ImageTable, test: ImageTable, transform: ImageTransform) {
        self.name = name
        self.path = path
        self.train = train
        self.test = test
        self.transform = transform
    }

    /// Per channel, of pixels scaled to 0...1.
    public var mean: [Float] { transform.mean }
    /// Per channel, of pixels scaled to 0...1.
    public var deviation: [Float] { transform.deviation }
    public var classNames: [String] { train.classNames }

    /// What a network takes: [channels, height, width] after the transform.
    public var inputShape: [Int] { transform.inputShape(of: train) }

    /// Identifies the contents, for environment records: a hash over all tables' hashes, 16 hexadecimal digits.
    public var contentHash: String {
        var hash = ContentHash()
        hash.add(Array((train.contentHash + test.contentHash + (validation?.contentHash ?? "")).utf8))
        return hash.text
    }
}

/// Whether images stay where they are and are read ahead of the device, batch by batch, or are all held in its memory.
public enum Streaming: String, Sendable, Equatable, CaseIterable {
    /// Held where they fit.
    case auto
    case on, off

    /// "auto", or on and off in any of YAML's spellings.
    public init?(_ text: String) {
        switch text.lowercased() {
        case "auto": self = .auto
        case "on", "true", "yes": self = .on
        case "off", "false", "no": self = .off
        default: return nil
        }
    }
}

/// How a data set is read, beside where it lies.
public struct DatasetOptions: Sendable, Equatable {
    /// Pixels of a side that a network gets to see, of sets made of picture files; nil for what suits the set.
    public var imageSize: Int?
    /// What that may be.
    public static let imageSizes = 8...1024
    /// Per channel, of pixels scaled to 0...1; nil for the set's own.
    public var mean: [Double]?
    public var deviation: [Double]?
    /// Leave damaged files out instead of stopping at the first.
    public var skipBroken = false
    /// Share of the images that become the test set, where the files have none.
    public var testShare = 0.2
    /// Whether picture files stay where they are after each was read once.
    public var streaming = Streaming.auto
    /// Bytes of the largest table that the device holds; nil for as many as the host.
    public var residentBytes: Int?
    /// Folder in which it is kept what the pass over streamed picture files found (mean, hash, damage), so that a later start need
    /// not make it while no file has changed; nil for nowhere.
    public var surveyFolder: String?
    /// Seconds for which files must not have changed before that is kept.
    package var surveySettling = 2.0

    public init(
        imageSize: Int? = nil, skipBroken: Bool = false, testShare: Double = 0.2, streaming: Streaming = .auto,
        residentBytes: Int? = nil, surveyFolder: String? = nil
    ) {
        self.imageSize = imageSize
        self.skipBroken = skipBroken
        self.testShare = testShare
        self.streaming = streaming
        self.residentBytes = residentBytes
        self.surveyFolder = surveyFolder
    }

    /// Whether tables of so many bytes are better not held in memory.
    func streams(_ tables: [Int]) -> Bool {
        switch streaming {
        case .on: return true
        case .off: return false
        case .auto:
            // Twice, because a CPU device holds a copy in the same memory.
            let fitsHost = 2 * Double(tables.reduce(0, +)) < 0.7 * Double(ProcessInfo.processInfo.physicalMemory)
            return !fitsHost || (tables.max() ?? 0) > residentBytes ?? .max
        }
    }
}

extension ImageTable {
    /// How often each value 0...255 occurs, per channel. Counts are exact, whatever the number of pixels.
    var histograms: [[Int]] {
        if let stream { return stream.histograms }
        var histograms = Array(repeating: [Int](repeating: 0, count: 256), count: channels)
        Self.count(pixels, channels: channels, plane: height * width, in: &histograms)
        return histograms
    }

    /// - Parameter pixels: whole images.
    static func count(_ pixels: [UInt8], channels: Int, plane: Int, in histograms: inout [[Int]]) {
        pixels.withUnsafeBufferPointer { pixels in
            for c in 0..<channels {
                var counts = histograms[c]
                for start in stride(from: c * plane, to: pixels.count, by: channels * plane) {
                    for i in start..<start + plane { counts[Int(pixels[i])] += 1 }
                }
                histograms[c] = counts
            }
        }
    }

    /// Mean and deviation of the pixels per channel, scaled to 0...1.
    public var channelStatistics: (mean: [Float], deviation: [Float]) {
        var mean: [Float] = []
        var deviation: [Float] = []
        for counts in histograms {
            let total = Double(max(count * height * width, 1))
            let first = counts.enumerated().reduce(0.0) { $0 + Double($1.offset * $1.element) } / total / 255
            let second = counts.enumerated().reduce(0.0) { $0 + Double($1.offset * $1.offset * $1.element) } / total / 65025
            mean.append(Float(first))
            deviation.append(Float(max(second - first * first, 1e-8).squareRoot()))
        }
        return (mean, deviation)
    }
}
