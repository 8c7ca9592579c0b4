import Foundation
import RLDFormats
import RLDGraph

/// metrics.csv: a row for each line of metrics.jsonl. Its header names the columns of the rows after it; a run that goes on with
/// other terms gets their columns beside those that the file has.
final class MetricsTable {
    static let columns = [
        "kind", "epoch", "step", "weights", "images", "learning_rate", "warmup", "loss", "accuracy", "top5", "validation_loss",
        "validation_accuracy", "validation_top5", "test_loss", "test_accuracy", "test_top5", "images_per_second", "seconds",
        "best",
    ]

    private let columns: [String]
    private let file: LineFile

    /// - Parameters:
    ///   - terms: names of the objective's terms, the last columns.
    ///   - rows: what the run had written where it goes on; rows after them are cut off. Counted, not in bytes: a header that
    ///     grew since then moves them.
    init(path: String, terms: [String], keeping rows: Int) throws(InputError) {
        let wanted = Self.columns + terms.map { "term_\($0)" }
        var lines = Self.lines(path)
        // What a kill or a full disk left of a row.
        let rest = lines.popLast() ?? ""
        let found = lines.first?.split(separator: ",", omittingEmptySubsequences: false).map(String.init) ?? []
        columns = found + wanted.filter { !found.contains($0) }
        if columns != found || lines.count > 1 + rows || !rest.isEmpty {
            let empty = String(repeating: ",", count: found.isEmpty ? 0 : columns.count - found.count)
            let kept = [columns.joined(separator: ",")] + lines.dropFirst().prefix(rows).map { $0 + empty }
            // In the old file's place at once: a kill leaves one of the two, and both hold the rows.
            try AtomicFile.write(Array((kept.joined(separator: "\n") + "\n").utf8), to: path)
        }
        file = try LineFile(path: path)
    }

    /// What stands between line breaks, the last part without one after it; nothing where there is no file. Breaks are bytes: to
    /// Swift a carriage return with a line feed, as tables have them that a spreadsheet wrote, is one other character.
    private static func lines(_ path: String) -> [String] {
        var status = stat()
        guard stat(path, &status) == 0, status.st_mode & S_IFMT == S_IFREG,
            let data = FileManager.default.contents(atPath: path)
        else { return [] }
        return data.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).map { line in
            String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
        }
    }

    func append(_ record: some RunRecord) throws(InputError) {
        var cells = record.cells
        for (name, value) in record.terms { cells["term_\(name)"] = "\(value)" }
        try file.append(columns.map { cells[$0] ?? "" }.joined(separator: ","))
    }

    /// Flushes everything so far to the disk. - Returns: the file's bytes.
    func flush() throws(InputError) -> Int { try file.flush() }
}
