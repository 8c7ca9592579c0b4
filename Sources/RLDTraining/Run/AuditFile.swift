import RLDFormats
import RLDGraph
import RLDMethods

/// Audit rows as a table (`.csv`) or as one JSON object per line (`.jsonl`). Numbers have full precision; what a row does not
/// have is an empty cell, or null.
public struct AuditFile: Sendable {
    public enum Format: String, Sendable, CaseIterable {
        case csv, jsonl
    }

    public let path: String
    public let format: Format
    /// In the order of `AuditRow.terms`.
    public let termNames: [String]

    /// - Throws: `InputError` if the path's ending is neither `.csv` nor `.jsonl`.
    public init(path: String, method: Method) throws(InputError) {
        let ending = path.split(separator: ".").last.map { String($0).lowercased() } ?? ""
        guard let format = Format(rawValue: ending), path.contains(".") else {
            throw InputError(path, "must end in .csv or .jsonl")
        }
        self.path = path
        self.format = format
        termNames = method.termNames
    }

    /// Columns of the table and keys of the objects; the terms are `term_NAME`.
    public var columns: [String] {
        ["row", "label", "student_top", "student_confidence"] + termNames.map { "term_\($0)" } + [
            "teacher_top", "teacher_top_probability", "teacher_confidence", "label_rank", "masked_classes",
        ]
    }

    /// Writes all rows, replacing the file.
    /// - Throws: `InputError` if it cannot be written.
    public func write(_ rows: [AuditRow]) throws(InputError) {
        try AtomicFile.write(Array(text(rows).utf8), to: path)
    }

    /// The file's content.
    public func text(_ rows: [AuditRow]) -> String {
        switch format {
        case .csv:
            columns.joined(separator: ",") + "\n"
                + rows.map { cells($0).map { $0 ?? "" }.joined(separator: ",") + "\n" }.joined()
        case .jsonl:
            rows.map { row in
                "{" + zip(columns, cells(row)).map { "\"\($0)\":\(Self.json($1))" }.joined(separator: ",") + "}\n"
            }.joined()
        }
    }

    private func cells(_ row: AuditRow) -> [String?] {
        let terms = termNames.indices.map { $0 < row.terms.count ? Self.text(row.terms[$0]) : nil }
        return ["\(row.row)", "\(row.label)", row.studentTop.map(String.init), row.studentConfidence.map(Self.text)] + terms + [
            row.teacherTop.map(String.init), row.teacherTopProbability.map(Self.text), row.teacherConfidence.map(Self.text),
            row.labelRank.map(String.init), row.maskedClasses.map(String.init),
        ]
    }

    private static func text(_ value: Double) -> String { "\(value)" }

    /// What JSON has no number for is text, as in every JSON output of the program.
    private static func json(_ cell: String?) -> String {
        guard let cell else { return "null" }
        return ["nan", "inf", "-inf"].contains(cell) ? "\"\(cell)\"" : cell
    }
}
