import Foundation

/// Diagnostics of the runtime: asked for by `RLD_DEBUG`, or failures in a `deinit`, where nothing can be thrown.
package enum StandardError {
    package static func print(_ line: String) {
        // A full disk behind it ends no run.
        try? FileHandle.standardError.write(contentsOf: Data("rld: \(line)\n".utf8))
    }

    /// A release that failed is told and survived: the object is gone for us either way.
    static func released(_ status: Int32, _ what: @autoclosure () -> String) {
        if status != 0 { print("releasing \(what()) failed: \(CLStatus(rawValue: status))") }
    }
}
