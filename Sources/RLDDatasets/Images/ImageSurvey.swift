import Dispatch
import Foundation
import RLDFormats
import RLDGraph

/// What a pass over all files of a list finds that is not held in memory. While the files stay as they are, a later start takes it
/// from the store instead of reading every picture once more.
struct ImageSurvey: Codable, Equatable {
    struct Damage: Codable, Equatable {
        var index: Int
        var subject: String
        var problem: String

        var error: InputError { InputError(subject, problem) }
    }

    /// Of pixels and labels of what is not damaged.
    var contentHash: String
    var histograms: [[Int]]
    var damaged: [Damage]
    /// Hash of the pixels of a few pictures, which are read again before the rest is believed: another version of a decoder may
    /// give other pixels of the same files.
    var sample: String

    /// Whether it can be a survey of so many pictures: a file in a cache is no better than the disk that it is on.
    fileprivate func isOf(_ list: ImageList, size: Int) -> Bool {
        let places = damaged.map(\.index)
        guard places.allSatisfy({ (0..<list.count).contains($0) }), zip(places, places.dropFirst()).allSatisfy(<),
            contentHash.wholeMatch(of: /[0-9a-f]{16}/) != nil, histograms.count == 3
        else { return false }
        let pixels = (list.count - places.count) * size * size
        return histograms.allSatisfy { counts in
            // Each is in bounds before they are added.
            counts.count == 256 && counts.allSatisfy { (0...pixels).contains($0) } && counts.reduce(0, +) == pixels
        }
    }
}

/// Surveys in a folder, under names that change with any of the files.
struct SurveyStore {
    let folder: String
    /// Seconds since a file's last change from which on its times tell it from a later change; file systems round them.
    let settling: Double

    init?(_ options: DatasetOptions) {
        guard let folder = options.surveyFolder else { return nil }
        (self.folder, settling) = (folder, options.surveySettling)
    }

    /// Part of every name: raised when what is found of the same files changes.
    private static let version = 2

    func path(_ key: String) -> String { "\(folder)/\(key).json" }

    /// A hash of the files' names, sizes and times of change, their classes, and the size that they are read at; nil while one of
    /// them has changed so recently that another change would not show.
    func key(_ list: ImageList, size: Int) -> String? {
        let now = Date().timeIntervalSince1970
        let portion = 4096
        let starts = Array(stride(from: 0, to: list.count, by: portion))
        let parts = Locked([(text: String, newest: Double)](repeating: ("", 0), count: starts.count))
        let paths = list.paths
        DispatchQueue.concurrentPerform(iterations: starts.count) { index in
            var hash = ContentHash()
            var newest = 0.0
            for path in paths[starts[index]..<min(starts[index] + portion, paths.count)] {
                hash.add(Array(path.utf8))
                var status = stat()
                guard stat(path, &status) == 0 else {
                    hash.add([0])
                    continue
                }
                let (written, changed) = (status.st_mtim, status.st_ctim)
                let numbers = [Int(status.st_size), written.tv_sec, written.tv_nsec, changed.tv_sec, changed.tv_nsec]
                for number in numbers { hash.add(number) }
                for time in [written, changed] { newest = max(newest, Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)) }
            }
            parts.withLock { $0[index] = (hash.text, newest) }
        }
        let found = parts.withLock { $0 }
        guard found.allSatisfy({ $0.newest < now - settling }) else { return nil }
        var hash = ContentHash()
        for part in found { hash.add(Array(part.text.utf8)) }
        hash.add(Self.version)
        hash.add(labels: list.labels, channels: 3, height: size, width: size, classes: list.classNames.count)
        return hash.text
    }

    /// What is known of a list; nil where that is nothing, or a few of its pictures are not as they were.
    func survey(_ key: String, of list: ImageList, size: Int) -> ImageSurvey? {
        guard let data = FileManager.default.contents(atPath: path(key)),
            let survey = try? JSONDecoder().decode(ImageSurvey.self, from: data), survey.isOf(list, size: size),
            survey.sample == list.sample(size: size, damaged: survey.damaged)
        else { return nil }
        return survey
    }

    /// A folder that cannot be written costs nothing but the next start's time.
    func keep(_ survey: ImageSurvey, as key: String) {
        guard let data = try? JSONEncoder().encode(survey) else { return }
        try? FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
        try? AtomicFile.write(Array(data), to: path(key))
    }
}

extension ImageList {
    /// A table whose images stay in their files.
    /// - Returns: the table, what was left out and why, and where what was found earlier was taken from, if it was.
    func streamedTable(
        size: Int, skipBroken: Bool, surveys: SurveyStore?
    ) throws(InputError) -> (table: ImageTable, broken: [InputError], known: String?) {
        let key = surveys?.key(self, size: size)
        if let key, let surveys, let survey = surveys.survey(key, of: self, size: size) {
            if let first = survey.damaged.first, !skipBroken { throw Self.refusal(first.error) }
            return (streamedTable(size: size, survey), survey.damaged.map(\.error), surveys.path(key))
        }
        var hash = ContentHash()
        var histograms = Array(repeating: [Int](repeating: 0, count: 256), count: 3)
        let broken = try read(size: size, skipBroken: skipBroken) { _, image in
            hash.add(image)
            ImageTable.count(image, channels: 3, plane: size * size, in: &histograms)
        }
        let damaged = broken.map { ImageSurvey.Damage(index: $0.index, subject: $0.error.subject, problem: $0.error.problem) }
        let kept = leavingOut(damaged)
        hash.add(labels: kept.labels, channels: 3, height: size, width: size, classes: classNames.count)
        let survey = ImageSurvey(
            contentHash: hash.text, histograms: histograms, damaged: damaged, sample: sample(size: size, damaged: damaged))
        if let key { surveys?.keep(survey, as: key) }
        return (streamedTable(size: size, survey), broken.map(\.error), nil)
    }

    private func streamedTable(size: Int, _ survey: ImageSurvey) -> ImageTable {
        let list = leavingOut(survey.damaged)
        let paths = list.paths
        let stream = ImageStream(contentHash: survey.contentHash, histograms: survey.histograms) { index in
            try ImageDecoder.picture(path: paths[index], smallest: size).centreSquare(size)
        }
        return ImageTable(channels: 3, height: size, width: size, stream: stream, labels: list.labels, classNames: classNames)
    }

    private func leavingOut(_ damaged: [ImageSurvey.Damage]) -> ImageList {
        guard !damaged.isEmpty else { return self }
        let out = Set(damaged.map(\.index))
        return selecting((0..<count).filter { !out.contains($0) })
    }

    /// Hash of the pixels of sixteen pictures spread over the list.
    fileprivate func sample(size: Int, damaged: [ImageSurvey.Damage]) -> String {
        let list = leavingOut(damaged)
        var hash = ContentHash()
        for index in stride(from: 0, to: list.count, by: max(list.count / 16, 1)) {
            let image = try? ImageDecoder.picture(path: list.paths[index], smallest: size).centreSquare(size)
            hash.add(image ?? [])
        }
        return hash.text
    }
}
