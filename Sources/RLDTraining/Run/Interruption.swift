import Foundation
import Synchronization

/// Turns Ctrl-C (SIGINT), SIGTERM and a terminal that is closed (SIGHUP) into a flag that the trainer polls between two steps. A
/// second signal kills as usual.
public enum Interruption {
    private static let flag = Atomic<Bool>(false)

    /// Whether a signal has come since `install`.
    public static var requested: Bool { flag.load(ordering: .relaxed) }

    /// Takes over these signals. For programs; a library that is a guest in another program leaves signals alone.
    public static func install() {
        flag.store(false, ordering: .relaxed)
        // A parent that blocks signals hands that down; then nothing would ever arrive.
        var signals = sigset_t()
        sigemptyset(&signals)
        for number in [SIGINT, SIGTERM, SIGHUP] { sigaddset(&signals, number) }
        pthread_sigmask(SIG_UNBLOCK, &signals, nil)
        // A file that may not grow further is an error of `write`, which has words for it; a reader of the progress that has left is
        // none.
        signal(SIGXFSZ, SIG_IGN)
        signal(SIGPIPE, SIG_IGN)
        for number in [SIGINT, SIGTERM, SIGHUP] {
            let former = signal(number) { number in
                Interruption.flag.store(true, ordering: .relaxed)
                signal(number, SIG_DFL)
            }
            // nohup ignores it before the program begins.
            let wasIgnored = unsafeBitCast(former, to: Int.self) == unsafeBitCast(SIG_IGN, to: Int.self)
            if number == SIGHUP, wasIgnored { signal(number, SIG_IGN) }
        }
    }
}
