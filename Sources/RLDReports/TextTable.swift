/// A plain-text table with aligned columns. Widths are fixed beforehand, so rows can be printed one by one as results come.
public struct TextTable: Sendable {
    public enum Alignment: Sendable { case left, right }

    public struct Column: Sendable {
        public var title: String
        public var width: Int
        public var alignment: Alignment

        /// - Parameter width: characters; never less than the title has.
        public init(_ title: String, width: Int = 0, alignment: Alignment = .left) {
            self.title = title
            self.width = max(width, title.count)
            self.alignment = alignment
        }
    }

    public var columns: [Column]
    /// Between two columns.
    public var separator = "  "

    public init(_ columns: [Column]) { self.columns = columns }

    /// The titles, aligned as their columns, and a rule under them: two lines.
    public var header: String {
        let rule = columns.map { String(repeating: "-", count: $0.width) }.joined(separator: separator)
        return row(columns.map(\.title)) + "\n" + rule
    }

    /// One line. A cell that is wider than its column pushes the rest to the right instead of being cut; missing cells are
    /// empty. No space at the end of the line.
    public func row(_ cells: [String]) -> String {
        var line = columns.enumerated().map { index, column in
            let cell = index < cells.count ? cells[index] : ""
            let gap = String(repeating: " ", count: max(0, column.width - cell.count))
            return column.alignment == .left ? cell + gap : gap + cell
        }.joined(separator: separator)
        while line.last == " " { line.removeLast() }
        return line
    }

    /// A whole table whose columns are as wide as their widest cell.
    public static func text(_ columns: [Column], rows: [[String]]) -> String {
        var table = TextTable(columns)
        for row in rows {
            for (index, cell) in row.enumerated() where index < columns.count {
                table.columns[index].width = max(table.columns[index].width, cell.count)
            }
        }
        return ([table.header] + rows.map { table.row($0) }).joined(separator: "\n")
    }
}
