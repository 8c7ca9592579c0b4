import Foundation

/// Where a run is, for one progress line.
public struct ProgressState: Sendable, Equatable {
    /// What is running ("resnet8, rld"); empty for nothing.
    public var title: String
    /// Counted from 1.
    public var epoch: Int
    public var epochs: Int
    /// Steps of this epoch that are done.
    public var step: Int
    public var steps: Int
    public var loss: Double
    /// Share of one.
    public var accuracy: Double
    public var imagesPerSecond: Double
    /// Until the last epoch ends.
    public var secondsLeft: Double

    public init(
        title: String = "", epoch: Int, epochs: Int, step: Int, steps: Int, loss: Double, accuracy: Double,
        imagesPerSecond: Double, secondsLeft: Double
    ) {
        self.title = title
        self.epoch = epoch
        self.epochs = epochs
        self.step = step
        self.steps = steps
        self.loss = loss
        self.accuracy = accuracy
        self.imagesPerSecond = imagesPerSecond
        self.secondsLeft = secondsLeft
    }

    /// The numbers of one line, without the bar.
    public var text: String {
        let name = title.isEmpty ? "" : "\(title): "
        return "\(name)epoch \(epoch)/\(epochs) step \(step)/\(steps)  loss \(NumberText.fixed(loss, decimals: 4))"
            + "  accuracy \(NumberText.percent(accuracy))  \(NumberText.compact(imagesPerSecond.rounded())) images/s"
            + "  left \(NumberText.duration(secondsLeft))"
    }

    /// A bar over all epochs: "[=====>    ]".
    public func bar(width: Int) -> String {
        let share = steps > 0 && epochs > 0 ? (Double(epoch - 1) + Double(step) / Double(steps)) / Double(epochs) : 0
        let filled = filledCells(share, of: width)
        let head = filled < width ? ">" : ""
        return "[" + String(repeating: "=", count: filled) + head
            + String(repeating: " ", count: width - filled - head.count) + "]"
    }
}

/// Cells of a bar that a share of one fills; none of what is no number.
private func filledCells(_ share: Double, of width: Int) -> Int {
    share.isNaN ? 0 : Int((min(max(share, 0), 1) * Double(width)).rounded(.down))
}

/// Shows progress: a line that redraws itself on a terminal, plain lines otherwise, nothing when quiet.
public final class ProgressLine {
    public enum Mode: Sendable, Equatable {
        /// One line that redraws itself; `columns` characters are available.
        case terminal(columns: Int)
        /// One line per call.
        case plain
        case quiet
    }

    public let mode: Mode
    private let write: (String) -> Void
    private var drawn = 0

    /// - Parameter write: receives text, with its line ends.
    public init(mode: Mode, write: @escaping (String) -> Void) {
        self.mode = mode
        self.write = write
    }

    /// Progress on standard error: redrawn on a terminal, plain lines in a pipe or a file.
    public static func standardError(quiet: Bool) -> ProgressLine {
        var mode: Mode = isatty(STDERR_FILENO) == 1 ? .terminal(columns: terminalColumns()) : .plain
        if quiet { mode = .quiet }
        // FileHandle's other way to write ends the program where nobody takes what is written: on a full disk, or when the terminal
        // that a run was started from is closed.
        return ProgressLine(mode: mode) { try? FileHandle.standardError.write(contentsOf: Data($0.utf8)) }
    }

    public func show(_ state: ProgressState) {
        switch mode {
        case .quiet: break
        case .plain: write(state.text + "\n")
        case .terminal(let columns):
            let text = state.text
            let room = columns - text.count - 4
            draw(room >= 8 ? state.bar(width: min(room, 30)) + " " + text : text, columns)
        }
    }

    /// Progress of something that has no epochs.
    /// - Parameter share: how much of it is done, of one.
    public func show(_ text: String, share: Double) {
        switch mode {
        case .quiet: break
        case .plain: write(text + "\n")
        case .terminal(let columns):
            let width = min(max(columns - text.count - 4, 8), 30)
            let filled = filledCells(share, of: width)
            let bar = "[" + String(repeating: "=", count: filled) + String(repeating: " ", count: width - filled) + "] "
            draw(bar + text, columns)
        }
    }

    private func draw(_ text: String, _ columns: Int) {
        let line = String(text.prefix(max(columns - 1, 20)))
        write("\r" + line + String(repeating: " ", count: max(0, drawn - line.count)))
        drawn = line.count
    }

    /// A line that stays, above the progress line.
    public func note(_ line: String) {
        guard mode != .quiet else { return }
        clear()
        write(line + "\n")
    }

    /// Removes the progress line from a terminal.
    public func clear() {
        guard drawn > 0 else { return }
        write("\r" + String(repeating: " ", count: drawn) + "\r")
        drawn = 0
    }

    private static func terminalColumns() -> Int {
        var size = winsize()
        guard ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0, size.ws_col > 0 else { return 80 }
        return Int(size.ws_col)
    }
}
