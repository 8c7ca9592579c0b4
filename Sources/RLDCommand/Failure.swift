import ArgumentParser
import Foundation
import RLD
import Synchronization

/// An end that is no error of the program: a check that failed (1) or a run that was interrupted after saving (130).
struct CommandEnd: Error {
    var code: Int32
    var message: String
}

/// Turns every error into one line on standard error and an exit code.
enum Failure {
    /// - Returns: the exit code.
    static func report(_ error: any Error, arguments: [String]) -> Int32 {
        switch error {
        case let error as InputError: return say("error: \(error)", 2)
        case let error as DeviceError:
            // A name or a variable that the user got wrong is bad input; everything else is the device's.
            let isInput = error.code == .unknownDevice || error.code == .badEnvironment
            return say("error: \(error)", isInput ? 2 : 3)
        case let error as TrainingError: return say("error: \(error)", 1)
        case let error as DeviationError: return say("error: \(error)", 1)
        case let end as CommandEnd: return say(end.message, end.code)
        default: break
        }
        let code = RLDCommand.exitCode(for: error)
        if code.isSuccess {
            print(RLDCommand.fullMessage(for: error))
            return 0
        }
        guard code == .validationFailure else { return say("error: \(error)", 1) }
        let command = arguments.first.map { $0.hasPrefix("-") ? "" : " \($0)" } ?? ""
        return say("error: \(RLDCommand.message(for: error)); see 'rld\(command) --help'", 2)
    }

    /// One line, whatever the text holds.
    private static func say(_ text: String, _ code: Int32) -> Int32 {
        let line = text.split(whereSeparator: \.isNewline).map { $0.trimmingCharacters(in: .whitespaces) }.joined(separator: "; ")
        Output.error(line)
        return code
    }
}

/// Where words go: results to standard output, everything else to standard error.
enum Output {
    /// A disk that is full behind it ends nothing.
    static func error(_ line: String) { try? FileHandle.standardError.write(contentsOf: Data((line + "\n").utf8)) }

    /// Why a result could not be written; 0 if all were.
    private static let problem = Atomic<Int32>(0)

    /// A result, visible at once even in a pipe.
    static func line(_ text: String) {
        print(text)
        // A reader that has left wants no more.
        if fflush(nil) != 0, errno != EPIPE { problem.store(errno, ordering: .relaxed) }
    }

    /// - Throws: when a result was not written.
    static func finish() throws {
        let number = problem.load(ordering: .relaxed)
        if number != 0 {
            throw CommandEnd(code: 1, message: "error: standard output cannot be written: \(String(cString: strerror(number)))")
        }
    }

    /// JSON as a run's records have it.
    static func json(_ value: some Encodable) throws {
        line(String(decoding: try RecordJSON.encoder().encode(value), as: UTF8.self))
    }
}
